package main

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

//go:embed peers.py
var peersScript string

// peerList names the cases of peers.py, each with the pass of this module that does its work.
var peerList = []struct{ function, label, pass string }{
	{"step_sde", "flow_grpo's formula", "step"},
	{"step_cps", "FlowCPS's formula", "step"},
	{"step_inplace", "in place", "step"},
	{"replay_cps", "FlowCPS's formula", "replay"},
	{"replay_inplace", "in place", "replay"},
	{"gradient_cps", "forward and backward", "replay and gradient"},
	{"gradient_inplace", "in place", "replay and gradient"},
	{"step_numpy", "numpy in place", "step"},
}

// peer returns the pass of this module that a case of peers.py is compared with, or "".
func (c benchCase) peer() string {
	if pass, ok := strings.CutSuffix(c.Pass, " (peer)"); ok {
		return pass
	}
	return ""
}

// A python is a process that runs peers.py.
type python struct {
	in  *bufio.Writer
	out *bufio.Scanner
}

// peerCases starts two processes. One has the default allocator. The other has an allocator
// that keeps memory, which makes torch's temporaries cheaper.
func peerCases(interpreter string, s size) (cases []benchCase, stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, f := range stops {
			f()
		}
	}
	for _, alloc := range []struct {
		name string
		env  []string
	}{
		{"default allocator", nil},
		{"tuned allocator", []string{"MALLOC_MMAP_THRESHOLD_=33554432", "MALLOC_TRIM_THRESHOLD_=4294967296", "MALLOC_TOP_PAD_=268435456"}},
	} {
		p, end, err := startPython(interpreter, s, alloc.env)
		if err != nil {
			stop()
			return nil, nil, err
		}
		stops = append(stops, end)
		for _, c := range peerList {
			label := "torch, " + c.label
			if strings.Contains(c.label, "numpy") {
				label = c.label
			}
			if strings.Contains(c.label, "in place") {
				if alloc.env != nil {
					continue // numpy in place allocates nothing
				}
			} else {
				label += ", " + alloc.name
			}
			cases = append(cases, benchCase{
				result: result{Pass: c.pass + " (peer)", Implementation: label, Threads: 1, Rows: s.Rows, Dim: s.Dim},
				work:   func(n int) (time.Duration, error) { return p.run(c.function, n) },
			})
		}
	}
	return cases, stop, nil
}

func startPython(interpreter string, s size, env []string) (*python, func(), error) {
	c := exec.Command(interpreter, "-c", peersScript, strconv.Itoa(s.Rows), strconv.Itoa(s.Dim))
	c.Env = append(os.Environ(), env...)
	c.Stderr = os.Stderr
	in, err1 := c.StdinPipe()
	out, err2 := c.StdoutPipe()
	if err := errors.Join(err1, err2, c.Start()); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", interpreter, err)
	}
	p := &python{bufio.NewWriter(in), bufio.NewScanner(out)}
	end := func() {
		in.Close()
		c.Wait()
	}
	if !p.out.Scan() { // the versions
		end()
		return nil, nil, fmt.Errorf("%s: peers.py did not start: it needs torch and numpy (see -python)", interpreter)
	}
	return p, end, nil
}

// run returns how long n repetitions of a function of peers.py took.
func (p *python) run(function string, n int) (time.Duration, error) {
	fmt.Fprintln(p.in, function, n)
	if err := p.in.Flush(); err != nil {
		return 0, err
	}
	if !p.out.Scan() {
		return 0, fmt.Errorf("peers.py ended during %s", function)
	}
	seconds, err := strconv.ParseFloat(p.out.Text(), 64)
	return time.Duration(seconds * float64(time.Second)), err
}
