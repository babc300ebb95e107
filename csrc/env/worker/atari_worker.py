# atari_worker.py: plays Atari games for env.c over shared memory (layout: slot.h, checked at start).
# Arguments: shared memory fd, worker, layout, game, ROM folder or "", its MD5, rules, futex call number.
import ctypes
import hashlib
import mmap
import os
import struct
import sys


def die(code, text):
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
    os._exit(code)


fd, worker, layout, game, rom_dir, md5, rules, futex_call = sys.argv[1:9]
try:
    import ale_py
    import numpy as np
except Exception as problem:
    die(4, f"{sys.executable}: {problem}")
if ale_py.__version__ != "0.12.1":
    die(4, f"{sys.executable}: ale-py is {ale_py.__version__}, expected 0.12.1")

worker = int(worker)
N_ENVS, N_WORKERS, CONTROL, SLOT, LOG, SCREEN, NOOPS, ACTIONS, SLOTS_AT = map(int, layout.split(","))
variant, skip, fire, life_ends, cap = map(int, rules.split(",")[:5])
sticky = float(rules.split(",")[5])
rom = os.path.join(rom_dir or os.path.join(os.path.dirname(ale_py.__file__), "roms"), game + ".bin")
try:
    with open(rom, "rb") as f:
        seen = hashlib.md5(f.read()).hexdigest()
except OSError:
    die(3, f"{rom}: ROM missing; ale-py==0.12.1 brings it, or put it there")
if seen != md5:
    die(3, f"{rom}: altered ROM, MD5 {seen}, expected {md5}")

memory = mmap.mmap(int(fd), 0)
ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
DOPAMINE, TIANSHOU, CLEANRL = range(3)


class Emulator:
    def __init__(self, at):
        self.ale = ale_py.ALEInterface()
        self.ale.setFloat("repeat_action_probability", sticky)
        self.at = at
        self.noops = np.frombuffer(memory, np.uint8, LOG, at + NOOPS)
        self.log = np.frombuffer(memory, np.uint8, LOG, at + ACTIONS)
        self.screen = None

    def load(self, seed):
        ale = self.ale
        ale.setInt("random_seed", seed)
        ale.loadROM(rom)
        if self.screen is None:  # the observation's two, the next episode's two, a third
            self.height, width = ale.getScreenDims()
            if width != 160 or self.height > 250:
                die(4, f"{game}: screens of {self.height}x{width}, at most 250x160 expected")
            self.screen = [
                np.frombuffer(memory, np.uint8, self.height * 160, self.at + SCREEN + k * 40000)
                .reshape(self.height, 160) for k in range(5)]
            self.actions = list(ale.getMinimalActionSet())
            self.fires = fire and len(self.actions) >= 3 and self.actions[1] == ale_py.Action.FIRE
        self.older = np.zeros((self.height, 160), np.uint8)  # what the max is taken over
        self.newer = np.zeros((self.height, 160), np.uint8)
        self.spare = np.zeros((self.height, 160), np.uint8)
        self.lives = 0
        self.third = False

    def skip_frames(self, action):
        """frame_skip frames: reward, game over, life lost. As each wrapper keeps its two screens."""
        ale = self.ale
        act, over, lives, get = ale.act, ale.game_over, ale.lives, ale.getScreen
        action = self.actions[action]
        reward, done, lost = 0.0, False, False
        if variant == TIANSHOU:
            for frame in range(skip):
                reward += act(action)
                done = over()
                self.older, self.newer = self.newer, self.older
                get(self.newer)
                if done:
                    break
            if frame == 0:
                self.older[:] = self.newer
        else:
            self.third = False
            for frame in range(skip):
                reward += act(action)
                done = over()
                if variant == DOPAMINE and done:  # its buffer keeps the max before: a third screen
                    self.third = 0 < frame == skip - 1
                    break
                if frame == skip - 2:
                    self.older, self.spare = self.spare, self.older
                    get(self.older)
                elif frame == skip - 1:
                    get(self.newer)
                if done:
                    break
        left = lives()
        lost = 0 < left < self.lives
        self.lives = left
        self.total += reward
        return reward, done, bool(life_ends and lost)

    def show(self, k):
        self.screen[k][:] = self.older
        self.screen[k + 1][:] = self.newer

    def show_raw(self, k):
        self.ale.getScreen(self.screen[k])
        self.screen[k + 1][:] = self.screen[k]

    def new_game(self, noops):
        ale = self.ale
        ale.reset_game()
        self.total = 0.0
        self.steps = 0
        for _ in range(noops):
            self.total += ale.act(self.actions[0])
            if ale.game_over():
                ale.reset_game()
        self.lives = ale.lives()
        if variant == DOPAMINE:
            ale.getScreen(self.newer)
            self.older.fill(0)

    def start(self, noops, k, new=True):
        """A new game, or (new False) the same one after a lost life; its first observation at k."""
        if new:
            self.new_game(noops)
            self.show(k) if variant == DOPAMINE else self.show_raw(k)
        else:
            _, done, _ = self.skip_frames(0)
            if done and variant != TIANSHOU:
                self.start(noops, k)
                return
            self.show(k)
        if not self.fires:
            return
        for action in ((1,) if variant == TIANSHOU else (1, 2)):
            _, done, lost = self.skip_frames(action)
            self.show(k)
            if (done or lost) and variant != TIANSHOU:
                if done:
                    self.new_game(noops)
                    self.show(k) if variant == DOPAMINE else self.show_raw(k)
                else:
                    self.skip_frames(0)
                    self.show(k)

    def step(self, action, noops, reload_seed):
        """reward, terminal, truncated, over, loaded, return, steps, third; the observations are in place."""
        reward, done, lost = self.skip_frames(action)
        self.steps += 1
        self.show(0)
        cut = not done and self.steps >= cap
        total, steps, loaded, third = self.total, self.steps, 0, self.third
        if third:
            self.screen[4][:] = self.spare
        if done or cut:
            if reload_seed >= 0:
                self.load(reload_seed)
                loaded = 1
            self.start(noops, 2)
        elif lost:
            self.start(noops, 2, False)
        return reward, done or lost, cut, done, loaded, total, steps, third

    def replay(self, seed, n_actions):
        self.load(seed)
        used = 1
        self.start(int(self.noops[0]), 0)
        for action in self.log[:n_actions].tolist():
            _, _, cut, over, *_ = self.step(action, int(self.noops[used]), -1)
            used += over or cut


control = worker * 64
call = ctypes.CDLL(None, use_errno=True).syscall
call.argtypes = [ctypes.c_long, ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p,
                 ctypes.c_void_p, ctypes.c_int]
base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
words = np.frombuffer(memory, np.uint32, 16, control)
WAIT, WAKE, NUMBER = 0, 1, int(futex_call)
one_second = (ctypes.c_long * 2)(1, 0)
emulators = {i: Emulator(SLOTS_AT + i * SLOT) for i in range(worker, N_ENVS, N_WORKERS)}
probe = Emulator(SLOTS_AT + worker * SLOT)
probe.load(0)
words[2], words[3] = len(probe.actions), probe.height
del probe
parent = os.getppid()
IN = struct.Struct("iiiiq")  # command, action, no-ops, actions in the log, ALE seed (-1: do not reload)
OUT = struct.Struct("dddiiiii")  # reward, return, steps, terminal, truncated, over, loaded, third screen
served = int(words[0])
words[1] = served
words[4] = 1
call(NUMBER, base + control + 4, WAKE, 1, None, None, 0)
while True:
    spins = 0
    while words[0] == served:
        spins += 1
        if spins > 50:
            call(NUMBER, base + control, WAIT, served, one_second, None, 0)
            if os.getppid() != parent:
                os._exit(0)
    served = int(words[0])
    for e in emulators.values():
        command, action, noops, n_log, seed = IN.unpack_from(memory, e.at)
        if command == 1:
            reward, terminal, cut, over, loaded, total, steps, third = e.step(action, noops, seed)
            OUT.pack_into(memory, e.at + 32, reward, total, float(steps), terminal, cut, over, loaded,
                          third)
        elif command == 2:
            e.replay(seed, n_log)
    words[1] = served
    call(NUMBER, base + control + 4, WAKE, 1, None, None, 0)
