//go:build cuda && linux && cgo

package cuda

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"cps/cuda/standin/control"
	"cps/noise"
	"cps/sampler"
	"cps/sampler/devicetest"

	"gorgonia.org/cu"
)

// gpuOrSkip opens GPU 0 or the stand-in. A machine without either skips the test.
func gpuOrSkip(t testing.TB, ordinal int) *Device {
	d, err := Open(ordinal)
	if err != nil {
		if control.Present() {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// A trainer on the GPU or the stand-in learns the bits of the CPU.
func TestTrainerOnGPU(t *testing.T) {
	trainsLikeCPU(t, func(t *testing.T) *Device { return gpuOrSkip(t, 0) })
}

// standinOrSkip skips a test that needs the stand-in. At the end it checks that nothing
// leaked.
func standinOrSkip(t testing.TB) {
	if !control.Present() {
		t.Skip("not the stand-in driver")
	}
	t.Cleanup(func() {
		if err := control.Leaks(); err != nil {
			t.Errorf("not returned: %v", err)
		}
	})
}

// leaksOrGPU skips a test that needs the stand-in or a GPU. For the stand-in it checks
// that nothing leaked.
func leaksOrGPU(t testing.TB) {
	if err := initialised(); err != nil {
		t.Skip(err)
	}
	if control.Present() {
		standinOrSkip(t)
	}
}

// The device gives the bits of the specification.
func TestConformance(t *testing.T) {
	devicetest.Run(t, func(t testing.TB) devicetest.Subject[Buffer] { return subject(t, gpuOrSkip(t, 0)) })
}

// On a stream in a context of the caller it gives them, too.
func TestOpenStream(t *testing.T) {
	if err := initialised(); err != nil {
		t.Skip(err)
	}
	device, err := cu.GetDevice(0)
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx, err := device.MakeContext(cu.SchedAuto)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := cu.MakeStream(cu.DefaultStream)
	if err != nil {
		t.Fatal(err)
	}
	handle := uintptr(unsafe.Pointer(stream.C()))
	d, err := OpenStream(0, handle)
	if err != nil {
		t.Fatal(err)
	}
	// The trainer's own calls go on as before, with its own buffers.
	p, err := cu.MemAlloc(4 * 5000)
	if err != nil {
		t.Fatal(err)
	}
	mine := Buffer{Ptr: p.Uintptr(), Len: 5000}
	b := sampler.Batch{Dim: 2500, Key: 1, Rows: []sampler.Row{sampler.InitialRow(3), sampler.InitialRow(4)}}
	d.Step(mine, Buffer{}, Buffer{}, b, nil)
	if err := stream.Synchronize(); err != nil { // the trainer's stream, not the device's
		t.Fatal(err)
	}
	got, want := make([]float32, 5000), make([]float32, 5000)
	if err := d.Download(got, mine); err != nil {
		t.Fatal(err)
	}
	noise.Normal(want[:2500], 1, noise.ID{Sample: 3}, 0)
	noise.Normal(want[2500:], 1, noise.ID{Sample: 4}, 0)
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("element %d is %v, want %v", i, got[i], want[i])
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	// The caller's context is current as before, and nothing of it is gone.
	if now, err := cu.CurrentContext(); err != nil || now != ctx {
		t.Errorf("context is %v, %v, want %v", now, err, ctx)
	}
	if err := errors.Join(cu.MemFree(p), stream.Synchronize(), stream.Destroy(), ctx.Destroy()); err != nil {
		t.Error(err)
	}
}

// Streams 0 and 1 are the default stream of the primary context.
func TestOpenDefaultStream(t *testing.T) {
	for _, stream := range []uintptr{0, legacyStream} {
		d, err := OpenStream(0, stream)
		if err != nil {
			if control.Present() {
				t.Fatal(err)
			}
			t.Skip(err)
		}
		b := made(t, d, 3, sampler.Float32)
		d.Step(b, Buffer{}, Buffer{}, sampler.Batch{Dim: 3, Rows: []sampler.Row{sampler.InitialRow(0)}}, nil)
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			t.Errorf("stream %d: %v", stream, err)
		}
	}
}

// Goroutines have no default stream of a thread.
func TestOpenPerThreadStream(t *testing.T) {
	if err := initialised(); err != nil {
		t.Skip(err)
	}
	if d, err := OpenStream(0, perThreadStream); d != nil || !errors.Is(err, errPerThread) {
		t.Errorf("OpenStream: %v, %v", d, err)
	}
	if control.Present() {
		if err := control.Leaks(); err != nil {
			t.Errorf("not returned: %v", err)
		}
	}
}

// Open refuses a stream of another GPU, and a GPU that does not exist.
func TestOpenRefuses(t *testing.T) {
	standinOrSkip(t)
	other, err := cu.GetDevice(1)
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx, err := other.MakeContext(cu.SchedAuto)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := cu.MakeStream(cu.DefaultStream)
	if err != nil {
		t.Fatal(err)
	}
	_, err = OpenStream(0, uintptr(unsafe.Pointer(stream.C())))
	if err == nil || !strings.Contains(err.Error(), "GPU 1") {
		t.Errorf("a stream of GPU 1: %v", err)
	}
	for _, ordinal := range []int{2, -1} {
		_, err = Open(ordinal)
		if err == nil || !strings.Contains(err.Error(), "invalid device ordinal") {
			t.Errorf("GPU %d: %v", ordinal, err)
		}
	}
	if err := errors.Join(stream.Destroy(), ctx.Destroy()); err != nil {
		t.Error(err)
	}
}

// scenario uses every function of a device once. It returns the first error.
func scenario(ordinal int) (err error) {
	d, err := Open(ordinal)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close(), d.Close()) }() // the second Close counts if the first could not enter
	b := sampler.Batch{Dim: 1100, Rows: []sampler.Row{
		{Affine: sampler.Affine{X: 0.5, V: 0.1, Eps: 0.2}, ID: noise.ID{Sample: 8, Step: 3}},
		{Affine: sampler.Affine{X: 0.7, V: 0.3, Eps: 0.1}, ID: noise.ID{Sample: 1, Step: 9}},
	}}
	x, err := d.Make(b.Len(), sampler.Float32)
	if err != nil {
		return err
	}
	next, err := d.Make(b.Len(), sampler.BFloat16)
	if err != nil {
		return err
	}
	host := make([]float32, b.Len())
	for i := range host {
		host[i] = float32(i%100) - 50
	}
	if err := d.Upload(x, host); err != nil {
		return err
	}
	sq, again := make([]float64, 2), make([]float64, 2)
	for range 3 { // several are queued at the same time
		d.Step(next, x, x, b, sq)
		d.SumSquares(again, next, x, x, b)
		d.Grad(x, next, x, x, b, []float64{0.1, 0.2})
	}
	part := Buffer{x.Ptr + 4*1100, 1100, x.Type} // not from Make, so its address is checked
	d.SumSquares(again[:1], part, part, part, sampler.Batch{Dim: 1100, Rows: b.Rows[:1]})
	if err := d.Sync(); err != nil {
		return err
	}
	if err := d.Download(host, next); err != nil {
		return err
	}
	return errors.Join(d.Free(x), d.Sync())
}

// driverCalls are the functions of the driver that a device calls, and "kernel", a
// launch that runs. The calls that end a context's use on a thread cannot fail if those
// that start it succeed, so leave ignores errors.
var driverCalls = []string{
	"cuDeviceGet", "cuDeviceGetAttribute", "cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRelease", "cuCtxPushCurrent",
	"cuCtxPopCurrent", "cuCtxGetDevice", "cuModuleLoadDataEx", "cuModuleGetFunction", "cuModuleUnload",
	"cuOccupancyMaxActiveBlocksPerMultiprocessor", "cuStreamCreate",
	"cuStreamDestroy", "cuStreamSynchronize", "cuMemAlloc", "cuMemFree", "cuMemHostAlloc", "cuMemFreeHost",
	"cuMemcpyHtoDAsync", "cuMemcpyDtoHAsync", "cuEventCreate", "cuEventRecord", "cuEventQuery", "cuEventSynchronize", "cuEventDestroy",
	"cuPointerGetAttributes",
	"cuLaunchKernel", "kernel",
}

// Whichever call of the driver fails, the error names it, nothing leaks, and the next
// use of the GPU works.
func TestEveryCallFails(t *testing.T) {
	standinOrSkip(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, name := range driverCalls {
		nth := 1
		for ; ; nth++ {
			made := control.Fail(name, nth, 719)
			err := scenario(0)
			control.Restart()
			if !made() {
				if err != nil {
					t.Errorf("nothing failed, but: %v", err)
				}
				break
			}
			says := name
			if name == "kernel" {
				says = "queue that ends with "
			}
			switch {
			case name == "cuCtxPopCurrent":
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			case err == nil:
				t.Errorf("call %d of %s failed, and no error tells", nth, name)
			case !strings.Contains(err.Error(), "unspecified launch failure") || !strings.Contains(err.Error(), says) || !strings.HasPrefix(err.Error(), "cuda: "):
				t.Errorf("call %d of %s failed, and the error is: %v", nth, name, err)
			}
			if leaks := control.Leaks(); leaks != nil {
				t.Fatalf("call %d of %s failed with %v, and left %v", nth, name, err, leaks)
			}
		}
		if nth == 1 {
			t.Errorf("%s is not called", name)
		}
	}
}

// Errors name the call, the rows, the kernel, the driver's function, and the driver's
// message.
func TestDriverErrorText(t *testing.T) {
	standinOrSkip(t)
	const queue = "queue that ends with Step on 3 rows of 7: "
	for _, tc := range []struct {
		call string
		want []string // one of these
	}{
		{"cuLaunchKernel", []string{"cuda: Step on 3 rows of 7: kernel step: cuLaunchKernel: out of memory (error 2)"}},
		// The kernel runs beside Sync. So Sync sees its fault in the call that waits,
		// or one call before.
		{"kernel", []string{
			"cuda: " + queue + "cuEventSynchronize: out of memory (error 2)",
			"cuda: sums: cuEventRecord: out of memory (error 2)\n" + queue + "cuStreamSynchronize: out of memory (error 2)",
		}},
	} {
		d, err := Open(0)
		if err != nil {
			t.Fatal(err)
		}
		b := sampler.Batch{Dim: 7, Rows: []sampler.Row{sampler.InitialRow(1), sampler.InitialRow(2), sampler.InitialRow(3)}}
		x, err := d.Make(b.Len(), sampler.Float32)
		if err != nil {
			t.Fatal(err)
		}
		made := control.Fail(tc.call, 1, 2)
		d.Step(x, Buffer{}, Buffer{}, b, nil)
		err = d.Sync()
		if !made() || err == nil || !slices.Contains(tc.want, err.Error()) || !errors.Is(err, ErrMemory) {
			t.Errorf("error is %v, want one of %q", err, tc.want)
		}
		if err := d.Close(); (err != nil) != (tc.call == "kernel") { // a fault stays
			t.Errorf("Close after %s: %v", tc.call, err)
		}
		control.Restart()
	}
}

// A fault in a kernel is found and stays, and nothing hangs. Close tries to return
// everything, and reports the fault once.
func TestFault(t *testing.T) {
	standinOrSkip(t)
	defer control.Restart()
	d, err := Open(1)
	if err != nil {
		t.Fatal(err)
	}
	b := sampler.Batch{Dim: 7, Rows: []sampler.Row{sampler.InitialRow(1)}}
	x, err := d.Make(b.Len(), sampler.Float32)
	if err != nil {
		t.Fatal(err)
	}
	made := control.Fail("kernel", 1, 700)
	sq := []float64{1}
	d.Step(x, Buffer{}, Buffer{}, b, sq)
	err = d.Sync()
	if !made() || err == nil || !strings.Contains(err.Error(), "an illegal memory access was encountered") || sq[0] == sq[0] {
		t.Errorf("Sync: %v, sum %v", err, sq)
	}
	d.Step(x, Buffer{}, Buffer{}, b, nil)
	if err := d.Sync(); err == nil {
		t.Error("the fault is gone")
	}
	if err := d.Upload(x, make([]float32, 7)); err == nil {
		t.Error("Upload works after a fault")
	}
	d.Step(x, Buffer{}, Buffer{}, b, nil) // Close reports this, if nothing else did
	const words = "an illegal memory access was encountered"
	if err := d.Close(); err == nil || strings.Count(err.Error(), words) != 1 {
		t.Errorf("Close: %v", err)
	}
	if d, err := Open(1); d != nil || err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("Open after a fault: %v, %v", d, err)
	}
}

// Exhausted memory is an error, and the device remains usable.
func TestDriverOutOfMemory(t *testing.T) {
	standinOrSkip(t)
	d, err := Open(0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()
	defer control.Limit(10000)()
	if _, err := d.Make(3000, sampler.Float32); !errors.Is(err, ErrMemory) || !strings.Contains(err.Error(), "3000 elements of Float32") {
		t.Errorf("Make: %v", err)
	}
	b, err := d.Make(100, sampler.BFloat16)
	if err != nil {
		t.Fatal(err)
	}
	d.Step(b, Buffer{}, Buffer{}, sampler.Batch{Dim: 100, Rows: []sampler.Row{sampler.InitialRow(1)}}, nil)
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
}

// Many goroutines use several devices of each of two GPUs.
func TestManyDevices(t *testing.T) {
	standinOrSkip(t)
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			for range 3 {
				if err := scenario(i % 2); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
}

// Calls allocate nothing and do not wait. Each pushes and pops one context.
func TestDriverCalls(t *testing.T) {
	standinOrSkip(t)
	d := gpuOrSkip(t, 0)
	b := sampler.Batch{Dim: 64, Rows: []sampler.Row{sampler.InitialRow(1), sampler.InitialRow(7)}}
	x, err := d.Make(b.Len(), sampler.Float32)
	if err != nil {
		t.Fatal(err)
	}
	sq := make([]float64, 2)
	call := func() {
		d.Step(x, Buffer{}, Buffer{}, b, sq)
		d.SumSquares(sq, x, Buffer{}, Buffer{}, b)
	}
	for range 300 {
		call()
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	wait := func() int { return control.Calls("cuStreamSynchronize") + control.Calls("cuEventSynchronize") }
	waits, allocs, pinned := wait(), control.Calls("cuMemAlloc"), control.Calls("cuMemHostAlloc")
	if n := testing.AllocsPerRun(50, call); n != 0 {
		t.Errorf("%v allocations a call", n)
	}
	if w, a, p := wait(), control.Calls("cuMemAlloc"), control.Calls("cuMemHostAlloc"); w != waits || a != allocs || p != pinned {
		t.Errorf("%d waits, %d allocations, %d pinned ones in calls", w-waits, a-allocs, p-pinned)
	}
}

// The driver starts at its first call: that of Open, or the program's own through
// gorgonia.org/cu. So it sees what main sets in the environment.
func TestDriverStartsLate(t *testing.T) {
	if !control.Present() {
		t.Skip("not the stand-in driver")
	}
	if first := os.Getenv("CPS_TEST_FIRST"); first != "" {
		if n := control.Calls("cuInit"); n != 0 {
			t.Fatalf("cuInit was called %d times before main", n)
		}
		if err := os.Setenv("CUDA_VISIBLE_DEVICES", "1"); err != nil {
			t.Fatal(err)
		}
		if first == "cu" {
			if n, err := cu.NumDevices(); n != 1 || err != nil {
				t.Errorf("%d devices, %v", n, err)
			}
		}
		d, err := Open(0)
		if err != nil {
			t.Fatal(err)
		}
		name, err := d.drv.(*nvidia).device.Name()
		if err != nil || !strings.HasPrefix(name, "stand-in 1") {
			t.Errorf("GPU 0 is %q, %v", name, err)
		}
		if _, err := Open(1); err == nil || !strings.Contains(err.Error(), "invalid device ordinal") {
			t.Errorf("GPU 1: %v", err)
		}
		if n := control.Calls("cuInit"); n != 1 {
			t.Errorf("cuInit was called %d times", n)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		return
	}
	for _, first := range []string{"Open", "cu"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestDriverStartsLate$")
		cmd.Env = append(os.Environ(), "CPS_TEST_FIRST="+first)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s first: %v\n%s", first, err, out)
		}
	}
}

// The first call may come from many threads. Starting the driver keeps its arguments.
func TestFirstCallKeepsArguments(t *testing.T) {
	if os.Getenv("CPS_TEST_FIRST") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFirstCallKeepsArguments$")
		cmd.Env = append(os.Environ(), "CPS_TEST_FIRST=many")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			d, err := cu.GetDevice(1)
			if control.Present() && (d != 1 || err != nil) {
				t.Errorf("GPU %d, %v", d, err)
			}
		})
	}
	wait.Wait()
}

// The error holds the message of the driver's compiler about a kernel.
func TestCompilerLog(t *testing.T) {
	standinOrSkip(t)
	made := control.Fail("cuModuleLoadDataEx", 3, 218)
	d, err := Open(0)
	const want = "cuda: opening GPU 0: kernel grad: cuModuleLoadDataEx: a PTX JIT compilation failed (error 218): line 1; fatal   : the stand-in was told to refuse this"
	if !made() || d != nil || err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

// Devices of a context share its kernels. The first device loads them, and the last one
// unloads them. Another context has kernels of its own.
func TestKernelsAreShared(t *testing.T) {
	standinOrSkip(t)
	loads := control.Calls("cuModuleLoadDataEx")
	var devices []*Device
	var wait sync.WaitGroup
	var mu sync.Mutex
	for i := range 8 {
		wait.Go(func() {
			d, err := Open(i % 2)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			devices = append(devices, d)
			mu.Unlock()
		})
	}
	wait.Wait()
	if n := control.Calls("cuModuleLoadDataEx") - loads; n != 2*int(kernelCount) {
		t.Errorf("%d modules were loaded in two contexts, want %d", n, 2*kernelCount)
	}
	unloads := control.Calls("cuModuleUnload")
	for i, d := range devices {
		if n := control.Calls("cuModuleUnload"); i < 4 && n > unloads { // one context has four devices
			t.Errorf("%d modules were unloaded while they are used", n-unloads)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := control.Calls("cuModuleUnload") - unloads; n != 2*int(kernelCount) {
		t.Errorf("%d modules were unloaded, want %d", n, 2*kernelCount)
	}
	if len(programs.of) != 0 {
		t.Errorf("%d programs are left", len(programs.of))
	}
}

// newContext returns a context of gorgonia.org/cu. It is current on a thread of its
// own.
func newContext(t *testing.T) *cu.Ctx {
	device, err := cu.GetDevice(0)
	if err != nil {
		t.Skip(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx := cu.NewContext(device, cu.SchedAuto)
	if _, err := cu.PopCurrentCtx(); err != nil { // creating the context also made it current here
		t.Fatal(err)
	}
	return ctx
}

// A trainer has a context from cu.NewContext and no stream. A device there gives the
// right bits. A device in the primary context refuses the trainer's memory, and goes
// on.
func TestOpenCurrent(t *testing.T) {
	leaksOrGPU(t)
	ctx := newContext(t)
	var d *Device
	if err := ctx.Do(func() (err error) { d, err = OpenCurrent(0); return err }); err != nil {
		t.Fatal(err)
	}
	p, err := ctx.MemAlloc(4 * 5000)
	if err != nil {
		t.Fatal(err)
	}
	theirs := Buffer{Ptr: p.Uintptr(), Len: 5000}
	b := sampler.Batch{Dim: 2500, Key: 1, Rows: []sampler.Row{sampler.InitialRow(3), sampler.InitialRow(4)}}
	d.Step(theirs, Buffer{}, Buffer{}, b, nil)
	got, want := make([]float32, 5000), make([]float32, 5000)
	if err := errors.Join(d.Sync(), d.Download(got, theirs)); err != nil {
		t.Fatal(err)
	}
	noise.Normal(want[:2500], 1, noise.ID{Sample: 3}, 0)
	noise.Normal(want[2500:], 1, noise.ID{Sample: 4}, 0)
	if !slices.Equal(got, want) {
		t.Error("not the bits of the specification")
	}

	primary, err := OpenStream(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	mine, err := primary.Make(5000, sampler.Float32)
	if err != nil {
		t.Fatal(err)
	}
	host := make([]float32, 5000)
	one := sampler.Batch{Dim: 2500, Rows: []sampler.Row{{Affine: sampler.Affine{X: 1, V: 1}}, {Affine: sampler.Affine{X: 1, V: 1}}}}
	sq := make([]float64, 2)
	unknown := Buffer{Ptr: uintptr(unsafe.Pointer(&host[0])), Len: 5000}
	for _, tc := range []struct {
		says string
		call func() error
	}{
		{"Step on 2 rows of 2500: dst at 0x", func() error { primary.Step(theirs, Buffer{}, Buffer{}, b, sq); return nil }},
		{"Step on 2 rows of 2500: x at 0x", func() error { primary.Step(mine, theirs, mine, one, nil); return nil }},
		{"Squares on 2 rows of 2500: v at 0x", func() error { primary.SumSquares(sq, mine, mine, theirs, one); return nil }},
		{"Grad on 2 rows of 2500: next at 0x", func() error { primary.Grad(mine, theirs, mine, mine, one, sq); return nil }},
		{"Upload of 5000 elements of Float32: the buffer at 0x", func() error { return primary.Upload(theirs, host) }},
		{"OpenCurrent", func() error { return primary.Download(host, theirs) }},
		{"unknown to CUDA, or freed", func() error { primary.Step(unknown, Buffer{}, Buffer{}, b, nil); return nil }},
	} {
		err := tc.call()
		if err == nil {
			err = primary.Sync()
		}
		if !errors.Is(err, ErrPointer) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", tc.says, err)
		}
	}
	primary.Step(mine, mine, mine, one, nil)
	if err := errors.Join(primary.Sync(), primary.Close()); err != nil {
		t.Errorf("after what was refused: %v", err)
	}
	if n, err := cu.NumDevices(); n > 1 && err == nil {
		// This GPU has no access to memory of another GPU.
		other := gpuOrSkip(t, 1)
		far, err := other.Make(5000, sampler.Float32)
		if err != nil {
			t.Fatal(err)
		}
		d.Step(far, Buffer{}, Buffer{}, b, nil)
		if err := d.Sync(); !errors.Is(err, ErrPointer) || !strings.Contains(err.Error(), "cannot reach") {
			t.Errorf("memory of GPU 1: %v", err)
		}
	}
	ctx.MemFree(p)
	if err := errors.Join(d.Close(), ctx.Error(), ctx.Close()); err != nil {
		t.Error(err)
	}
}

// OpenCurrent needs a context that is current on its thread, and a stream of that
// context.
func TestOpenCurrentRefuses(t *testing.T) {
	leaksOrGPU(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for { // contexts that other tests left on this thread
		if now, err := cu.CurrentContext(); err != nil || now == (cu.CUContext{}) {
			break
		}
		if _, err := cu.PopCurrentCtx(); err != nil {
			t.Fatal(err)
		}
	}
	if d, err := OpenCurrent(0); d != nil || !errors.Is(err, errNoContext) {
		t.Errorf("without a context: %v, %v", d, err)
	}
	ctx, other := newContext(t), newContext(t)
	stream, err := other.MakeStream(cu.DefaultStream)
	if err != nil {
		t.Fatal(err)
	}
	for stream, want := range map[uintptr]error{uintptr(unsafe.Pointer(stream.C())): errOtherContext, perThreadStream: errPerThread} {
		err := ctx.Do(func() error { _, err := OpenCurrent(stream); return err })
		if !errors.Is(err, want) || !strings.HasPrefix(err.Error(), "cuda: opening the current context: ") {
			t.Errorf("%v, want %v", err, want)
		}
	}
	other.DestroyStream(&stream)
	if err := errors.Join(other.Error(), other.Close(), ctx.Close()); err != nil {
		t.Error(err)
	}
}

// Sync does not wait for work that the trainer queues later. While it waits for earlier
// work, it does not hold the lock, so other goroutines go on.
func TestSyncWaitsForItsOwn(t *testing.T) {
	standinOrSkip(t)
	ctx := newContext(t)
	var d *Device
	if err := ctx.Do(func() (err error) { d, err = OpenCurrent(0); return err }); err != nil {
		t.Fatal(err)
	}
	hold := func() (end func()) {
		if err := ctx.Do(func() error { end = control.Hold(0); return nil }); err != nil {
			t.Fatal(err)
		}
		return end
	}
	b := sampler.Batch{Dim: 100, Rows: []sampler.Row{sampler.InitialRow(1), sampler.InitialRow(2)}}
	x, err := d.Make(b.Len(), sampler.Float32)
	if err != nil {
		t.Fatal(err)
	}
	network := hold()
	sq, later := []float64{-1, -1}, []float64{-1, -1}
	d.Step(x, Buffer{}, Buffer{}, b, sq)
	waits := control.Calls("cuEventSynchronize")
	synced := make(chan error)
	go func() { synced <- d.Sync() }()
	for control.Calls("cuEventSynchronize") == waits {
		runtime.Gosched()
	}
	d.SumSquares(later, x, Buffer{}, Buffer{}, b) // while Sync waits for the network
	next := hold()
	network()
	if err := <-synced; err != nil { // the trainer's next work still keeps the stream busy
		t.Error(err)
	}
	if !(sq[0] > 0 && sq[1] > 0) || later[0] != -1 {
		t.Errorf("sums %v; %v of a call after Sync", sq, later)
	}
	next()
	if err := d.Sync(); err != nil || later[0] != sq[0] || later[1] != sq[1] {
		t.Errorf("%v; sums %v, then %v", err, sq, later)
	}
	if err := errors.Join(d.Close(), ctx.Close()); err != nil {
		t.Error(err)
	}
}

// A Sync also delivers the sums of an earlier Sync that still waits. Close waits for
// the Syncs that wait.
func TestSyncsTogether(t *testing.T) {
	standinOrSkip(t)
	for range 20 {
		d := gpuOrSkip(t, 0)
		b := sampler.Batch{Dim: 1100, Rows: []sampler.Row{sampler.InitialRow(1)}}
		x, err := d.Make(b.Len(), sampler.Float32)
		if err != nil {
			t.Fatal(err)
		}
		var wait sync.WaitGroup
		for range 4 {
			wait.Go(func() {
				for range 5 {
					sq := []float64{-1}
					d.Step(x, Buffer{}, Buffer{}, b, sq)
					if err := d.Sync(); errors.Is(err, ErrClosed) {
						return
					} else if err != nil || !(sq[0] > 900 && sq[0] < 1300) {
						t.Errorf("%v, sum %v", err, sq)
					}
				}
			})
		}
		runtime.Gosched()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		wait.Wait()
	}
}

// If there is no driver, or it does not start, Open returns an error. The program
// neither ends nor hangs.
func TestNoDriver(t *testing.T) {
	if os.Getenv("CPS_TEST_OPEN") != "" {
		d, err := Open(0)
		fmt.Println("Open:", d == nil, err)
		return
	}
	for _, tc := range []struct{ env, want string }{
		{"LD_LIBRARY_PATH=/nonexistent", ""}, // what is installed, or nothing
		{"STANDIN_FAIL=cuInit=100", "no CUDA-capable device"},
		{"STANDIN_FAIL=cuInit=999", "error 999"},
	} {
		if strings.HasPrefix(tc.env, "STANDIN") && !control.Present() {
			continue
		}
		cmd := exec.Command(os.Args[0], "-test.run=^TestNoDriver$", "-test.v")
		cmd.Env = append(os.Environ(), "CPS_TEST_OPEN=1", tc.env)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "Open: ") || !strings.Contains(string(out), tc.want) {
			t.Errorf("%s: %v\n%s", tc.env, err, out)
		}
		t.Logf("%s: %s", tc.env, strings.SplitN(string(out), "\n", 3)[1])
	}
}
