"""scripts/bench --go: goshim.h against Go, the same programs in pairs (tests/bench/gobench.go, gobench.c).

Ratios are goshim/Go of CPU time, pair by pair; the aim is 1.2. The memory of a parked goroutine is RSS and page tables. At the end
a million rounds of select against select are counted for lost and doubled messages, spread over chaos seeds.

Every switch between goroutines writes the thread pointer. With FSGSBASE that is an instruction of 14 ns; on a kernel that does
not offer it (HWCAP2 bit 1) it is a system call, whose price is then most of every figure that switches: it is measured and shown.
"""

import ctypes
import os
import shutil
import subprocess
import sys
import time

import lab
from lab import Failed, said, say

AIM = 1.2
MEMORY_AIM = 8192
FIGURES = (
    ("pingpong", "unbuffered ping-pong, round trip"),
    ("buffered", "buffered producer/consumer, per element"),
    ("select4", "select over 4 channels"),
    ("spawn", "spawn 100,000 and wait, each"),
    ("skynet", "skynet of 1,000,000, each goroutine"),
)
RUN_LIMIT_S = 300


def build():
    os.makedirs(lab.BIN, exist_ok=True)
    source = os.path.join(lab.SOURCES, "gobench")
    subprocess.run([os.environ.get("CC", "cc"), "-O2", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-pthread", "-I",
                    os.path.join(lab.ROOT, "shims"), source + ".c", "-o", lab.program("gobench"), "-L", lab.BUILD, "-lgoshim",
                    "-Wl,-rpath," + os.path.abspath(lab.BUILD)], check=True)
    cache = os.path.join(lab.BIN, "go-cache")
    subprocess.run(["go", "build", "-o", lab.program("gobench_go"), source + ".go"], check=True,
                   env={**os.environ, "GOCACHE": cache, "GO111MODULE": "off", "GOFLAGS": ""})


def environment(procs):
    env = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "GOSHIM")}
    env["GOMAXPROCS"] = str(procs)
    return env


def output(command, env):
    try:
        done = subprocess.run([str(word) for word in command], env=env, capture_output=True, text=True, timeout=RUN_LIMIT_S)
    except subprocess.TimeoutExpired:
        raise Failed(f"hung for {RUN_LIMIT_S} s")
    if done.returncode != 0:
        raise Failed((done.stderr or done.stdout).strip().splitlines()[-1:] or f"exit status {done.returncode}")
    return done.stdout.split()


def pair(name, argument, procs, pairs):
    """Samples of both sides, in turns."""
    go, goshim = [], []
    for i in range(pairs):
        say(f"{name}, GOMAXPROCS={procs}: pair {i + 1} of {pairs}")
        go.append(output([lab.program("gobench_go"), name, argument], environment(procs)))
        goshim.append(output([lab.program("gobench"), name, argument], environment(procs)))
    return go, goshim


def has_fsgsbase():
    getauxval = ctypes.CDLL(None).getauxval
    getauxval.restype, getauxval.argtypes = ctypes.c_ulong, [ctypes.c_ulong]
    return bool(getauxval(26) & 2)


def thread_pointer_ns():
    """What arch_prctl(ARCH_SET_FS) costs here, in CPU time; the call from ctypes costs about 1 us of its own less."""
    libc = ctypes.CDLL(None)
    base = ctypes.c_ulong()
    libc.syscall(158, 0x1003, ctypes.byref(base))

    def spent(code, argument):
        start = time.process_time_ns()
        for _ in range(20000):
            libc.syscall(158, code, argument)
        return (time.process_time_ns() - start) / 20000
    return spent(0x1002, base) - spent(0x9999, base)


def compare(options):
    rows, missed = [["figure", "procs", "Go ns", "goshim ns", "ratio", "min..max", ""]], []
    for name, title in FIGURES:
        for procs in (1, 2):
            try:
                go, goshim = pair(name, 1 if options.quick else 2, procs, options.pairs)
            except Failed as error:
                rows.append([title, str(procs), "", "", f"FAILED: {error}", "", ""])
                missed.append(title)
                continue
            ratios = [float(b[2]) / float(a[2]) for a, b in zip(go, goshim)]
            ratio = lab.median(ratios)
            if ratio > AIM:
                missed.append(f"{title}, GOMAXPROCS={procs}")
            rows.append([title, str(procs), f"{lab.median([float(s[2]) for s in go]):,.0f}",
                         f"{lab.median([float(s[2]) for s in goshim]):,.0f}", f"{ratio:.2f}",
                         f"{min(ratios):.2f}..{max(ratios):.2f}", "ok" if ratio <= AIM else "MISS"])
    print(lab.table(rows))
    return missed


def memory(options):
    rows, missed = [["parked goroutines", "Go bytes", "goshim bytes", "Go ns", "goshim ns", ""]], []
    for count in (100000,) if options.quick else (100000, 1000000):
        try:
            go, goshim = pair("park", count, 2, 1)
        except Failed as error:
            rows.append([f"{count:,}", "", f"FAILED: {error}", "", "", ""])
            missed.append(f"{count:,} parked")
            continue
        small = int(goshim[0][4]) <= MEMORY_AIM
        rows.append([f"{count:,}", go[0][4], goshim[0][4], go[0][2], goshim[0][2], "ok" if small else "MISS"])
        if not small:
            missed.append(f"memory of {count:,} parked")
    print()
    print(lab.table(rows))
    return missed


def chaos(options):
    """A million rounds, a part of them under each seed."""
    seeds, rounds = 64, 20000 if options.quick else 1000000
    wrong = []
    program = os.path.join(lab.BUILD, "tests", "golib", "chan")
    if not os.path.exists(program):
        subprocess.run(["make", "-s", "-C", lab.ROOT, os.path.relpath(program, lab.ROOT)], check=True)
    for seed in range(1, seeds + 1):
        say(f"select under chaos: seed {seed} of {seeds}")
        env = {**environment(2), "GOSHIM": f"chaos={seed}", "SELECT_ROUNDS": str(rounds // seeds)}
        try:
            output([program, "select_rounds"], env)
        except Failed as error:
            wrong.append(f"seed {seed}: {error}")
    print(f"\n{rounds:,} rounds of select over {seeds} chaos seeds: {'; '.join(wrong) or 'no message lost or doubled'}")
    return ["select under chaos"] if wrong else []


def main(options):
    if not shutil.which("go"):
        print("scripts/bench: --go needs Go: scripts/setup go", file=sys.stderr)
        return 2
    build()
    version = subprocess.run(["go", "version"], capture_output=True, text=True).stdout.split()[2]
    print(f"goshim against {version}; {options.pairs} pairs; CPU time, user and system; {time.strftime('%Y-%m-%d')}")
    if not has_fsgsbase():
        print(f"This kernel offers no FSGSBASE: each switch makes a system call of about {thread_pointer_ns():,.0f} ns.")
    print()
    missed = compare(options) + memory(options) + chaos(options)
    say()
    print(f"\n{len(missed)} missed{': ' if missed else ''}{'; '.join(missed)}")
    said("")
    return 1 if options.check and missed else 0
