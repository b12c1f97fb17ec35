//go:build cuda && linux && cgo

package cuda

// #include <cuda.h>
// #include <stdlib.h>
import "C"

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"gorgonia.org/cu"
)

// A program holds the kernels in a context. All devices in that context share it.
type program struct {
	context C.CUcontext
	users   int // number of devices; programs guards it

	mu        sync.Mutex // guards what follows until it is loaded
	loaded    bool
	modules   []cu.Module
	functions [kernelCount]cu.Function
	groups    [kernelCount]int // groups that run at once
}

// programs holds the programs of all contexts with a device.
var programs = struct {
	sync.Mutex
	of map[C.CUcontext]*program
}{of: map[C.CUcontext]*program{}}

// acquire returns the program of the current context. The first device there loads it.
func acquire(context C.CUcontext, device cu.Device) (*program, error) {
	programs.Lock()
	p := programs.of[context]
	if p == nil {
		p = &program{context: context}
		programs.of[context] = p
	}
	p.users++
	programs.Unlock()

	p.mu.Lock()
	defer p.mu.Unlock()
	if p.loaded {
		return p, nil
	}
	if err := p.load(device); err != nil {
		return nil, errors.Join(err, p.leave())
	}
	p.loaded = true
	return p, nil
}

// leave ends the use by one device, with the program's context current. The last device
// unloads the program. A nil program has nothing to end.
func (p *program) leave() error {
	if p == nil {
		return nil
	}
	programs.Lock()
	p.users--
	last := p.users == 0
	if last {
		delete(programs.of, p.context)
	}
	programs.Unlock()
	if !last {
		return nil
	}
	return p.unload()
}

func (p *program) unload() error {
	var errs []error
	for _, m := range p.modules {
		errs = append(errs, explain("cuModuleUnload", m.Unload()))
	}
	p.modules = nil
	return errors.Join(errs...)
}

func (p *program) load(device cu.Device) error {
	multiprocessors, err := device.Attribute(cu.MultiprocessorCount)
	if err != nil {
		return explain("cuDeviceGetAttribute", err)
	}
	for k := range kernelCount {
		m, err := compile(k.source())
		if err != nil {
			return errors.Join(fmt.Errorf("kernel %v: %w", k, err), p.unload())
		}
		p.modules = append(p.modules, m)
		if p.functions[k], err = m.Function(k.String()); err != nil {
			return errors.Join(fmt.Errorf("kernel %v: %w", k, explain("cuModuleGetFunction", err)), p.unload())
		}
		here, err := p.functions[k].MaxActiveBlocksPerMultiProcessor(warps*warpLen, 0)
		if err != nil {
			return errors.Join(fmt.Errorf("kernel %v: %w", k, explain("cuOccupancyMaxActiveBlocksPerMultiprocessor", err)), p.unload())
		}
		p.groups[k] = max(here, 1) * multiprocessors
	}
	return nil
}

// compile loads PTX into the current context. Its error holds the message of the
// driver's compiler.
func compile(source string) (cu.Module, error) {
	const size = 8192
	text := C.calloc(1, size) // C memory: the driver gets its address in an array
	defer C.free(text)
	log := unsafe.Slice((*byte)(text), size)
	m, err := cu.LoadDataEx(source, &cu.JITErrorLogBuffer{Buffer: log})
	if err != nil {
		err = explain("cuModuleLoadDataEx", err)
		said, _, _ := bytes.Cut(log[:size-1], []byte{0})
		if said = bytes.TrimSpace(said); len(said) > 0 {
			err = fmt.Errorf("%w: %s", err, said)
		}
	}
	return m, err
}
