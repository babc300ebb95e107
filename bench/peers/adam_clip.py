"""Adam and the weight clip in PyTorch, at its best: GB/s at 28 bytes a parameter.

usage: adam_clip.py PARAMETERS [--device cuda]     prints one JSON object as its last line

compiled_gb_s  Adam written by hand and clamp, one flat tensor, under torch.compile
fused_gb_s     torch.optim.Adam(fused=True), then a foreach clamp
Each is the median of several timings; on the CPU, the better of 1 and all threads.
"""
import argparse
import json
import os
import statistics
import time

import torch

BETA1, BETA2, EPS, STEP, BOUND = 0.9, 0.999, 1e-8, 1e-4, 0.04


def update(theta, grad, m, v, rsqrt_bc2):
    m.mul_(BETA1).add_(grad, alpha=1 - BETA1)
    v.mul_(BETA2).addcmul_(grad, grad, value=1 - BETA2)
    theta.sub_(STEP * m / (v.sqrt() * rsqrt_bc2 + EPS)).clamp_(-BOUND, BOUND)


def wait(cuda):
    if cuda:
        torch.cuda.synchronize()


def gb_s(step, n, cuda):
    repeat = max(50 if cuda else 1, (1_000_000_000 if cuda else 30_000_000) // n)
    step()  # compiles
    seconds = []
    for _ in range(7):
        wait(cuda)
        start = time.perf_counter()
        for _ in range(repeat):
            step()
        wait(cuda)
        seconds.append((time.perf_counter() - start) / repeat)
    return 28e-9 * n / statistics.median(seconds)


def compiled(n, grad):
    torch._dynamo.reset()
    theta, m, v = grad.clone(), torch.zeros_like(grad), torch.zeros_like(grad)
    fn = torch.compile(update)
    bias = torch.tensor(1.0, device=grad.device)  # a tensor: a changing number would compile again
    return gb_s(lambda: fn(theta, grad, m, v, bias), n, grad.is_cuda)


def fused(n, grad):
    theta = torch.nn.Parameter(grad.clone())
    theta.grad = grad
    adam = torch.optim.Adam([theta], lr=STEP, eps=EPS, fused=True)

    def step():
        adam.step()
        with torch.no_grad():
            torch._foreach_clamp_min_([theta], -BOUND)
            torch._foreach_clamp_max_([theta], BOUND)

    return gb_s(step, n, grad.is_cuda)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("parameters", type=int)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    if args.device != "cpu":
        torch.cuda.set_device(torch.device(args.device if ":" in args.device else "cuda:0"))
    grad = 0.1 * (torch.rand(args.parameters, generator=torch.Generator().manual_seed(1)) - 0.5)
    grad = grad.to(args.device)
    best = {"compiled_gb_s": 0.0, "fused_gb_s": 0.0}
    for threads in {1, len(os.sched_getaffinity(0))} if args.device == "cpu" else {1}:
        torch.set_num_threads(threads)
        best["compiled_gb_s"] = max(best["compiled_gb_s"], compiled(args.parameters, grad))
        best["fused_gb_s"] = max(best["fused_gb_s"], fused(args.parameters, grad))
    print(json.dumps(best))


if __name__ == "__main__":
    main()
