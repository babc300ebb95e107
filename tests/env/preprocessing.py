# preprocessing.py PLAY: what env.c shows equals Gymnasium's AtariPreprocessing, and Tianshou's and
# CleanRL's rules written down here with numpy and OpenCV, bit for bit. Law 4: 10,000 frames, six games.
import os
import subprocess
import sys

import ale_py
import cv2
import numpy as np
from ale_py.env import AtariEnv
from gymnasium.wrappers import AtariPreprocessing

ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
GAMES = ["pong", "breakout", "seaquest", "qbert", "space_invaders", "ms_pacman"]
STEPS, BYTES = 1700, 84 * 84


def played(game, variant, noops, fire, life, sticky, steps):
    words = [sys.argv[1], sys.executable, game, variant, steps, noops, fire, life, sticky, 27000]
    data = subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, check=True).stdout
    seed, n_noops, n_actions = (int(v) for v in np.frombuffer(data, np.int64, 3))
    at = 24

    def frame():
        nonlocal at
        at += BYTES
        return np.frombuffer(data, np.uint8, BYTES, at - BYTES).reshape(84, 84)

    yield seed, n_noops, n_actions, frame()
    for _ in range(steps):
        action, flags = np.frombuffer(data, np.int32, 2, at)
        reward = np.frombuffer(data, np.float32, 1, at + 8)[0]
        at += 12
        seen = frame()
        yield int(action), int(flags), float(reward), seen, frame() if flags & 3 else None


class Gymnasium:
    def __init__(self, game, seed):
        raw = AtariEnv(game, frameskip=1, repeat_action_probability=.25, full_action_space=False)
        raw.ale.setInt("random_seed", seed)
        raw.load_game()
        self.env = AtariPreprocessing(raw, noop_max=0, frame_skip=4)

    def reset(self):
        return self.env.reset()[0]

    def step(self, action):
        seen, reward, over, _, _ = self.env.step(action)
        return seen, reward, over, over


class Wrapped:
    """No-op start, max and skip over colours, episodic life, FIRE; then the two orders of resize and grey."""

    def __init__(self, game, seed, noops, variant):
        self.ale = ale_py.ALEInterface()
        self.ale.setInt("random_seed", seed)
        self.ale.setFloat("repeat_action_probability", 0.)
        self.ale.loadROM(os.path.join(os.path.dirname(ale_py.__file__), "roms", game + ".bin"))
        self.actions = self.ale.getMinimalActionSet()
        self.noops, self.variant, self.lives, self.over = noops, variant, 0, True
        self.buffer = np.zeros((2, *self.ale.getScreenRGB().shape), np.uint8)

    def view(self, rgb):
        if self.variant == 1:
            return cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), (84, 84), interpolation=cv2.INTER_AREA)
        return cv2.cvtColor(cv2.resize(rgb, (84, 84), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)

    def skip(self, action):
        total, over, screens = 0., False, []
        for i in range(4):
            total += self.ale.act(self.actions[action])
            screens.append(self.ale.getScreenRGB())
            over = self.ale.game_over()
            if i >= 2:
                self.buffer[i - 2] = screens[-1]
            if over:
                break
        both = np.stack(screens[-2:]) if self.variant == 1 else self.buffer
        lives = self.ale.lives()
        lost, self.lives, self.over = 0 < lives < self.lives, lives, over
        return both.max(0), total, over or lost, over

    def reset(self):
        if self.over:
            self.ale.reset_game()
            for _ in range(self.noops):
                self.ale.act(0)
            seen, self.lives, self.over = self.ale.getScreenRGB(), self.ale.lives(), False
        else:
            seen = self.skip(0)[0]
        if len(self.actions) >= 3 and self.actions[1] == ale_py.Action.FIRE:
            for action in (1,) if self.variant == 1 else (1, 2):
                seen = self.skip(action)[0]
        return self.view(seen)

    def step(self, action):
        seen, *rest = self.skip(action)
        return self.view(seen), *rest


def compare(game, variant):
    ours = played(game, variant, 0, int(variant > 0), int(variant > 0), .25 if variant == 0 else 0, STEPS)
    seed, noops, _, first = next(ours)
    peer = Gymnasium(game, seed) if variant == 0 else Wrapped(game, seed, noops, variant)
    assert np.array_equal(first, peer.reset()), f"{game}, variant {variant}: first frame"
    for t, (action, flags, reward, seen, fresh) in enumerate(ours):
        frame, gain, terminal, over = peer.step(action)
        what = f"{game}, variant {variant}, step {t}"
        assert np.array_equal(seen, frame), f"{what}: {(seen != frame).sum()} pixels differ"
        assert (reward, bool(flags & 1), bool(flags & 4)) == (gain, terminal, over), f"{what}: reward or ends"
        if fresh is not None:
            assert np.array_equal(fresh, peer.reset()), f"{what}: first frame of the next episode"
    return t + 1


for variant in range(3):
    print("variant", variant, sum(compare(game, variant) for game in GAMES), "frames agree", flush=True)
