"""Atari in one process and one thread through ale-py, in agent steps a second. Prints one JSON object as its last line.

usage: atari_env.py [--game pong] [--seconds 5]

What Gymnasium's AtariPreprocessing does with preset dqn-dopamine's rules (frame skip 4, sticky actions .25, grey,
max of the last two screens, cv2 INTER_AREA to 84x84), written as a bare loop: no wrappers, no checks, no frame
stack, screens into arrays made once, actions drawn before. So it is faster than Gymnasium's, also measured
(gymnasium_agent_steps_per_s) for the record.
"""
import argparse
import json
import os
import random
import time

import ale_py
import cv2
import gymnasium
import numpy as np

SKIP, CAP, N_DRAWN = 4, 27000, 1 << 16


class Game:
    def __init__(self, game):
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self.ale = ale_py.ALEInterface()
        self.ale.setFloat("repeat_action_probability", 0.25)
        self.ale.setInt("random_seed", 1)
        self.ale.loadROM(os.path.join(os.path.dirname(ale_py.__file__), "roms", game + ".bin"))
        shape = self.ale.getScreenDims()
        self.screens = np.zeros((2, *shape), np.uint8)
        self.frame = np.zeros((84, 84), np.uint8)
        draw = random.Random(1)
        legal = self.ale.getMinimalActionSet()
        self.actions = [draw.choice(legal) for _ in range(N_DRAWN)]
        self.n = self.game_steps = 0

    def step(self):
        ale, act, over = self.ale, self.ale.act, self.ale.game_over
        older, newer = self.screens
        action = self.actions[self.n % N_DRAWN]
        reward, done = 0.0, False
        for frame in range(SKIP):
            reward += act(action)
            done = over()
            if done:
                break
            if frame == SKIP - 2:
                ale.getScreenGrayscale(older)
            elif frame == SKIP - 1:
                ale.getScreenGrayscale(newer)
        np.maximum(older, newer, out=older)
        cv2.resize(older, (84, 84), self.frame, interpolation=cv2.INTER_AREA)
        self.n += 1
        self.game_steps += 1
        if done or self.game_steps >= CAP:
            ale.reset_game()
            ale.getScreenGrayscale(older)
            cv2.resize(older, (84, 84), self.frame, interpolation=cv2.INTER_AREA)
            self.game_steps = 0
        return reward


class Wrapped:
    """The same through Gymnasium."""

    def __init__(self, game):
        gymnasium.register_envs(ale_py)
        env = gymnasium.make(f"ALE/{game.capitalize()}-v5", frameskip=1, repeat_action_probability=0.25)
        self.env = gymnasium.wrappers.AtariPreprocessing(env, noop_max=0, frame_skip=SKIP)
        self.env.reset(seed=1)
        draw = random.Random(1)
        self.actions = [draw.randrange(self.env.action_space.n) for _ in range(N_DRAWN)]
        self.n = 0

    def step(self):
        _, reward, terminated, truncated, _ = self.env.step(self.actions[self.n % N_DRAWN])
        self.n += 1
        if terminated or truncated:
            self.env.reset()
        return reward


def rate(game, seconds):
    for _ in range(500):
        game.step()
    n, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for _ in range(50):
            game.step()
        n += 50
    return n / (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--game", default="pong")
    parser.add_argument("--seconds", type=float, default=5.0)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    print(json.dumps({"game": args.game, "agent_steps_per_s": rate(Game(args.game), args.seconds),
                      "gymnasium_agent_steps_per_s": rate(Wrapped(args.game), args.seconds / 5),
                      "ale_py": ale_py.__version__}))


if __name__ == "__main__":
    main()
