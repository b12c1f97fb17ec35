"""What torch takes on the GPU for what one pass of package cuda does.

Started as: gpucheck.py REPORT.json OUT. Reads the report of the passes, made on the
same card, for shapes and times, and writes OUT.json and OUT.md. The functions are
written from the formulas of FlowCPS (arXiv 2509.05952, Eq. 13 and 15), eager and
through torch.compile.
"""

import json
import math
import statistics
import sys

import torch

report = json.load(open(sys.argv[1]))
rows, dim, rounds, calls = report["rows"], report["dim"], report["rounds"], 10
s, q, eta = 0.7, 0.6, 0.7  # levels of the step, and exploration
std = q * math.sin(eta * math.pi / 2)
along = math.sqrt(q * q - std * std)


def mean(x, v):
    x, v = x.float(), v.float()
    x0, x1 = x - s * v, x + (1 - s) * v
    return (1 - q) * x0 + along * x1


def step(x, v):
    m = mean(x, v)
    out = (m + std * torch.randn_like(m)).to(x.dtype)
    return out, -((out.float() - m) ** 2).mean(dim=1)


def replay(x, v, out):
    return -((out.float() - mean(x, v)) ** 2).mean(dim=1)


def gradient(x, v, out):
    w = v.detach().requires_grad_()
    replay(x, w, out).sum().backward()
    return w.grad


def noise(x):
    return torch.randn_like(x)


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
results = []
for name, dtype in (("Float32", torch.float32), ("BFloat16", torch.bfloat16), ("Float16", torch.float16)):
    x, v, out = (torch.randn(rows, dim, device="cuda").to(dtype) for _ in range(3))
    for label, f, args in (
        ("initial noise", noise, (x,)),
        ("step with sums", step, (x, v)),
        ("replay", replay, (x, v, out)),
        ("gradient, in float32", gradient, (x, v, out)),
    ):
        eager = microseconds(lambda: f(*args))
        try:
            compiled = torch.compile(f)
            fast = microseconds(lambda: compiled(*args))
        except Exception as e:  # no compiler on the machine
            print("torch.compile:", str(e).splitlines()[0])
            fast = None
        key = f"{label}, {name}"
        results.append({"pass": key, "cuda": ours[key], "eager": eager, "compiled": fast})

json.dump({"device": torch.cuda.get_device_name(), "torch": torch.__version__, "rows": rows, "dim": dim,
           "microseconds": results}, open(sys.argv[2] + ".json", "w"), indent="\t")
with open(sys.argv[2] + ".md", "w") as f:
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {rows} rows of {dim} elements; µs, medians of {rounds}.\n", file=f)
    print("| Pass | this package | torch eager | of eager | torch.compile | of compiled |\n|---|---|---|---|---|---|", file=f)
    for r in results:
        c = r["compiled"]
        print(f"| {r['pass']} | {r['cuda']:.1f} | {r['eager']:.1f} | {r['eager'] / r['cuda']:.1f}× | "
              + (f"{c:.1f} | {c / r['cuda']:.1f}× |" if c else "– | – |"), file=f)
print(open(sys.argv[2] + ".md").read())
