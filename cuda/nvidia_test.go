//go:build cuda && linux && cgo

package cuda

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
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

// gpuOrSkip opens GPU 0, or the stand-in. A machine without either has other tests.
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

// standinOrSkip skips a test that needs the stand-in, and checks in the end that
// nothing leaked.
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

// The device has the bits of the specification.
func TestConformance(t *testing.T) {
	devicetest.Run(t, func(t testing.TB) devicetest.Subject[Buffer] { return subject(t, gpuOrSkip(t, 0)) })
}

// So it has on a stream of the caller, in the caller's own context.
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
	// Calls of the trainer go on as before, with buffers of its own.
	p, err := cu.MemAlloc(4 * 5000)
	if err != nil {
		t.Fatal(err)
	}
	mine := Buffer{Ptr: p.Uintptr(), Len: 5000}
	b := sampler.Batch{Dim: 2500, Key: 1, Rows: []sampler.Row{sampler.InitialRow(3), sampler.InitialRow(4)}}
	d.Step(mine, Buffer{}, Buffer{}, b, nil)
	if err := stream.Synchronize(); err != nil { // the trainer's, not the device's
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
	// The caller's context is current as before, and everything of it still there.
	if now, err := cu.CurrentContext(); err != nil || now != ctx {
		t.Errorf("context is %v, %v, want %v", now, err, ctx)
	}
	if err := errors.Join(cu.MemFree(p), stream.Synchronize(), stream.Destroy(), ctx.Destroy()); err != nil {
		t.Error(err)
	}
}

// Streams 0 and 1 are that of the primary context.
func TestOpenDefaultStream(t *testing.T) {
	for _, stream := range []uintptr{0, legacyStream} {
		d, err := OpenStream(0, stream)
		if err != nil {
			if control.Present() {
				t.Fatal(err)
			}
			t.Skip(err)
		}
		s := subject(t, d)
		b := s.New(3, sampler.Float32)
		d.Step(b, Buffer{}, Buffer{}, sampler.Batch{Dim: 3, Rows: []sampler.Row{sampler.InitialRow(0)}}, nil)
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			t.Errorf("stream %d: %v", stream, err)
		}
	}
}

// The default stream of a thread is none of a goroutine.
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

// A stream of another GPU, a GPU that is not there.
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

// scenario uses everything of a device once, and returns the first error.
func scenario(ordinal int) (err error) {
	d, err := Open(ordinal)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close(), d.Close()) }() // the second if the first was not let in
	b := sampler.Batch{Dim: 1100, Rows: []sampler.Row{
		{Affine: sampler.Affine{X: 0.5, V: 0.1, Eps: 0.2}, ID: noise.ID{Sample: 8, Step: 3}},
		{Affine: sampler.Affine{X: 0.7, V: 0.3, Eps: 0.1}, ID: noise.ID{Sample: 1, Step: 9}},
	}}
	x, err := d.Alloc(b.Len(), sampler.Float32)
	if err != nil {
		return err
	}
	next, err := d.Alloc(b.Len(), sampler.BFloat16)
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
	for range 3 { // several on their way at once
		d.Step(next, x, x, b, sq)
		d.SumSquares(again, next, x, x, b)
		d.Grad(x, next, x, x, b, []float64{0.1, 0.2})
	}
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
// that start it succeed: leave ignores it.
var driverCalls = []string{
	"cuDeviceGet", "cuDeviceGetAttribute", "cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRelease", "cuCtxPushCurrent",
	"cuCtxPopCurrent", "cuCtxGetDevice", "cuModuleLoadData", "cuModuleGetFunction", "cuModuleUnload",
	"cuOccupancyMaxActiveBlocksPerMultiprocessor", "cuStreamCreate",
	"cuStreamDestroy", "cuStreamSynchronize", "cuMemAlloc", "cuMemFree", "cuMemHostAlloc", "cuMemFreeHost",
	"cuMemcpyHtoDAsync", "cuMemcpyDtoHAsync", "cuEventCreate", "cuEventRecord", "cuEventQuery", "cuEventDestroy",
	"cuLaunchKernel", "kernel",
}

// Whatever call of the driver fails, the error says which, nothing leaks, and the next
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

// Errors name the call, the rows, the kernel, the driver's function and its words.
func TestDriverErrorText(t *testing.T) {
	standinOrSkip(t)
	for _, tc := range []struct{ call, want string }{
		{"cuLaunchKernel", "cuda: Step on 3 rows of 7: kernel step: cuLaunchKernel: out of memory (error 2)"},
		{"kernel", "cuda: queue that ends with Step on 3 rows of 7: cuStreamSynchronize: out of memory (error 2)"},
	} {
		d, err := Open(0)
		if err != nil {
			t.Fatal(err)
		}
		b := sampler.Batch{Dim: 7, Rows: []sampler.Row{sampler.InitialRow(1), sampler.InitialRow(2), sampler.InitialRow(3)}}
		x, err := d.Alloc(b.Len(), sampler.Float32)
		if err != nil {
			t.Fatal(err)
		}
		made := control.Fail(tc.call, 1, 2)
		d.Step(x, Buffer{}, Buffer{}, b, nil)
		err = d.Sync()
		if !made() || err == nil || err.Error() != tc.want || !errors.Is(err, ErrMemory) {
			t.Errorf("error is %v, want %s", err, tc.want)
		}
		if err := d.Close(); (err != nil) != (tc.call == "kernel") { // a fault stays
			t.Errorf("Close after %s: %v", tc.call, err)
		}
		control.Restart()
	}
}

// A fault in a kernel is found and stays, nothing hangs, and Close tells once, having
// tried to return everything.
func TestFault(t *testing.T) {
	standinOrSkip(t)
	defer control.Restart()
	d, err := Open(1)
	if err != nil {
		t.Fatal(err)
	}
	b := sampler.Batch{Dim: 7, Rows: []sampler.Row{sampler.InitialRow(1)}}
	x, err := d.Alloc(b.Len(), sampler.Float32)
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
	d.Step(x, Buffer{}, Buffer{}, b, nil) // Close tells of this, if nothing else did
	const words = "an illegal memory access was encountered"
	if err := d.Close(); err == nil || strings.Count(err.Error(), words) != 1 {
		t.Errorf("Close: %v", err)
	}
	if d, err := Open(1); d != nil || err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("Open after a fault: %v, %v", d, err)
	}
}

// Memory that is exhausted is an error and leaves the device usable.
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
	if _, err := d.Alloc(3000, sampler.Float32); !errors.Is(err, ErrMemory) || !strings.Contains(err.Error(), "3000 elements of Float32") {
		t.Errorf("Alloc: %v", err)
	}
	b, err := d.Alloc(100, sampler.BFloat16)
	if err != nil {
		t.Fatal(err)
	}
	d.Step(b, Buffer{}, Buffer{}, sampler.Batch{Dim: 100, Rows: []sampler.Row{sampler.InitialRow(1)}}, nil)
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
}

// Devices of two GPUs, several of each, from many goroutines.
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

// Calls allocate nothing and do not wait, and push and pop one context each.
func TestDriverCalls(t *testing.T) {
	standinOrSkip(t)
	d := gpuOrSkip(t, 0)
	b := sampler.Batch{Dim: 64, Rows: []sampler.Row{sampler.InitialRow(1), sampler.InitialRow(7)}}
	x, err := d.Alloc(b.Len(), sampler.Float32)
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
	waits, allocs, pinned := control.Calls("cuStreamSynchronize"), control.Calls("cuMemAlloc"), control.Calls("cuMemHostAlloc")
	if n := testing.AllocsPerRun(50, call); n != 0 {
		t.Errorf("%v allocations a call", n)
	}
	if w, a, p := control.Calls("cuStreamSynchronize"), control.Calls("cuMemAlloc"), control.Calls("cuMemHostAlloc"); w != waits || a != allocs || p != pinned {
		t.Errorf("%d waits, %d allocations, %d pinned ones in calls", w-waits, a-allocs, p-pinned)
	}
}

// Without a driver, or if it does not start, Open returns an error: the program neither
// ends nor hangs.
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
