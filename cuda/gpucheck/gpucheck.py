"""The checks of gpucheck.sh that need a trainer in the same process, or torch.

    gpucheck.py foreign LIBRARY         pointers and a stream of CUDA's driver, by ctypes
    gpucheck.py torch LIBRARY           those of torch, on a stream that is busy
    gpucheck.py time REPORT.json OUT    what torch takes for the passes of a report

A check that the machine cannot do prints a line "SKIP: why" and succeeds.
"""

import ctypes
import json
import math
import random
import statistics
import struct
import sys

TYPES = (("Float32", 4), ("BFloat16", 2), ("Float16", 2))
ROWS, DIM = 3, 5000


def skip(why):
    print("SKIP:", why)
    sys.exit(0)


class Interop:
    """Package cuda, as a library."""

    def __init__(self, path):
        self.lib = ctypes.CDLL(path)

    def open(self, stream):
        return self.lib.InteropOpen(ctypes.c_size_t(stream)) == 0

    def step(self, dst, x, v, kind, sums):
        p = ctypes.c_size_t
        self.lib.InteropStep(p(dst), p(x), p(v), ROWS, DIM, kind, sums)

    def sync(self):
        return self.lib.InteropSync() == 0

    def close(self):
        return self.lib.InteropClose() == 0

    def on_cpu(self, x, v, kind):
        """The bytes and the sums of the step on the processor."""
        dst, sums = ctypes.create_string_buffer(len(x)), (ctypes.c_double * ROWS)()
        xs, vs = ctypes.create_string_buffer(x, len(x)), ctypes.create_string_buffer(v, len(v))
        if self.lib.InteropCPU(dst, xs, vs, ROWS, DIM, kind, sums) != 0:
            sys.exit("the step on the processor failed")
        return dst.raw, list(sums)


def verdict(name, same):
    print(f"{name}: {'the same bits as the processor' if same else 'NOT the bits of the processor'}", flush=True)
    return same


def foreign(library):
    """Device memory and a stream that this process made with the driver itself."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as e:
        skip(f"no driver: {e}")
    vp, u64, size = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_size_t

    def call(name, *args):
        result = getattr(cuda, name)(*args)
        if result != 0:
            sys.exit(f"{name}: error {result}")

    if cuda.cuInit(0) != 0:
        skip("the driver finds no GPU")
    device, context, stream = ctypes.c_int(), vp(), vp()
    call("cuDeviceGet", ctypes.byref(device), 0)
    call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    call("cuCtxPushCurrent_v2", context)
    call("cuStreamCreate", ctypes.byref(stream), 1)
    ours = Interop(library)
    if not ours.open(stream.value):
        return False
    good = True
    rand = random.Random(1)
    for kind, (name, width) in enumerate(TYPES):
        n = ROWS * DIM * width
        fmt = {"Float32": "f", "Float16": "e"}
        values = [[rand.uniform(-2, 2) for _ in range(ROWS * DIM)] for _ in range(2)]
        if name in fmt:
            x, v = (struct.pack(f"<{ROWS * DIM}{fmt[name]}", *a) for a in values)
        else:  # the upper halves of float32
            x, v = (b"".join(struct.pack("<f", f)[2:] for f in a) for a in values)
        pointers, pinned = [u64() for _ in range(3)], [vp() for _ in range(3)]
        for p, h in zip(pointers, pinned):
            call("cuMemAlloc_v2", ctypes.byref(p), size(n))
            call("cuMemHostAlloc", ctypes.byref(h), size(n), 0)
        for p, h, data in zip(pointers, pinned, (x, v)):
            ctypes.memmove(h, data, n)
            call("cuMemcpyHtoDAsync_v2", p, h, size(n), stream)
        sums = (ctypes.c_double * ROWS)()
        ours.step(pointers[2].value, pointers[0].value, pointers[1].value, kind, sums)
        call("cuMemcpyDtoHAsync_v2", pinned[2], pointers[2], size(n), stream)  # after it, unasked
        call("cuStreamSynchronize", stream)
        good &= ours.sync()
        got = ctypes.string_at(pinned[2], n)
        good &= verdict(f"{name}, memory and stream of the driver", (got, list(sums)) == ours.on_cpu(x, v, kind))
        for p, h in zip(pointers, pinned):
            call("cuMemFree_v2", p)
            call("cuMemFreeHost", h)
    print("now an address of no memory, which must be refused:", flush=True)
    ours.step(0x1000, 0x1000, 0x1000, 0, None)
    good &= not ours.sync()
    good &= ours.close()
    call("cuStreamDestroy_v2", stream)
    return good


def with_torch():
    try:
        import torch
    except ImportError:
        skip("no torch")
    if not torch.cuda.is_available():
        skip("torch has no CUDA here")
    return torch


def through_torch(library):
    """torch's memory, and a stream of torch that is busy before and after."""
    torch = with_torch()
    ours, good = Interop(library), True

    def raw(t):
        return t.contiguous().cpu().view(torch.uint8).numpy().tobytes()

    for kind, (name, dtype) in enumerate((("Float32", torch.float32), ("BFloat16", torch.bfloat16), ("Float16", torch.float16))):
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            if not ours.open(stream.cuda_stream):
                return False
            x = torch.randn(ROWS, DIM, device="cuda").to(dtype)
            v = torch.randn(ROWS, DIM, device="cuda").to(dtype)
            y = torch.full_like(x, 7.0)
            big = torch.randn(4096, 4096, device="cuda")
            for _ in range(20):
                big = big @ big / 64
            late = x * 1  # made by the busy stream just before
            sums = (ctypes.c_double * ROWS)()
            ours.step(y.data_ptr(), late.data_ptr(), v.data_ptr(), kind, sums)
            after = y.clone()  # after it on the stream
            for _ in range(20):
                big = big @ big / 64
            good &= ours.sync()
            stream.synchronize()
        good &= verdict(f"{name}, memory and busy stream of torch", (raw(after), list(sums)) == ours.on_cpu(raw(x), raw(v), kind))
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=stream):
                ours.step(y.data_ptr(), late.data_ptr(), v.data_ptr(), kind, None)
            y.fill_(7.0)
            graph.replay()
            torch.cuda.synchronize()
            print(f"{name}, captured in a graph: {'the same' if torch.equal(y, after) else 'NOT the same'}", flush=True)
        except RuntimeError as e:  # told, and no failure: nothing promises it
            print(f"{name}, captured in a graph: {str(e).splitlines()[0]}", flush=True)
        good &= ours.close()
    return good


def time(report, out):
    """Passes written from the formulas of FlowCPS (arXiv 2509.05952, Eq. 13 and 15)."""
    torch = with_torch()
    report = json.load(open(report))
    rows, dim, rounds, calls = report["rows"], report["dim"], report["rounds"], 10
    s, q, eta = 0.7, 0.6, 0.7  # levels of the step, and exploration
    std = q * math.sin(eta * math.pi / 2)
    along = math.sqrt(q * q - std * std)
    of_v = along * (1 - s) - (1 - q) * s  # the weight of v in the mean

    def mean(x, v):
        x, v = x.float(), v.float()
        return (1 - q) * (x - s * v) + along * (x + (1 - s) * v)

    def step(x, v):
        m = mean(x, v)
        dst = (m + std * torch.randn_like(m)).to(x.dtype)
        return dst, -((dst.float() - m) ** 2).mean(dim=1)

    def replay(x, v, dst):
        return -((dst.float() - mean(x, v)) ** 2).mean(dim=1)

    def autograd(x, v, dst):
        w = v.detach().float().requires_grad_()
        replay(x, w, dst).sum().backward()
        return w.grad

    def closed(x, v, dst):
        return (2 * of_v / dim) * (dst.float() - mean(x, v))

    def microseconds(f):
        for _ in range(3):
            f()
        times = []
        for _ in range(rounds):
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            for _ in range(calls):
                f()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end) * 1000 / calls)
        return statistics.median(times)

    ours = {m["pass"]: m["microseconds"] for m in report["measurements"]}
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {rows} rows of {dim}; µs, medians of {rounds}")
    print("| pass | this package | torch eager | of it | torch.compile | of it |\n|---|---|---|---|---|---|")
    results = []
    for name, dtype in (("Float32", torch.float32), ("BFloat16", torch.bfloat16), ("Float16", torch.float16)):
        x, v, dst = (torch.randn(rows, dim, device="cuda").to(dtype) for _ in range(3))
        if not torch.allclose(autograd(x, v, dst), closed(x, v, dst), rtol=1e-3, atol=1e-9):
            sys.exit("the gradients of torch differ")
        for key, label, f, args in (
            ("initial noise", "", torch.randn_like, (x,)),
            ("step with sums", "", step, (x, v)),
            ("replay", "", replay, (x, v, dst)),
            ("gradient, in float32", ", closed form", closed, (x, v, dst)),
            ("gradient, in float32", ", autograd", autograd, (x, v, dst)),
        ):
            key += ", " + name
            eager, fast = microseconds(lambda: f(*args)), None
            try:
                compiled = torch.compile(f)
                fast = microseconds(lambda: compiled(*args))
            except Exception as e:  # no compiler on the machine, say
                print("torch.compile:", str(e).splitlines()[0])
            results.append({"pass": key + label, "cuda": ours[key], "eager": eager, "compiled": fast})
            last = f"{fast:.1f} | {fast / ours[key]:.1f}×" if fast else "– | –"
            print(f"| {key}{label} | {ours[key]:.1f} | {eager:.1f} | {eager / ours[key]:.1f}× | {last} |", flush=True)
            # Write what is measured so far, in case the time runs out.
            json.dump({"device": torch.cuda.get_device_name(), "torch": torch.__version__, "rows": rows, "dim": dim,
                       "microseconds": results}, open(out, "w"), indent="\t")
    return True


if __name__ == "__main__":
    done = {"foreign": foreign, "torch": through_torch, "time": time}[sys.argv[1]](*sys.argv[2:])
    sys.exit(0 if done else 1)
