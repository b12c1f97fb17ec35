"""The work of Python trainers for one step, written from the formulas.

Usage: peers.py ROWS DIM. It reads lines "case repetitions" and answers each with the
seconds that the repetitions took. It uses one thread.
"""

import math
import sys
import time

import numpy as np
import torch

torch.set_num_threads(1)
rows, dim = int(sys.argv[1]), int(sys.argv[2])
s, q, eta = 0.7, 0.6, 0.7  # levels of the step, and exploration
x, v = torch.randn(rows, dim), torch.randn(rows, dim)
prev = torch.randn(rows, dim)

cps_std = q * math.sin(eta * math.pi / 2)
X = 1 - q + q * math.cos(eta * math.pi / 2)
V = (1 - s) * q * math.cos(eta * math.pi / 2) - s * (1 - q)


def cps_mean(v):
    x0, x1 = x - s * v, x + (1 - s) * v
    return (1 - q) * x0 + math.sqrt(q * q - cps_std * cps_std) * x1


def cps_log_prob(prev, mean):
    return -((prev - mean) ** 2).mean(dim=1)


def sde_mean(v):
    std, d = math.sqrt(s / (1 - s)) * eta, s - q
    return x * (1 - std**2 / (2 * s) * d) - v * (1 + std**2 * (1 - s) / (2 * s)) * d


SCALE = math.sqrt(s / (1 - s)) * eta * math.sqrt(s - q)


def sde_log_prob(prev, mean):
    density = -((prev - mean) ** 2) / (2 * SCALE**2) - math.log(SCALE) - math.log(math.sqrt(2 * math.pi))
    return density.mean(dim=1)


def step_cps():
    mean = cps_mean(v)
    out = mean + cps_std * torch.randn(rows, dim)
    return out, cps_log_prob(out, mean)


def step_sde():
    mean = sde_mean(v)
    out = mean + SCALE * torch.randn(rows, dim)
    return out, sde_log_prob(out, mean)


mean_buf, noise_buf, next_buf = torch.empty(rows, dim), torch.empty(rows, dim), torch.empty(rows, dim)


def step_inplace():
    torch.mul(x, X, out=mean_buf)
    mean_buf.add_(v, alpha=V)
    noise_buf.normal_()
    torch.add(mean_buf, noise_buf, alpha=cps_std, out=next_buf)
    torch.sub(next_buf, mean_buf, out=noise_buf)
    return next_buf, noise_buf.square_().sum(1)


def replay_cps():
    with torch.no_grad():
        return cps_log_prob(prev, cps_mean(v))


def replay_inplace():
    torch.mul(x, -X, out=mean_buf)
    mean_buf.add_(v, alpha=-V)
    mean_buf.add_(prev)
    return mean_buf.square_().sum(1)


grad_buf = torch.zeros(rows, dim)


def gradient_inplace():
    torch.mul(x, -X, out=mean_buf)
    mean_buf.add_(v, alpha=-V)
    mean_buf.add_(prev)
    grad_buf.add_(mean_buf, alpha=1e-9)
    return mean_buf.square_().sum(1)


def gradient_cps():
    w = v.detach().requires_grad_()
    cps_log_prob(prev, cps_mean(w)).sum().backward()
    return w.grad


rng = np.random.Generator(np.random.SFC64(1))
xn, vn = x.numpy(), v.numpy()
mean_np, noise_np, next_np = (np.empty((rows, dim), np.float32) for _ in range(3))
Xf, Vf, Ef = np.float32(X), np.float32(V), np.float32(cps_std)


def step_numpy():
    rng.standard_normal(out=noise_np, dtype=np.float32)
    np.multiply(xn, Xf, out=mean_np)
    np.multiply(vn, Vf, out=next_np)
    np.add(mean_np, next_np, out=mean_np)
    np.multiply(noise_np, Ef, out=noise_np)
    np.add(mean_np, noise_np, out=next_np)
    np.subtract(next_np, mean_np, out=noise_np)
    return next_np, np.einsum("ij,ij->i", noise_np, noise_np)


cases = {f.__name__: f for f in (
    step_cps, step_sde, step_inplace, step_numpy, replay_cps, replay_inplace, gradient_cps, gradient_inplace)}
print(torch.__version__, np.__version__, flush=True)
for line in sys.stdin:
    name, repetitions = line.split()
    f = cases[name]
    start = time.perf_counter()
    for _ in range(int(repetitions)):
        f()
    print(time.perf_counter() - start, flush=True)
