"""Weights that the update rules leave, each rule in a few lines of NumPy in float64, textbook over 1,000
updates and the weight clipping authors' forms over 100. Sources: docs/configuration.md names the rules; the
authors' forms are those that their optimizers were seen to follow.

    python make.py > rules.json

A weight of 6 x 12 and a bias of 6 descend sum_e c_e (theta_e - b_e)^2 / 2, where b moves a little with every
update and jumps every 100 (a task). All numbers come from hash_noise, so that the tests can make them too."""
import json
import math

import numpy as np

SHAPES, FAN_IN, TASK = [(6, 12), (6,)], 12, 100
INIT_BOUND = [0.5, 0.25]  # of the initialisers
SAMPLED = range(0, 78, 7)
M64 = (1 << 64) - 1


def hash_noise(step, tensor, element):
    z = (((step * len(SHAPES) + tensor) << 32) + element) & M64
    z = (z + 0x9E3779B97F4A7C15) & M64
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & M64
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & M64
    z ^= z >> 31
    return ((z >> 40) - 2**23) * 2.0**-23


def drawn(step, draw=0):
    """One vector over both tensors, in PyTorch's order."""
    sizes = [math.prod(s) for s in SHAPES]
    return np.array([hash_noise(step, i, e + (draw << 31)) for i in range(2) for e in range(sizes[i])])


THETA_0 = 0.4 * drawn(1 << 20)
CURVATURE = 1 + 0.5 * drawn((1 << 20) + 1)
SPLIT = math.prod(SHAPES[0])
OF_INIT = np.where(np.arange(len(THETA_0)) < SPLIT, *INIT_BOUND)


def gradient(theta, t):
    """Of update t, from 1."""
    return CURVATURE * (theta - 0.5 * drawn((1 << 21) + (t - 1) // TASK) - 0.2 * drawn((1 << 22) + t))


# ---- rules: step(o, s, theta, g, t) -> theta; s keeps what a rule remembers, zeros at first ----------------

def sgd(o, s, theta, g, t):
    s.u = o["momentum"] * s.u + g
    return theta - o["lr"] * s.u


def adam_direction(o, s, g, t):
    s.m = o["beta1"] * s.m + (1 - o["beta1"]) * g
    s.v = o["beta2"] * s.v + (1 - o["beta2"]) * g**2
    return s.m / (1 - o["beta1"]**t) / (np.sqrt(s.v / (1 - o["beta2"]**t)) + o["eps"])


def adam(o, s, theta, g, t):
    return theta - o["lr"] * adam_direction(o, s, g, t)


def adamw(o, s, theta, g, t):
    return adam(o, s, (1 - o["lr"] * o["weight_decay"]) * theta, g, t)


def rmsprop(o, s, theta, g, t):
    s.v = o["beta2"] * s.v + (1 - o["beta2"]) * g**2
    s.m = o["beta2"] * s.m + (1 - o["beta2"]) * g
    return theta - o["lr"] * g / (np.sqrt(s.v - (s.m**2 if o["centered"] else 0)) + o["eps"])


def madam(o, s, theta, g, t):
    s.v = o["beta2"] * s.v + (1 - o["beta2"]) * g**2
    normalised = np.clip(g / np.sqrt(s.v / (1 - o["beta2"]**t)), -10, 10)
    theta = theta * np.exp(-o["lr"] * normalised * np.sign(theta))
    rms = np.concatenate([np.full(len(part), np.sqrt(np.mean(part**2))) for part in np.split(THETA_0, [SPLIT])])
    return np.clip(theta, -o["madam_scale"] * rms, o["madam_scale"] * rms)


def gate(o, s, theta, g, t):
    beta = o["upgd.beta"]
    s.U = beta * s.U - (1 - beta) * g * theta
    corrected = s.U / (1 - beta**t)
    largest = max(s.U if o["reference"] else corrected)
    return 1 - 1 / (1 + np.exp(-corrected / largest)) if largest > 0 else 0.5


def upgd(o, s, theta, g, t):
    z = o["upgd.sigma"] * drawn(t - 1)
    return (1 - o["lr"] * o["weight_decay"]) * theta - o["lr"] * (g + z) * gate(o, s, theta, g, t)


def adaupgd(o, s, theta, g, t):
    open_by, z = gate(o, s, theta, g, t), o["upgd.sigma"] * drawn(t - 1)
    return (1 - o["lr"] * o["weight_decay"]) * theta - o["lr"] * open_by * (adam_direction(o, s, g, t) + z)


RULES = dict(sgd=sgd, adam=adam, adamw=adamw, rmsprop=rmsprop, madam=madam, upgd=upgd, adaupgd=adaupgd)

# ---- what stands around a rule -----------------------------------------------------------------------------

DEFAULTS = {"lr": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "momentum": 0, "centered": False,
            "weight_decay": 0, "grad_norm": math.inf, "l2": 0, "l2init": 0, "shrink": 0, "perturb": 0,
            "madam_scale": 3, "upgd.beta": 0.99, "upgd.sigma": 0, "ewc.strength": 0, "ewc.decay": 0.99,
            "si.strength": 0, "si.xi": 0.1, "si.every": 0, "clip.kappa": math.inf, "variant": "textbook"}


class State:
    def __getattr__(self, name):
        return 0.0


def update(o, s, theta, t):
    loss_g, a = gradient(theta, t), o["lr"]
    g = loss_g * min(1, o["grad_norm"] / (np.linalg.norm(loss_g) + 1e-6))
    penalty = o["l2"] * theta + (o["weight_decay"] if o["rule"] in ("sgd", "rmsprop") else 0) * theta
    if o["reference"]:
        penalty += (o["l2init"] + o["shrink"]) * theta
    else:
        penalty += o["l2init"] * (theta - THETA_0)
    if o["ewc.strength"]:
        s.F = o["ewc.decay"] * s.F + (1 - o["ewc.decay"]) * g**2
        s.A = o["ewc.decay"] * s.A + (1 - o["ewc.decay"]) * theta
        bc = 1 - o["ewc.decay"]**t
        penalty += o["ewc.strength"] * s.F / bc * (theta - s.A / bc)
    penalty += 2 * o["si.strength"] * s.Omega * (theta - s.start)
    new = RULES[o["rule"]](o, s, theta, g + penalty, t)
    draw = 1 if o["rule"] in ("upgd", "adaupgd") else 0
    if o["reference"]:
        s.anchor = new if t == 1 else s.anchor
        new = new - a * o["perturb"] * drawn(t - 1, draw) + a * o["l2init"] * s.anchor
    else:
        new = (1 - o["shrink"]) * new + o["perturb"] * OF_INIT * drawn(t - 1, draw)
    bound = o["clip.kappa"] / math.sqrt(FAN_IN)
    new = np.clip(new, -bound, bound)
    s.omega = s.omega - loss_g * (new - theta)
    if t % (o["si.every"] or TASK) == 0:
        s.Omega = s.Omega + s.omega / ((new - s.start)**2 + o["si.xi"])
        s.omega, s.start = 0, new
    return new


def run(settings):
    o = {**DEFAULTS, **settings}
    o["reference"] = o["variant"] == "reference"
    marks = [1, 2, 10, 100] + ([] if o["reference"] else [1000])
    theta, s, found = THETA_0, State(), []
    s.start = THETA_0
    for t in range(1, marks[-1] + 1):
        theta = update(o, s, theta, t)
        if t in marks:
            found.append({"after": t, "l2": float(np.linalg.norm(theta)), "theta": [float(theta[e]) for e in SAMPLED]})
    text = {k: {True: "true", False: "false"}.get(v, str(v)) if isinstance(v, bool) else str(v) for k, v in o.items()}
    text = {f"optim.{k}": "none" if v == "inf" else v for k, v in text.items() if k != "reference"}
    return {"settings": {**text, "optim.noise": "hash"}, "marks": found}


def case(rule, **settings):
    return {"rule": rule, **{k.replace("__", "."): v for k, v in settings.items()}}


UPGD = dict(weight_decay=0.01, upgd__sigma=0.1)
TEXTBOOK = {
    "sgd": case("sgd"),
    "sgd, momentum": case("sgd", momentum=0.9),
    "sgd, clipped": case("sgd", clip__kappa=1),
    "adam": case("adam"),
    "adam, clipped": case("adam", clip__kappa=1),
    "adamw": case("adamw", weight_decay=0.1),
    "rmsprop": case("rmsprop", beta2=0.99),
    "rmsprop, centered, L2": case("rmsprop", beta2=0.99, centered=True, l2=0.01, eps=1e-4),
    "sgd, L2": case("sgd", l2=0.1),
    "adam, L2": case("adam", l2=0.1),
    "sgd, L2 Init": case("sgd", l2init=0.2),
    "adam, L2 and L2 Init, clipped": case("adam", l2=0.05, l2init=0.1, clip__kappa=1.5),
    "madam, L2 Init": case("madam", l2init=0.1),
    "shrink and perturb, sgd": case("sgd", shrink=1e-3, perturb=0.02),
    "shrink and perturb, adam, clipped": case("adam", shrink=1e-3, perturb=0.02, clip__kappa=1),
    "shrink and perturb, upgd": case("upgd", shrink=1e-3, perturb=0.02, **UPGD),
    "shrink alone": case("sgd", shrink=1e-3),
    "madam": case("madam", beta2=0.99),
    "madam, clipped": case("madam", madam_scale=4, clip__kappa=1),
    "upgd": case("upgd", **UPGD),
    "upgd, clipped": case("upgd", clip__kappa=1, **UPGD),
    "upgd, limited, L2": case("upgd", grad_norm=1, l2=0.01, **UPGD),
    "adaupgd": case("adaupgd", **UPGD),
    "adaupgd, clipped": case("adaupgd", clip__kappa=1, **UPGD),
    "EWC, sgd": case("sgd", ewc__strength=2),
    "EWC, adam, clipped": case("adam", ewc__strength=2, clip__kappa=1),
    "EWC, upgd": case("upgd", ewc__strength=2, **UPGD),
    "SI, sgd": case("sgd", si__strength=0.1),
    "SI, sgd, limited": case("sgd", si__strength=0.1, si__every=50, grad_norm=1),
    "SI, adam, clipped": case("adam", si__strength=0.1, si__every=40, clip__kappa=1),
}
REFERENCE = {
    "L2 Init, sgd": case("sgd", l2init=0.2),
    "L2 Init, adam": case("adam", l2init=0.1),
    "L2 Init, adam, clipped": case("adam", l2init=0.1, clip__kappa=1),
    "shrink and perturb, sgd": case("sgd", shrink=0.1, perturb=0.1),
    "shrink and perturb, adam": case("adam", shrink=0.01, perturb=0.1),
    "shrink and perturb, madam": case("madam", shrink=0.01, perturb=0.1),
    "madam": case("madam", madam_scale=4),
    "upgd": case("upgd", **UPGD),
    "upgd, clipped": case("upgd", clip__kappa=1, **UPGD),
    "adaupgd": case("adaupgd", **UPGD),
}

if __name__ == "__main__":
    all_cases = {f"textbook: {k}": v for k, v in TEXTBOOK.items()}
    all_cases |= {f"reference: {k}": {**v, "variant": "reference"} for k, v in REFERENCE.items()}
    print("[\n" + ",\n".join(json.dumps({"name": k, **run(v)}) for k, v in all_cases.items()) + "\n]")
