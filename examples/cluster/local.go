package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// statusRefused is the exit status of a worker that a learner refused or dropped.
const statusRefused = 3

// maxQuick is the number of times that a worker may end within a minute, one after the other.
const maxQuick = 5

// localWorkers runs n processes of this program as workers until stop is called. One that
// ends is started again, unless the learner went on without it, or it ended quickly for the
// fifth time in a row. Each has a pipe to this
// process as its standard input, and ends when that closes: no worker outlives its learner.
//
// args are their flags, and variable is one more of their environment.
func localWorkers(n int, args []string, variable string, say func(format string, args ...any)) (stop func(), err error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for i := range n {
		name := fmt.Sprintf("local-%d", i+1)
		all.Go(func() {
			quick := 0
			for wait := time.Second; ctx.Err() == nil; wait = min(2*wait, time.Minute) {
				began := time.Now()
				err := localWorker(ctx, exe, append([]string{"worker", "-child", "-name", name}, args...), variable, say)
				var exit *exec.ExitError
				switch {
				case ctx.Err() != nil:
					return
				case errors.As(err, &exit) && exit.ExitCode() == statusRefused:
					say("worker %s is not started again", name)
					return
				}
				if quick++; time.Since(began) > time.Minute {
					wait, quick = time.Second, 0
				}
				if quick == maxQuick {
					say("worker %s is not started again: it ended %d times, each within a minute, the last time with %v", name, maxQuick, err)
					return
				}
				say("worker %s ended (%v) and is started again", name, err)
				pause(ctx, wait)
			}
		})
	}
	return func() { cancel(); all.Wait() }, nil
}

// localWorker runs a worker until it ends, or ctx is done.
func localWorker(ctx context.Context, exe string, args []string, variable string, say func(format string, args ...any)) error {
	c := exec.Command(exe, args...)
	c.Env = append(os.Environ(), variable)
	c.Stderr = &lines{say: say}
	in, err := c.StdinPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	in.Close()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		c.Process.Kill()
		<-ended
	}
	return ctx.Err()
}

// withParent returns a context that ends with ctx, or when the standard input closes.
func withParent(ctx context.Context, in io.Reader) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		io.Copy(io.Discard, in)
		cancel()
	}()
	return ctx, cancel
}
