"""What nvcc makes of the fused updates and of the layers, for each architecture: registers, spills, the
width of memory accesses, the clip. Reads ptxas' report, PTX, and SASS where cuobjdump is installed.

    cuda_static.py NVCC SOURCE_DIR WORK_DIR        exit 0, or 1 with a line for each broken limit
"""
import collections
import os
import re
import shutil
import subprocess
import sys

ARCHITECTURES = ["80", "90", "100"]

# Kernels of a file by what their mangled name has in it: registers, float4 loads and stores a thread.
# 48 registers let five blocks of 256 threads share a multiprocessor's 65,536; 40 let six.
LIMITS = {
    "adam_clip": {"update": (48, 4, 3)},
    "sgd_clip": {"update": (32, 3, 2)},
    "rmsprop_clip": {"ILb0E": (40, 3, 2), "ILb1E": (40, 4, 3)},  # update<CENTERED>: false, true
}
# Kernels of the layers: registers (32 let eight blocks of 256 threads share a multiprocessor) and which
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


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def by_entry(text, pattern):
    """{kernel's mangled name: what is said of it}; the two outputs have them in different orders."""
    parts = re.split(pattern, text)
    return dict(zip(parts[1::2], parts[2::2]))


def main(nvcc, source, work):
    cuobjdump = shutil.which("cuobjdump") or shutil.which("cuobjdump", path=os.path.dirname(nvcc))
    broken = []

    def check(ok, where, what):
        if not ok:
            broken.append(f"{where}: {what}")

    def compiled(name, arch, n_kernels):
        """({kernel: ptxas' report}, {kernel: PTX}, file of SASS)"""
        keep = f"{work}/{os.path.basename(name)}_{arch}"
        os.makedirs(keep, exist_ok=True)
        cubin = f"{keep}.cubin"
        report = run(nvcc, f"-arch=sm_{arch}", "-O3", "-fmad=false", f"-I{source}/include", f"-I{source}/kernels",
                     f"{source}/kernels/{name}.cu", "-Xptxas", "-v", "-cubin", "-o", cubin, "--keep", "--keep-dir", keep)
        reports = by_entry(report, r"Compiling entry function '(\w+)'")
        with open(f"{keep}/{os.path.basename(name)}.ptx") as f:
            entries = by_entry(f.read(), r"\.entry (\w+)")
        check(reports.keys() == entries.keys() and len(entries) == n_kernels, f"{name} sm_{arch}", f"{sorted(entries)}")
        return reports, entries, cubin

    def check_layers():
        for name, kernels in LAYERS.items():
            for arch in ARCHITECTURES:
                reports, entries, cubin = compiled(name, arch, len(kernels))
                for part, (most, narrow) in kernels.items():
                    where, found = f"{name} sm_{arch} {part}", [e for e in reports.keys() & entries.keys() if part in e]
                    if len(found) != 1:
                        broken.append(f"{where}: {len(found)} kernels have it in their name")
                        continue
                    report, entry = reports[found[0]], entries[found[0]]
                    used = int(re.search(r"Used (\d+) registers", report)[1])
                    print(f"{where}: {used} registers")
                    check(used <= most, where, f"{used} registers, at most {most}")
                    check(re.findall(r"(\d+) bytes spill", report) == ["0", "0"], where, "spills")
                    check(re.search(r"\b0 bytes stack frame", report), where, "a stack frame")
                    for kind in ("ld", "st"):
                        widths = re.findall(rf"\b{kind}\.global(?:\.nc)?(\.v4)?\.", entry)
                        check(widths and (kind in narrow.split() or all(widths)), where, f"{kind}.global: {widths}")
                    check(not re.search(r"\b(?:min|max)(?:\.ftz)?(?:\.NaN)?\.f32", entry), where, "min or max lose a NaN")
                    check(not re.search(r"\.approx|\.ftz|\bfma\.", entry), where, "approximate or contracted arithmetic")
                if cuobjdump:
                    sass = set(re.findall(r"\b(LDL|STL|FMNMX|FFMA)\b", run(cuobjdump, "-sass", cubin)))
                    check(not sass, f"{name} sm_{arch}", f"{sorted(sass)} in the code")

    for name, kernels in LIMITS.items():
        for arch in ARCHITECTURES:
            reports, entries, cubin = compiled(f"{name}/{name}", arch, len(kernels))
            file = f"{name} sm_{arch}"
            for part, (most, loads, stores) in kernels.items():
                found = [entry for entry in reports.keys() & entries.keys() if part in entry]
                if len(found) != 1:
                    broken.append(f"{file}: {len(found)} kernels have {part} in their name")
                    continue
                where, entry = f"{file} {part}", entries[found[0]]
                used = int(re.search(r"Used (\d+) registers", reports[found[0]])[1])
                spills = re.findall(r"(\d+) bytes spill (?:stores|loads)", reports[found[0]])
                print(f"{where}: {used} registers, spills {spills}")
                check(spills and not any(map(int, spills)), where, f"spills, bytes: {spills}")
                n = collections.Counter(re.findall(r"\b(?:ld|st)\.global(?:\.nc)?(?:\.v4)?(?=\.)", entry))
                wide_loads = n["ld.global.v4"] + n["ld.global.nc.v4"]
                check(used <= most, where, f"{used} registers, at most {most}")
                check(loads <= wide_loads <= loads + HYPER_LOADS, where, f"{wide_loads} float4 loads, {loads} buffers are read")
                check(n["st.global.v4"] == stores, where, f"{n['st.global.v4']} float4 stores, {stores} buffers are written")
                scalar_loads = n["ld.global"] + n["ld.global.nc"]
                check(scalar_loads <= SCALAR_LOADS, where, f"{scalar_loads} narrow loads, at most {SCALAR_LOADS}")
                check(n["st.global"] <= SCALAR_STORES, where, f"{n['st.global']} narrow stores, at most {SCALAR_STORES}")
                check(not re.search(r"\b(?:min|max)\.(?:ftz\.)?f32", entry), where, "the clip uses min or max, which lose a NaN")
                check(not re.search(r"\.approx|\.ftz", entry), where, "approximate arithmetic")
            if cuobjdump:
                sass = collections.Counter(re.findall(r"\b(LDG|STG|LDL|STL|FMNMX)\b(\S*)", run(cuobjdump, "-sass", cubin)))
                wide = {op: sum(k for (o, rest), k in sass.items() if o == op and "128" in rest) for op in ("LDG", "STG")}
                check(wide["STG"] == sum(k[2] for k in kernels.values()), file, f"{wide['STG']} STG.128")
                check(wide["LDG"] >= sum(k[1] for k in kernels.values()), file, f"{wide['LDG']} LDG.128")
                for op in ("LDL", "STL", "FMNMX"):
                    check(not sum(k for (o, _), k in sass.items() if o == op), file, f"{op} in the code")
                print(f"{file}: SASS {wide['LDG']} LDG.128, {wide['STG']} STG.128")
    check_layers()
    if not cuobjdump:
        print("no cuobjdump: SASS not read, PTX and ptxas' report only")
    print("\n".join(broken))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
