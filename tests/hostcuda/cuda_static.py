"""What nvcc makes of the kernels, for each architecture: registers, spills, the width of memory
accesses, and that arithmetic is rounded as the C headers say; of the fused Adam + clip also the instructions,
and that bench/adam_model.c has both as they are. Reads ptxas' report, PTX, and SASS where cuobjdump is
(scripts/install-deps brings it).

    cuda_static.py NVCC SOURCE_DIR WORK_DIR        exit 0, or 1 with a line for each broken limit
"""
import collections
import concurrent.futures
import glob
import os
import re
import shutil
import subprocess
import sys

ARCHITECTURES = ["80", "90", "100"]

# The fused updates by folder, their kernels by what the mangled name has in it: registers, float4 loads
# and stores a thread. 48 registers let five blocks of 256 threads share a multiprocessor's 65,536; 40 six.
UPDATES = {
    "adam_clip": {"ILb0E": (48, 4, 3), "ILb1E": (64, 5, 3)},  # update<TERMS>: with them, the anchor too
    "sgd_clip": {"ILb0ELb0E": (32, 2, 1), "ILb0ELb1E": (40, 3, 1),  # update<MOMENTUM, TERMS>
                 "ILb1ELb0E": (32, 3, 2), "ILb1ELb1E": (40, 4, 2)},
    "rmsprop_clip": {"ILb0ELb0E": (40, 3, 2), "ILb0ELb1E": (48, 4, 2),  # update<CENTERED, TERMS>
                     "ILb1ELb0E": (40, 4, 3), "ILb1ELb1E": (48, 5, 3)},
}
# Those of the layers: registers (32 let eight blocks of 256 threads share a multiprocessor) and which
# global accesses may be narrower than a float4.
LAYERS = {
    "layer_cuda": {
        "bias_activationIf": (32, "ld st"),
        "bias_activationI6float4": (32, "ld"),  # biases
        "sum_columns": (32, "ld st"),
    },
    "conv/conv_cuda": {"im2colIf": (32, "ld st"), "im2colI6float4": (32, "")},
    "conv/conv_backward_data": {"col2imIf": (32, "ld st"), "col2imI6float4": (32, "")},
    "dense/dense_backward_data": {"maskIf": (32, "ld st"), "maskI6float4": (32, "")},
}
# Whatever is not a buffer of parameters is one address for the whole block:
HYPER_LOADS = 2  # at most, of float4 width: the hyperparameters are aligned to it
SCALAR_LOADS = 5  # active, tensor, bound, gradient scale, a last hyperparameter
SCALAR_STORES = 2  # the tally, by one thread

# The others by file: registers, and whether they write float4s.
OTHERS = {
    "copy/copy": {"copyIfE": (16, False), "copyI6float4E": (16, True)},
    "gather_stack/gather_stack": {"gather_any": (32, False), "gather4": (32, True)},
    "grad_norm/grad_norm_chunks": {"sum_squares": (40, False)},
    "grad_norm/grad_norm_scale": {"scale": (48, False)},
    "noise/noise": {"fill": (40, False)},
    "optim_begin/optim_begin": {"begin": (40, False)},
    "penalties/penalties": {f"ILb{ewc}ELb{si}E": (48, True) for ewc in (0, 1) for si in (0, 1)},
    "madam_clip/madam_clip": {"update": (48, True)},
    "shift_clip/shift_clip": {"update": (40, True)},
    "si/si_path": {"follow": (32, True)},
    "si/si_consolidate": {"consolidate": (40, True)},
    "upgd/upgd_utility": {"update": (40, True)},
    "upgd/upgd_clip": {"ILb0E": (48, True), "ILb1E": (64, True)},
    "softmax_xent/softmax_xent": {"softmax_xent": (40, False)},
    "squared_error/squared_error": {"squared_error": (32, False)},
    "tally_sum/tally_sum": {"sum": (32, False)},
    "td_loss/td_loss": {"td_loss": (40, False)},
    "td_stats/td_stats": {"td_stats": (32, False)},
    "units/cbp": {"cbp": (80, False)},
    "units/redo": {"redo": (48, False)},
}
# Of small networks: registers; two blocks of 512 threads share a multiprocessor's 65,536 where parameters
# are in global memory, one has it for itself where they are in shared memory.
NETWORKS = {
    "mlp/mlp_gradient": {"gradient": (64,)},
    "mlp/mlp_after": {"after": (64,)},
    "mlp/mlp_stream": {f"ILi{rule}ELb{cluster}E": (128 if cluster else 64,)  # stream<RULE, CLUSTER>
                       for rule in range(5) for cluster in range(2)},
}
# Of adam_clip's fast path, for each of a thread's four elements: all that is issued, and from the first
# multiplication to the sum over the warp, which leaves out addresses, hyperparameters and the tally's
# last steps.
INSTRUCTIONS, INNER_INSTRUCTIONS = 66, 49
ELEMENTS = 4
FUSED = r"\bfmaf?\(|\blogf\("  # what a source line says that may become fma


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def by_entry(text, pattern):
    """{kernel's mangled name: what is said of it}; the two outputs have them in different orders."""
    parts = re.split(pattern, text)
    return dict(zip(parts[1::2], parts[2::2]))


def statement(path, line):
    with open(path) as f:
        return "".join(f.readlines()[line - 1:]).partition(";")[0]


def unasked_fusion(ptx):
    """Of the PTX of a file: arithmetic that ptxas may still fuse, and fma of statements without one."""
    found = [f"{loose} may be fused" for loose in re.findall(r"\b(?:add|sub|mul|mad)(?:\.ftz)?\.f(?:32|64)\b", ptx)]
    paths = dict(re.findall(r'\.file\s+(\d+) "([^"]+)"', ptx))
    at = None
    for loc, line, fma in re.findall(r"\.loc\s+(\d+) (\d+)|\b(fma\.\S+)", ptx):
        if loc:
            at = paths[loc], int(line)
        elif not re.search(FUSED, statement(*at)):
            found.append(f"{fma} at {at[0]}:{at[1]}: {' '.join(statement(*at).split())}")
    return found


def fast_path(sass):
    """Operations of a kernel's SASS in the order in which a warp issues them where no square root and no
    division needs its subroutine: a branch over a call is taken, the member is active, the tally is
    another warp's."""
    code = [(int(at, 16), text) for at, text in re.findall(r"/\*([0-9a-f]{4,})\*/\s+([^;]+?)\s*;", sass)]
    index = {at: i for i, (at, _) in enumerate(code)}
    path, i = [], 0
    while True:
        guard, op, operands = re.fullmatch(r"(@\S+ )?\s*(\S+)(.*)", code[i][1]).groups()
        path.append(op)
        if op == "EXIT" and (not guard or any(o.startswith("BAR") for o in path)):
            return path
        target = op.startswith("BRA") and re.search(r"0x([0-9a-f]+)", operands)
        to = index[int(target[1], 16)] if target else i + 1
        if target and guard and not any("CALL" in text for _, text in code[i + 1:to]):
            to = i + 1
        if to <= i or op.startswith("CALL"):
            sys.exit(f"no fast path: {code[i][1]} at {code[i][0]:#x}")
        i = to


def modelled(source):
    """{architecture: (registers, instructions)} of the table in bench/adam_model.c."""
    with open(f"{source}/bench/adam_model.c") as f:
        rows = re.findall(r'{ "[^"]+", (\d+), \d+, \d+, \d+, (\d+), (\d+) }', f.read())
    return {arch: (int(registers), int(instructions)) for arch, registers, instructions in rows}


class Checker:
    def __init__(self, nvcc, source, work):
        self.nvcc, self.source, self.work, self.broken = nvcc, source, work, []
        folders = [os.path.dirname(nvcc), *glob.glob(f"{source}/build/venv/lib/*/site-packages/nvidia/cu*/bin")]
        self.cuobjdump = shutil.which("cuobjdump") or shutil.which("cuobjdump", path=os.pathsep.join(folders))
        if self.cuobjdump:  # which runs nvdisasm, beside it
            os.environ["PATH"] += os.pathsep + os.path.dirname(self.cuobjdump)

    def check(self, ok, where, what):
        if not ok:
            self.broken.append(f"{where}: {what}")

    def compile(self, path, arch):
        """The PTX of each kernel with ptxas' report, and the SASS of the file, or None."""
        name = f"{os.path.basename(path)} sm_{arch}"
        base = f"{self.work}/{os.path.basename(path)}_{arch}"
        nvcc = [self.nvcc, f"-arch=sm_{arch}", "-O3", "-lineinfo"]
        run(*nvcc, "-fmad=false", f"-I{self.source}/include", f"-I{self.source}/kernels", f"-I{self.source}/csrc",
            f"{self.source}/kernels/{path}.cu", "-ptx", "-o", f"{base}.ptx")
        report = run(*nvcc, f"{base}.ptx", "-Xptxas", "-v", "-cubin", "-o", f"{base}.cubin")
        with open(f"{base}.ptx") as f:
            ptx = f.read()
        for what in dict.fromkeys(unasked_fusion(ptx)):
            self.check(False, name, what)
        reports, entries = by_entry(report, r"Compiling entry function '(\w+)'"), by_entry(ptx, r"\.entry (\w+)")
        self.check(reports.keys() == entries.keys(), name, f"{sorted(reports)}, {sorted(entries)}")
        sass = run(self.cuobjdump, "-sass", f"{base}.cubin") if self.cuobjdump else None
        return {e: (entries[e], reports[e]) for e in reports.keys() & entries.keys()}, sass

    def compile_all(self, paths):
        """On all cores, the last of the tables first: small networks take longest."""
        pool = concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0)))
        self.compiled = {(path, arch): pool.submit(self.compile, path, arch)
                         for path in reversed(paths) for arch in ARCHITECTURES}

    def kernels(self, path, arch, parts):
        """Of each kernel of the file: where, what parts says of it, its memory accesses, its PTX. What holds
        for all of them is checked here."""
        compiled, sass = self.compiled[path, arch].result()
        self.registers = {}
        file = f"{os.path.basename(path)} sm_{arch}"
        self.check(len(compiled) == len(parts), file, f"{len(compiled)} kernels, {len(parts)} in the table")
        for part, limits in parts.items():
            found = [entry for entry in compiled if part in entry]
            if len(found) != 1:
                self.check(False, file, f"{len(found)} kernels have {part} in their name")
                continue
            where, (ptx, report) = f"{file} {part}", compiled[found[0]]
            used = int(re.search(r"Used (\d+) registers", report)[1])
            self.registers[part] = used
            spills = [int(n) for n in re.findall(r"(\d+) bytes (?:stack frame|spill stores|spill loads)", report)]
            print(f"{where}: {used} registers of {limits[0]}, stack and spills {spills}")
            self.check(spills and not any(spills), where, f"stack and spills, bytes: {spills}")
            self.check(used <= limits[0], where, f"{used} registers, at most {limits[0]}")
            self.check(not re.search(r"\.approx|\.ftz", ptx), where, "approximate arithmetic")
            yield where, limits, collections.Counter(re.findall(r"\b(?:ld|st)\.global(?:\.nc)?(?:\.v4)?(?=\.)", ptx)), ptx
        if sass:
            self.check(not re.search(r"\b(?:LDL|STL)\b", sass), file, "local memory in the code")
            code = by_entry(sass, r"Function : (\w+)")
            self.text = {part: text for part in parts for entry, text in code.items() if part in entry}
            self.sass = collections.Counter(re.findall(r"\b(LDG|STG|FMNMX)\b(\S*)", sass))

    def update(self, folder, arch, parts):
        for where, (_, loads, stores), n, ptx in self.kernels(f"{folder}/{folder}", arch, parts):
            wide_loads, narrow_loads = n["ld.global.v4"] + n["ld.global.nc.v4"], n["ld.global"] + n["ld.global.nc"]
            self.check(loads <= wide_loads <= loads + HYPER_LOADS, where, f"{wide_loads} float4 loads, {loads} buffers are read")
            self.check(n["st.global.v4"] == stores, where, f"{n['st.global.v4']} float4 stores, {stores} buffers are written")
            self.check(narrow_loads <= SCALAR_LOADS, where, f"{narrow_loads} narrow loads, at most {SCALAR_LOADS}")
            self.check(n["st.global"] <= SCALAR_STORES, where, f"{n['st.global']} narrow stores, at most {SCALAR_STORES}")
            self.check(not re.search(r"\b(?:min|max)\.(?:ftz\.)?f32", ptx), where, "the clip uses min or max, which lose a NaN")
        if self.cuobjdump:
            file = f"{folder} sm_{arch}"
            wide = {op: sum(k for (o, rest), k in self.sass.items() if o == op and "128" in rest) for op in ("LDG", "STG")}
            self.check(wide["STG"] == sum(k[2] for k in parts.values()), file, f"{wide['STG']} STG.128")
            self.check(wide["LDG"] >= sum(k[1] for k in parts.values()), file, f"{wide['LDG']} LDG.128")
            self.check(not any(op == "FMNMX" for op, _ in self.sass), file, "FMNMX in the code")
            print(f"{file}: SASS {wide['LDG']} LDG.128, {wide['STG']} STG.128")

    def model(self, arch):
        """What `kappa bench adam_clip --model` says of the kernel without terms, and the limits on it."""
        part = "ILb0E"
        where, (registers, instructions) = f"adam_clip sm_{arch}", modelled(self.source)[arch]
        used = self.registers[part]
        self.check(registers == used, where, f"{used} registers, bench/adam_model.c has {registers}")
        if not self.cuobjdump:
            return
        path = fast_path(self.text[part])
        first, last = (next(i for i, op in enumerate(path) if op.startswith(name)) for name in ("FMUL", "REDUX"))
        inner, every = (last - first) / ELEMENTS, len(path) / ELEMENTS
        print(f"{where}: {every} instructions an element, {inner} from the first multiplication to the sum")
        self.check(len(path) == instructions, where, f"{len(path)} instructions, bench/adam_model.c has {instructions}")
        self.check(every <= INSTRUCTIONS, where, f"{every} instructions an element, at most {INSTRUCTIONS}")
        self.check(inner <= INNER_INSTRUCTIONS, where, f"{inner} instructions an element within, at most {INNER_INSTRUCTIONS}")

    def layer(self, path, arch, parts):
        for where, (_, narrow), n, ptx in self.kernels(path, arch, parts):
            for kind in ("ld", "st"):
                wide, others = (sum(n[f"{kind}.global{nc}{v}"] for nc in ("", ".nc")) for v in (".v4", ""))
                self.check(wide + others and (kind in narrow.split() or not others), where,
                           f"{wide} float4 and {others} narrow {kind}")
            self.check(not re.search(r"\b(?:min|max)(?:\.ftz)?(?:\.NaN)?\.f32", ptx), where, "min or max lose a NaN")
            self.check(not re.search(r"\bfma\.", ptx), where, "contracted arithmetic")

    def network(self, path, arch, parts):
        """Addresses are known to be of shared or of global memory but where a block of a cluster writes to another."""
        for where, _, _, ptx in self.kernels(path, arch, parts):
            loads, stores = (len(re.findall(rf"\b{kind}(?:\.v[24])?\.[bfsu]\d", ptx)) for kind in ("ld", "st"))
            others, barriers = ptx.count("mapa"), ptx.count("barrier.cluster.arrive")
            is_cluster = "Lb1E" in where and int(arch) >= 90
            self.check(not loads, where, f"{loads} loads from memory of either kind")
            self.check(bool(stores) == bool(others) == bool(barriers) == is_cluster, where,
                       f"{stores} stores to memory of either kind, {others} addresses of other blocks, {barriers} barriers of the cluster")

    def other(self, path, arch, parts):
        for where, (_, wide), n, _ in self.kernels(path, arch, parts):
            self.check(bool(n["st.global.v4"]) == wide, where, f"{n['st.global.v4']} float4 stores")


def main(nvcc, source, work):
    checker = Checker(nvcc, source, work)
    checker.compile_all([f"{folder}/{folder}" for folder in UPDATES] + [*LAYERS, *OTHERS, *NETWORKS])
    for arch in ARCHITECTURES:
        for folder, parts in UPDATES.items():
            checker.update(folder, arch, parts)
            if folder == "adam_clip":
                checker.model(arch)
        for path, parts in LAYERS.items():
            checker.layer(path, arch, parts)
        for path, parts in OTHERS.items():
            checker.other(path, arch, parts)
        for path, parts in NETWORKS.items():
            checker.network(path, arch, parts)
    if not checker.cuobjdump:
        print("no cuobjdump: SASS not read, PTX and ptxas' report only")
    print("\n".join(checker.broken))
    return 1 if checker.broken else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
