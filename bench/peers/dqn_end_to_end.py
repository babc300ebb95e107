"""DQN on Atari in PyTorch with ale-py's own vector environment, in agent steps a second. Prints one JSON object as its last line.

usage: dqn_end_to_end.py [--game pong] [--envs 8] [--replay-ratio 0.25] [--seconds 10]

The network and rule of preset dqn-dopamine (same padding, 7744; Adam 6.25e-5, eps 1.5e-4; MSE) with kappa 2,
batch 32 from a numpy replay of single frames, epsilon .1; actions by the network for all games at once; games on
AtariVectorEnv's threads, with the preset's rules (sticky actions .25, no no-ops, no FIRE). torch.compile with
max-autotune, channels_last. The best of: 1 and all threads for PyTorch; games played while updates run and not.
"""
import argparse
import itertools
import json
import os
import time

import numpy as np
import torch
from ale_py.vector_env import AtariVectorEnv

from dqn_update import A, Agent, B, GAMMA, TUNED

TRANSITIONS, FILL, TARGET_PERIOD, EPSILON = 20000, 1000, 250, 0.1


class Replay:
    """[rows][envs] single frames; a stack is gathered on sampling, crosses neither the head nor a game's start."""

    def __init__(self, envs, rng):
        self.rows = TRANSITIONS // envs
        self.frames = np.zeros((self.rows, envs, 84, 84), np.uint8)
        self.action = np.zeros((self.rows, envs), np.int64)
        self.reward = np.zeros((self.rows, envs), np.float32)
        self.discount = np.zeros((self.rows, envs), np.float32)
        self.first = np.zeros((self.rows, envs), bool)
        self.envs, self.rng, self.n = envs, rng, 0

    def push(self, frames, first, action, reward, done):
        at = self.n % self.rows
        self.frames[at], self.first[at], self.action[at] = frames, first, action
        self.reward[at], self.discount[at] = reward, np.where(done, 0.0, GAMMA)
        self.n += 1

    def sample(self):
        at = self.rng.integers(max(0, self.n - self.rows) + 3, self.n - 1, B)
        env = self.rng.integers(0, self.envs, B)
        rows = (at[:, None] + np.arange(-3, 2)) % self.rows
        stacks = self.frames[rows, env[:, None]]
        # s' of a game's last step counts for nothing, so one rule serves both: no frame before the newest start in s
        begun = np.logical_or.accumulate(self.first[rows[:, 3:0:-1], env[:, None]], axis=1)[:, ::-1]
        for i in np.flatnonzero(begun[:, 0]):
            stacks[i, :3][begun[i]] = 0
        at %= self.rows
        return (torch.from_numpy(stacks[:, :4]), torch.from_numpy(stacks[:, 1:]),
                torch.from_numpy(self.action[at, env]), torch.from_numpy(self.reward[at, env]),
                torch.from_numpy(self.discount[at, env]))


class Training:
    def __init__(self, game, envs, overlap, rng):
        self.env = AtariVectorEnv(game, num_envs=envs, autoreset_mode="SameStep", repeat_action_probability=0.25,
                                  noop_max=0, use_fire_reset=False)
        # Pong has 6 actions, as the network; others need theirs.
        assert self.env.single_action_space.n == A, f"{game} has {self.env.single_action_space.n} actions"
        self.agent = Agent(TUNED, format=torch.channels_last, same=True, lr=6.25e-5, eps=1.5e-4)
        self.act = torch.compile(self.agent.net, mode=TUNED)
        self.replay = Replay(envs, rng)
        self.envs, self.overlap, self.rng = envs, overlap, rng
        self.observation, _ = self.env.reset(seed=1)
        self.first = np.ones(envs, bool)
        self.steps = self.updates = 0

    def learn(self, ratio):
        """The updates that are due."""
        while self.updates < int((self.steps - FILL) * ratio):
            self.agent.update(self.replay.sample())
            self.updates += 1
            if self.updates % TARGET_PERIOD == 0:
                self.agent.target.load_state_dict(self.agent.net.state_dict())

    def step(self, ratio):
        """One step of every game, and updates: of the step before, while games are played, if they overlap."""
        with torch.no_grad():
            greedy = self.act(self.agent._input(torch.from_numpy(self.observation))).argmax(1).numpy()
        action = np.where(self.rng.random(self.envs) < EPSILON, self.rng.integers(0, A, self.envs), greedy)
        self.env.send(action)
        if self.overlap:
            self.learn(ratio)
        following, reward, terminated, truncated, _ = self.env.recv()
        done = terminated | truncated
        self.replay.push(self.observation[:, -1], self.first, action, reward, done)
        self.observation, self.first = following, done
        self.steps += self.envs
        if not self.overlap:
            self.learn(ratio)


def rate(training, ratio, seconds):
    """Agent steps and updates a second, once learning has begun."""
    while training.updates < 20:
        training.step(ratio)
    steps, updates, start = training.steps, training.updates, time.perf_counter()
    while time.perf_counter() - start < seconds:
        training.step(ratio)
    wall = time.perf_counter() - start
    training.env.close()
    return (training.steps - steps) / wall, (training.updates - updates) / wall


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--game", default="pong")
    parser.add_argument("--envs", type=int, default=8)
    parser.add_argument("--replay-ratio", type=float, default=0.25)
    parser.add_argument("--seconds", type=float, default=10.0)
    args = parser.parse_args()
    rng = np.random.default_rng(1)
    cores = len(os.sched_getaffinity(0))
    seen, updates = {}, {}
    for threads, overlap in itertools.product(sorted({1, cores}), (False, True)):
        torch.set_num_threads(threads)
        torch._dynamo.reset()
        name = f"{threads}_threads" + ("_overlapped" if overlap else "")
        training = Training(args.game, args.envs, overlap, rng)
        seen[name], updates[name] = rate(training, args.replay_ratio, args.seconds)
    best = max(seen, key=seen.get)
    print(json.dumps({"game": args.game, "envs": args.envs, "replay_ratio": args.replay_ratio,
                      "agent_steps_per_s": seen[best], "updates_per_s": updates[best], "best": best, "all": seen,
                      "torch": torch.__version__}))


if __name__ == "__main__":
    main()
