"""One DQN update in PyTorch, at its best, in updates a second. Prints one JSON object as its last line.

usage: dqn_update.py [--seconds 5]                                one agent
       dqn_update.py --population 8 --processes 2 [--seconds 5]   agents shared out, one process a core

The network, loss and rule of preset dqn-cleanrl with kappa 2: valid padding (3136), /255, MSE, one step,
batch 32, Adam 1e-4, then the weight clip. An update takes uint8 stacks, which stay in cache, to clipped
weights; ours also gathers them from a replay that does not. The best of: torch.compile with max-autotune,
torch.compile and plain, channels_last and not, 1 and all threads (one agent); of a population every
process has one thread, and updates of all agents count.
"""
import argparse
import itertools
import json
import multiprocessing
import os
import time

import torch
import torch.nn.functional as F

A, B, GAMMA, KAPPA = 6, 32, 0.99, 2.0
PLAIN, COMPILED, TUNED = None, "default", "max-autotune-no-cudagraphs"  # modes of torch.compile


def network(format, same):
    """same: the sizes of preset dqn-dopamine, 21x21, 11x11, 11x11; else no padding. TensorFlow pads the second
    convolution by 1 before and 2 after, which PyTorch can only do by a layer of its own; 2 and 2 makes the same
    output of the same work faster, a pixel aside."""
    relu, conv = torch.nn.ReLU, torch.nn.Conv2d
    pad = (2, 2, 1) if same else (0, 0, 0)
    layers = [conv(4, 32, 8, 4, pad[0]), relu(), conv(32, 64, 4, 2, pad[1]), relu(), conv(64, 64, 3, 1, pad[2]), relu(),
              torch.nn.Flatten(), torch.nn.Linear(7744 if same else 3136, 512), relu(), torch.nn.Linear(512, A)]
    return torch.nn.Sequential(*layers).to(memory_format=format)


class Agent:
    def __init__(self, mode, format, seed=0, same=False, lr=1e-4, eps=1e-8):
        torch.manual_seed(seed)
        self.format = format
        self.net, self.target = network(format, same), network(format, same)
        self.target.load_state_dict(self.net.state_dict())
        self.parameters = list(self.net.parameters())
        self.adam = torch.optim.Adam(self.parameters, lr=lr, eps=eps, fused=True)
        weights = [p for p in self.parameters if p.dim() > 1]
        self.bounds = [KAPPA / w[0].numel() ** 0.5 for w in weights for _ in range(2)]  # a bias follows its weight
        self.lower = [torch.tensor(-b) for b in self.bounds]
        self.upper = [torch.tensor(b) for b in self.bounds]
        self.loss = torch.compile(self._loss, mode=mode) if mode else self._loss

    def _loss(self, s, s_next, action, reward, discount):
        with torch.no_grad():
            y = reward + discount * self.target(self._input(s_next)).max(1).values
        q = self.net(self._input(s)).gather(1, action[:, None])[:, 0]
        return F.mse_loss(q, y)

    def _input(self, frames):
        return frames.to(torch.float32, memory_format=self.format) / 255

    def update(self, batch):
        self.adam.zero_grad(set_to_none=True)
        loss = self.loss(*batch)
        loss.backward()
        self.adam.step()
        with torch.no_grad():
            torch._foreach_maximum_(self.parameters, self.lower)
            torch._foreach_minimum_(self.parameters, self.upper)
        return loss


def batch_of(generator):
    frames = lambda: torch.randint(0, 256, (B, 4, 84, 84), dtype=torch.uint8, generator=generator)
    return (frames(), frames(), torch.randint(0, A, (B,), generator=generator),
            torch.rand(B, generator=generator), torch.full((B,), GAMMA))


def rate(agents, seconds, ready=None):
    """Updates a second of all agents in turn."""
    generator = torch.Generator().manual_seed(1)
    batches = [batch_of(generator) for _ in range(4)]
    for agent in agents:
        for _ in range(3):
            agent.update(batches[0])
    if ready:
        ready.wait()
    n, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for agent in agents:
            agent.update(batches[n % 4])
            n += 1
    return n / (time.perf_counter() - start)


VARIANTS = [(TUNED, torch.channels_last), *itertools.product((COMPILED, PLAIN), (torch.channels_last, torch.contiguous_format))]
OF_POPULATION = [v for v in VARIANTS if v[1] == torch.channels_last]


def label(mode, format):
    name = {PLAIN: "plain", COMPILED: "compiled", TUNED: "tuned"}[mode]
    return name + ("_channels_last" if format == torch.channels_last else "")


def work(n_agents, variant, seconds, ready, results):
    torch.set_num_threads(1)
    results.put(rate([Agent(*variant, seed=i) for i in range(n_agents)], seconds, ready))


def population(size, processes, variant, seconds):
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(processes), context.Queue()
    shares = [size // processes + (i < size % processes) for i in range(processes)]
    workers = [context.Process(target=work, args=(n, variant, seconds, ready, results)) for n in shares]
    for worker in workers:
        worker.start()
    total = sum(results.get() for _ in workers)
    for worker in workers:
        worker.join()
    return total


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--population", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5.0)
    args = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    out = {"net": "dqn-cleanrl", "batch": B, "population": args.population, "processes": args.processes,
           "torch": torch.__version__}
    seen = {}
    if args.population == 1:
        for threads in sorted({1, cores}):
            torch.set_num_threads(threads)
            for variant in VARIANTS:
                torch._dynamo.reset()
                seen[f"{label(*variant)}_{threads}_threads"] = rate([Agent(*variant)], args.seconds)
    else:
        for variant in OF_POPULATION:
            seen[label(*variant)] = population(args.population, args.processes, variant, args.seconds)
    best = max(seen, key=seen.get)
    print(json.dumps(out | {"updates_per_s": seen[best], "best": best, "all": seen}))


if __name__ == "__main__":
    main()
