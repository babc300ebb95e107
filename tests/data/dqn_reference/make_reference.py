#!/usr/bin/env python3
"""make_reference.py [CASE ...]: what PyTorch makes of one DQN update and of 100, as JSON beside this file.

Tests of Kappa's update compare with these numbers. Each case runs in float64 (the numbers written) and
six times in float32, five of them from weights moved by a unit in the last place or not at all. That
only says how far rounding alone moves the numbers: "float32_deviation" has the worst of the six, and
of the first "outside_100".

Order of an update: loss -> backward -> clip_grad_norm_ -> optimizer.step -> clamp every tensor to
+-kappa s_l, s_l = 1/sqrt(fan_in), a bias taking the s_l of its weight. The same minibatch is used for
all 100 updates and the target network does not move.

Inputs come from Philox4x32-10, key = seed, counter words (counter low, counter high, stream, 0); x[0..3]
is the block, u(x) = (x >> 8) / 2^24:
  weights  element e of tensor t, PyTorch's order: (2 u(x[e % 4]) - 1) * init_bound,
           block (seed, stream 1, t << 40 | e / 4); the target network: the same with target_seed
  frames   pixel e (row-major) of frame f from r = byte e % 4 (low first) of x[e / 4 % 4],
           block (seed, stream 99, f << 16 | e / 16): 80 (r + 1) if r < 3, else 0; 5 B frames;
           s of sample b is frames 5b .. 5b+3 (oldest first), s' is frames 5b+1 .. 5b+4.
           Few bright pixels on black, as games have: with noise everywhere the presets that take 0-255
           are chaotic, and float32 leaves float64 by 4e-2 within 100 updates
  sample b block (seed, stream 99, 1 << 56 | b): action = x[0] % A, reward = 2 u(x[1]) - 1,
           discount = 0 if x[2] % 8 == 0 else float32(gamma^n)
  "dot"    sum over e of value[e] * (2 u(x[e % 4]) - 1), block (seed, stream 99,
           2 << 56 | t << 40 | e / 4): one number that depends on every element and on their order
  nudge    k = 1 .. 5 of weight e: times 1 + (x[e % 4] % 3 - 1) 2^-23, block (seed, stream 99,
           3 << 56 | k << 48 | t << 40 | e / 4)

Of each tensor: l2 norm, sum, dot, and 16 values at elements (k * 2654435761) % count, k = 0 .. 15.
"outside" counts the entries outside their bound before the clamp: in update 1, and in all 100.
"""
import copy, json, math, pathlib, sys

import numpy as np
import torch
import torch.nn.functional as F

A, B, GAMMA, UPDATES = 6, 32, 0.99, 100
SINGLES = 6
INIT, TEST = 1, 99

ADAM = dict(rule="adam", lr=1e-4, beta1=0.9, beta2=0.999, eps=1e-8)
TIANSHOU = dict(init="fan_in", padding="valid", input_scale="raw", loss="mse", double=True, n_step=3,
                optim=ADAM, grad_norm=None, kappa=2.0)
CLEANRL = dict(TIANSHOU, input_scale="unit", double=False, n_step=1)
DOPAMINE = dict(CLEANRL, init="xavier", padding="same", optim=dict(ADAM, lr=6.25e-5, eps=1.5e-4))
CASES = {
    "dqn-dopamine": dict(DOPAMINE, seed=1),
    "dqn-tianshou": dict(TIANSHOU, seed=2),
    "dqn-paper": dict(TIANSHOU, seed=3),
    "dqn-cleanrl": dict(CLEANRL, seed=4),
    "huber": dict(TIANSHOU, seed=5, loss="huber", optim=dict(rule="sgd", lr=1e-3, momentum=0.0)),
    "rmsprop": dict(CLEANRL, seed=6, optim=dict(rule="rmsprop", lr=2.5e-4, beta2=0.95, eps=0.01, centered=False)),
    "rmsprop-centered": dict(CLEANRL, seed=7, optim=dict(rule="rmsprop", lr=2.5e-4, beta2=0.95, eps=0.01, centered=True)),
    "sgd-momentum": dict(CLEANRL, seed=8, optim=dict(rule="sgd", lr=1e-3, momentum=0.9)),
    "adamw": dict(TIANSHOU, seed=9, optim=dict(ADAM, rule="adamw", weight_decay=0.01)),
    # under sgd: Adam would hide a scale that is left out
    "grad-norm": dict(TIANSHOU, seed=10, grad_norm=1.0, optim=dict(rule="sgd", lr=1e-3, momentum=0.0)),
    "dopamine-kappa-1": dict(DOPAMINE, seed=1, kappa=1.0),
    "dopamine-kappa-none": dict(DOPAMINE, seed=1, kappa=None),
}


def philox(seed, stream, counter):
    """[n] uint64 counters -> [n, 4] uint32 words."""
    mask, s32 = np.uint64(0xFFFFFFFF), np.uint64(32)
    counter = np.asarray(counter, np.uint64)
    c = [counter & mask, counter >> s32, np.full_like(counter, stream), np.zeros_like(counter)]
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        a, b = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(b >> s32) ^ c[1] ^ np.uint64(k0), b & mask, (a >> s32) ^ c[3] ^ np.uint64(k1), a & mask]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack(c, 1).astype(np.uint32)


def check_philox():
    """The known answers of the authors' library (Random123, kat_vectors, philox 4x32 10)."""
    assert [hex(w) for w in philox(0, 0, [0])[0]] == ["0x6627e8d5", "0xe169c58d", "0xbc57ac4c", "0x9b00dbd8"]


def words(seed, stream, base, count):
    """count uint32 words from counter base on."""
    return philox(seed, stream, np.uint64(base) | np.arange((count + 3) // 4, dtype=np.uint64)).reshape(-1)[:count]


def symmetric(seed, stream, base, count):
    """count float32 numbers of U[-1, 1): 2 u - 1 is exact."""
    x = words(seed, stream, base, count)
    return 2 * ((x >> 8).astype(np.float32) * np.float32(2**-24)) - np.float32(1)


class Net(torch.nn.Module):
    def __init__(self, case):
        super().__init__()
        self.same = case["padding"] == "same"
        self.conv1 = torch.nn.Conv2d(4, 32, 8, 4)
        self.conv2 = torch.nn.Conv2d(32, 64, 4, 2)
        self.conv3 = torch.nn.Conv2d(64, 64, 3, 1)
        self.fc1 = torch.nn.Linear(7744 if self.same else 3136, 512)
        self.fc2 = torch.nn.Linear(512, A)

    def conv(self, layer, x):
        if self.same:  # TensorFlow's: the extra row and column at the far side
            k, s, n = layer.kernel_size[0], layer.stride[0], x.shape[-1]
            pad = max(0, (-(-n // s) - 1) * s + k - n)
            x = F.pad(x, (pad // 2, pad - pad // 2) * 2)
        return torch.relu(layer(x))

    def forward(self, x):
        x = self.conv(self.conv3, self.conv(self.conv2, self.conv(self.conv1, x)))
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


def fans(weight):
    field = weight[0][0].numel() if weight.dim() == 4 else 1
    return weight.shape[1] * field, weight.shape[0] * field


def tensors(net):
    """(name, parameter, s_l, init_bound under fan_in, under xavier); a bias follows its weight."""
    out = []
    for name, p in net.named_parameters():
        if name.endswith("weight"):
            fan_in, fan_out = fans(p)
        out.append((name, p, 1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in),
                    0.0 if name.endswith("bias") else math.sqrt(6 / (fan_in + fan_out))))
    return out


@torch.no_grad()
def initialise(net, case, seed, nudge):
    for t, (_, p, _, fan_in, xavier) in enumerate(tensors(net)):
        count, bound = p.numel(), np.float32(fan_in if case["init"] == "fan_in" else xavier)
        value = symmetric(seed, INIT, t << 40, count) * bound
        if nudge:
            value *= np.float32(1) + (words(seed, TEST, 3 << 56 | nudge << 48 | t << 40, count) % 3 - np.float32(1)) * np.float32(2**-23)
        p.copy_(torch.from_numpy(value).view_as(p))


def minibatch(case, dtype):
    seed = case["seed"]
    counters = np.arange(5 * B, dtype=np.uint64)[:, None] << np.uint64(16) | np.arange(441, dtype=np.uint64)
    frames = philox(seed, TEST, counters.reshape(-1)).astype("<u4").view(np.uint8).reshape(B, 5, 84, 84)
    x = philox(seed, TEST, np.uint64(1 << 56) | np.arange(B, dtype=np.uint64))
    frames = torch.from_numpy(np.where(frames < 3, 80 * (frames + 1.0), 0)).to(dtype)
    if case["input_scale"] == "unit":
        frames = frames / 255
    action = torch.from_numpy((x[:, 0] % A).astype(np.int64))
    reward = 2 * ((x[:, 1] >> 8).astype(np.float32) * np.float32(2**-24)) - np.float32(1)
    discount = np.where(x[:, 2] % 8 == 0, np.float32(0), np.float32(GAMMA ** case["n_step"]))
    return (frames[:, :4].contiguous(), frames[:, 1:].contiguous(), action,
            torch.from_numpy(reward).to(dtype), torch.from_numpy(discount).to(dtype))


def optimizer(net, o):
    p = net.parameters()
    if o["rule"] == "adam":
        return torch.optim.Adam(p, o["lr"], (o["beta1"], o["beta2"]), o["eps"])
    if o["rule"] == "adamw":
        return torch.optim.AdamW(p, o["lr"], (o["beta1"], o["beta2"]), o["eps"], o["weight_decay"])
    if o["rule"] == "sgd":
        return torch.optim.SGD(p, o["lr"], o["momentum"])
    return torch.optim.RMSprop(p, o["lr"], o["beta2"], o["eps"], centered=o["centered"])


def run(case, dtype, nudge=0):
    """{"loss": [...], "grad_norm": [...], "grad" | "theta_1" | "theta_100": {name: array}, "outside_1" | ...}"""
    net = Net(case).to(dtype)
    target = copy.deepcopy(net)
    initialise(net, case, case["seed"], nudge)
    initialise(target, case, case["seed"] + 1000, nudge)
    s, s_next, action, reward, discount = minibatch(case, dtype)
    opt = optimizer(net, case["optim"])
    with torch.no_grad():
        q_next = target(s_next)
    values = lambda of: {n: of(p).detach().double().numpy().reshape(-1).copy() for n, p, *_ in tensors(net)}
    out = {"loss": [], "grad_norm": [], "outside_100": {n: 0 for n, *_ in tensors(net)}}
    for update in range(1, UPDATES + 1):
        with torch.no_grad():
            best = (net(s_next) if case["double"] else q_next).argmax(1)
            y = reward + discount * q_next.gather(1, best[:, None])[:, 0]
        q = net(s)
        chosen = q.gather(1, action[:, None])[:, 0]
        loss = F.mse_loss(chosen, y) if case["loss"] == "mse" else F.huber_loss(chosen, y)
        opt.zero_grad()
        loss.backward()
        if update == 1:
            out["q"] = q.detach().double().numpy()
            out["grad"] = values(lambda p: p.grad)
        limit = case["grad_norm"] or math.inf
        out["grad_norm"].append(torch.nn.utils.clip_grad_norm_(net.parameters(), limit).item())
        opt.step()
        outside = {}
        with torch.no_grad():
            for name, p, s_l, *_ in tensors(net):
                bound = math.inf if case["kappa"] is None else case["kappa"] * s_l
                outside[name] = int((p.abs() > bound).sum())
                out["outside_100"][name] += outside[name]
                p.clamp_(-bound, bound)
        out["loss"].append(loss.item())
        if update == 1:
            out["outside_1"], out["theta_1"] = outside, values(lambda p: p)
    out["theta_100"] = values(lambda p: p)
    return out


def summary(seed, t, value):
    count = value.size
    at = [k * 2654435761 % count for k in range(16)]
    return {"l2": float(np.linalg.norm(value)), "sum": float(value.sum()),
            "dot": float(value @ symmetric(seed, TEST, 2 << 56 | t << 40, count).astype(np.float64)),
            "values": [float(value[i]) for i in at]}


def deviation(exact, others, s_l):
    """How far the worst of others is from exact: relative in the l2 norm; at the worst element, in units of the rms; the
    root mean square in units of s_l, which is what a bias that starts from 0 is small against."""
    short = lambda x: float(f"{x:.2e}")
    rms, off = np.sqrt(np.mean(exact**2)), max(np.sqrt(np.mean((x - exact) ** 2)) for x in others)
    worst = max(np.abs(x - exact).max() for x in others)
    return {"l2": short(off / rms), "worst": short(worst / rms), "of_s_l": short(off / s_l)}


def relative(exact, others):
    return float(f"{max(abs(x - exact) for x in others) / abs(exact):.2e}")


def make(name):
    case = CASES[name]
    exact = run(case, torch.float64)
    single = [run(case, torch.float32, nudge) for nudge in range(SINGLES)]
    shapes = tensors(Net(case))
    stages = ("grad", "theta_1", "theta_100")
    doc = {
        "about": "written by make_reference.py, which says what every field means; do not edit",
        "versions": {"torch": torch.__version__.split("+")[0], "numpy": np.__version__},
        "case": dict(case, name=name, A=A, B=B, gamma=GAMMA, updates=UPDATES, target_seed=case["seed"] + 1000),
        "loss": {"first": exact["loss"][0], "last": exact["loss"][-1]},
        "grad_norm": {"first": exact["grad_norm"][0], "last": exact["grad_norm"][-1]},
        "q_0": exact["q"][0].tolist(),
        "tensors": [
            {"name": n, "dims": list(p.shape), "s_l": s_l,
             "outside_1": exact["outside_1"][n], "outside_100": exact["outside_100"][n],
             **{stage: summary(case["seed"], t, exact[stage][n]) for stage in stages}}
            for t, (n, p, s_l, *_) in enumerate(shapes)],
        "float32_deviation": {
            "loss_first": relative(exact["loss"][0], [x["loss"][0] for x in single]),
            "loss_last": relative(exact["loss"][-1], [x["loss"][-1] for x in single]),
            "outside_100": single[0]["outside_100"],
            **{stage: {n: deviation(exact[stage][n], [x[stage][n] for x in single], s_l) for n, _, s_l, *_ in shapes}
               for stage in stages}},
    }
    path = pathlib.Path(__file__).parent / f"{name}.json"
    path.write_text(json.dumps(doc, indent=1) + "\n")
    worst = {s: max(d["l2"] for d in doc["float32_deviation"][s].values()) for s in stages}
    worst1 = {s: max(d["of_s_l"] for d in doc["float32_deviation"][s].values()) for s in stages}
    print(f"{name:20} loss {exact['loss'][0]:.4g} -> {exact['loss'][-1]:.4g}  norm {exact['grad_norm'][0]:.3g}  "
          f"float32: loss {doc['float32_deviation']['loss_first']:.1e} {doc['float32_deviation']['loss_last']:.1e}  "
          + "  ".join(f"{s} {worst[s]:.1e}/{worst1[s]:.1e}" for s in stages), flush=True)


if __name__ == "__main__":
    check_philox()
    torch.manual_seed(0)
    torch.set_num_threads(1)  # sums in one order on every machine
    for name in sys.argv[1:] or CASES:
        if name not in CASES:
            sys.exit(f"{name} is not a case; there are: {', '.join(CASES)}")
        make(name)
