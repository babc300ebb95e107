"""DQN on Atari in PyTorch with ale-py's own vector environment, in agent steps a second. Prints one JSON object as its last line.

usage: dqn_end_to_end.py [--game pong] [--envs 8] [--replay-ratio 0.25] [--seconds 20]

The update of dqn_update.py (preset dqn-cleanrl, kappa 2) on a numpy replay of single frames; actions
by the network for all environments at once; emulators on AtariVectorEnv's threads. The better of 1 and
all threads for PyTorch; also the vector environment alone, with random actions.
"""
import argparse
import json
import os
import time

import numpy as np
import torch
from ale_py.vector_env import AtariVectorEnv

from dqn_update import Agent, B, GAMMA


class Replay:
    """[capacity][envs] single frames; a stack is gathered on sampling and never crosses the head."""

    def __init__(self, capacity, envs, rng):
        self.frames = np.zeros((capacity, envs, 84, 84), np.uint8)
        self.action = np.zeros((capacity, envs), np.int64)
        self.reward = np.zeros((capacity, envs), np.float32)
        self.discount = np.full((capacity, envs), GAMMA, np.float32)
        self.capacity, self.envs, self.rng, self.n = capacity, envs, rng, 0

    def push(self, frames, action, reward, done):
        at = self.n % self.capacity
        self.frames[at], self.action[at], self.reward[at] = frames, action, np.sign(reward)
        self.discount[at] = np.where(done, 0.0, GAMMA)
        self.n += 1

    def sample(self):
        oldest = max(0, self.n - self.capacity)
        at = self.rng.integers(oldest + 3, self.n - 1, B)
        env = self.rng.integers(0, self.envs, B)
        rows = (at[:, None] + np.arange(-3, 2)) % self.capacity
        stacks = self.frames[rows, env[:, None]]
        at %= self.capacity
        return (torch.from_numpy(stacks[:, :4]), torch.from_numpy(stacks[:, 1:]),
                torch.from_numpy(self.action[at, env]), torch.from_numpy(self.reward[at, env]),
                torch.from_numpy(self.discount[at, env]))


def emulation(game, envs, seconds, rng):
    env = AtariVectorEnv(game, num_envs=envs)
    env.reset(seed=1)
    for _ in range(20):
        env.step(rng.integers(0, env.single_action_space.n, envs))
    n, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        env.step(rng.integers(0, env.single_action_space.n, envs))
        n += envs
    speed = n / (time.perf_counter() - start)
    env.close()
    return speed


def train(game, envs, ratio, seconds, rng):
    env = AtariVectorEnv(game, num_envs=envs)
    observation, _ = env.reset(seed=1)
    actions = env.single_action_space.n
    agent = Agent(compiled=True, format=torch.channels_last)
    # Pong has 6 actions, as the benchmark's network; others need theirs.
    assert actions == agent.net[-1].out_features, f"{game} has {actions} actions"
    replay = Replay(20000 // envs, envs, rng)
    act = torch.compile(agent.net)
    epsilon, due, steps, updates, measured = 0.1, 0.0, 0, 0, None
    while True:
        with torch.no_grad():
            greedy = act(agent._input(torch.from_numpy(observation))).argmax(1).numpy()
        action = np.where(rng.random(envs) < epsilon, rng.integers(0, actions, envs), greedy)
        following, reward, terminated, truncated, _ = env.step(action)
        replay.push(observation[:, -1], action, reward, terminated | truncated)
        observation = following
        steps += envs
        if steps < 1000:
            continue
        due += ratio * envs
        while due >= 1:
            agent.update(replay.sample())
            due, updates = due - 1, updates + 1
            if updates % 250 == 0:
                agent.target.load_state_dict(agent.net.state_dict())
        if measured is None and updates >= 20:
            measured = (time.perf_counter(), steps, updates)
        if measured and time.perf_counter() - measured[0] >= seconds:
            wall = time.perf_counter() - measured[0]
            env.close()
            return (steps - measured[1]) / wall, (updates - measured[2]) / wall


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--game", default="pong")
    parser.add_argument("--envs", type=int, default=8)
    parser.add_argument("--replay-ratio", type=float, default=0.25)
    parser.add_argument("--seconds", type=float, default=20.0)
    args = parser.parse_args()
    rng = np.random.default_rng(1)
    cores = len(os.sched_getaffinity(0))
    out = {"game": args.game, "envs": args.envs, "replay_ratio": args.replay_ratio, "agent_steps_per_s": 0.0}
    out["emulation_agent_steps_per_s"] = emulation(args.game, args.envs, args.seconds / 4, rng)
    for threads in sorted({1, cores}):
        torch.set_num_threads(threads)
        torch._dynamo.reset()
        steps, updates = train(args.game, args.envs, args.replay_ratio, args.seconds, rng)
        if steps > out["agent_steps_per_s"]:
            out |= {"agent_steps_per_s": steps, "updates_per_s": updates, "threads": threads}
    print(json.dumps(out))


if __name__ == "__main__":
    main()
