"""What scripts/bench and scripts/demo have in common: building the test programs, starting and surely stopping child
processes, reading what the kernel says about them, running the load generator, and printing tables.

Nothing here knows goshim except environment(): the library is a path put into LD_PRELOAD of one child, or None.
Every child is the leader of its own session (so that Ctrl-C reaches only us), dies with us even if we are killed
(PR_SET_PDEATHSIG), and is stopped by its process id, never by name.
"""

import ctypes
import datetime
import json
import os
import platform
import resource
import selectors
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD") or os.path.join(ROOT, "build")
BIN = os.path.join(BUILD, "bench")
SOURCES = os.path.join(ROOT, "tests", "bench")
PROGRAMS = ("ptbench", "tpc_server", "epoll_server", "loadgen", "idle", "latency")
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """A measurement that did not come about; str() is the reason, fit for a table."""


def say(text=""):
    """What is being done, on a terminal: replaces the line before it. In a log it would only be noise."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K" + text[:(os.get_terminal_size(2).columns or 80) - 1])
        sys.stderr.flush()


def said(text):
    """A line of progress that stays."""
    say()
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def program(name):
    return os.path.join(BIN, name)


def build():
    """Compiles the programs that are older than their sources; plain C, nothing of goshim in the include path."""
    os.makedirs(BIN, exist_ok=True)
    headers = [os.path.join(SOURCES, f) for f in os.listdir(SOURCES) if f.endswith(".h")]
    for name in PROGRAMS:
        source, target = os.path.join(SOURCES, name + ".c"), program(name)
        newest = max(os.path.getmtime(f) for f in headers + [source])
        if os.path.exists(target) and os.path.getmtime(target) > newest:
            continue
        say(f"building {name}")
        subprocess.run([os.environ.get("CC", "cc"), "-O2", "-g", "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra",
                        "-pthread", "-o", target + ".new", source], check=True)
        os.replace(target + ".new", target)


def environment(library=None, procs=None):
    """The environment of a child: plain, or with the library preloaded (and GOMAXPROCS set, or left to it)."""
    env = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "GOMAXPROCS")}
    if not library:
        env.pop("GOSHIM", None)
        return env
    env["LD_PRELOAD"] = library
    if procs:
        env["GOMAXPROCS"] = str(procs)
    return env


def raise_nofile():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def catch_signals():
    """SIGTERM and SIGHUP end us as Ctrl-C does: by an exception, so that every `finally` and stop_all() run."""
    def interrupted(number, frame):
        raise KeyboardInterrupt
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)


class Child:
    """A child process with pipes on stdin and stdout and its stderr in a nameless file."""

    alive = []

    def __init__(self, command, env, directory=None):
        self.name = os.path.basename(command[0])
        self.stderr = tempfile.TemporaryFile()
        self.buffer = b""
        # Blocked until the child is in the list: a Ctrl-C in between would leave it running.
        old = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        try:
            parent = os.getpid()

            def prepare():
                _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                signal.pthread_sigmask(signal.SIG_SETMASK, old)
                if os.getppid() != parent:
                    os._exit(1)

            self.process = subprocess.Popen(command, env=env, cwd=directory, stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=self.stderr, bufsize=0,
                                            start_new_session=True, preexec_fn=prepare)
            self.pid = self.process.pid
            Child.alive.append(self)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.stop()

    def stop(self, patience=2):
        """Ends the child for certain: asks, waits a little, kills. Harmless when it has ended already."""
        if self in Child.alive:
            try:
                if self.process.poll() is None:
                    self.process.terminate()
                    try:
                        self.process.wait(patience)
                    except subprocess.TimeoutExpired:
                        self.process.kill()
                        self.process.wait()
            finally:
                if self.process.returncode is not None:
                    Child.alive.remove(self)
            self.process.stdin.close()
            self.process.stdout.close()

    @staticmethod
    def stop_all():
        for child in list(Child.alive):
            child.stop(0.5)

    def ended(self, patience):
        """Whether it has ended by itself, asked for `patience` seconds (a dying process is gone a little later than its
        descriptors)."""
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            return False
        return True

    def complaint(self):
        """How it ended and the last line it wrote to stderr."""
        code = self.process.poll()
        if code is None:
            how = "still running"
        elif code < 0:
            how = "died of " + signal.Signals(-code).name
        else:
            how = f"exit status {code}"
        self.stderr.seek(0)
        lines = self.stderr.read().decode(errors="replace").strip().splitlines()
        return f"{self.name}: {how}" + (f": {lines[-1][:100]}" if lines else "")

    def line(self, timeout):
        """The next line of its stdout without the newline. Failed at end of file or after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self.buffer:
                if not selector.select(max(0, deadline - time.monotonic())):
                    raise Failed(f"{self.name}: no answer within {timeout:.0f} s")
                data = os.read(self.process.stdout.fileno(), 65536)
                if not data:
                    try:
                        self.process.wait(5)
                    except subprocess.TimeoutExpired:
                        pass
                    raise Failed(self.complaint())
                self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode(errors="replace")

    def release(self):
        """Lets a child go on that holds until it gets a line."""
        try:
            os.write(self.process.stdin.fileno(), b"\n")
        except BrokenPipeError:
            raise Failed(self.complaint()) from None

    def finish(self, timeout):
        """Waits for its end; Failed unless it is exit status 0."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name}: did not end within {timeout:g} s") from None
        if self.process.returncode != 0:
            raise Failed(self.complaint())


def proc_status(pid):
    """Threads (a count) and the sizes in KiB of /proc/PID/status."""
    wanted = {}
    try:
        with open(f"/proc/{pid}/status") as f:
            for line in f:
                key, _, value = line.partition(":")
                if key in ("Threads", "VmRSS", "VmPTE", "VmHWM"):
                    wanted[key] = int(value.split()[0])
    except OSError:
        pass
    if len(wanted) < 4:
        raise Failed("the process is gone")
    return wanted


def meminfo():
    """KernelStack, PageTables and Slab of the whole system in KiB."""
    with open("/proc/meminfo") as f:
        pairs = (line.split(":", 1) for line in f)
        return {k: int(v.split()[0]) for k, v in pairs if k in ("KernelStack", "PageTables", "Slab")}


def meminfo_settled(limit=3):
    """meminfo() once it stands still: the kernel frees what ended processes had with some delay, and tells by nothing
    else than these numbers, so they are read until four readings in a row agree to 256 KiB."""
    calm, last, deadline = 0, meminfo(), time.monotonic() + limit
    while calm < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
        now = meminfo()
        calm = calm + 1 if all(abs(now[k] - last[k]) <= 256 for k in now) else 0
        last = now
    return last


def cpu_ns(pid):
    """User + system time of a process, all its threads, in nanoseconds: its CPU clock, as clock_getcpuclockid(3)."""
    try:
        return time.clock_gettime_ns((~pid << 3) | 2)
    except OSError:
        raise Failed("the process is gone") from None


def server_start(command, env, timeout=20):
    """Starts a server that prints "PORT n"; returns the child and the port."""
    child = Child(command, env)
    try:
        line = child.line(timeout)
        if not line.startswith("PORT "):
            raise Failed(f"{child.name}: said {line!r}")
        return child, int(line.split()[1])
    except BaseException:
        child.stop()
        raise


def load_run(arguments, timeout, on_hold=None, on_progress=None):
    """Runs the load generator. on_hold() is called while all connections are open (give -h then); on_progress gets the
    fields of each progress line (give -p). Returns its result; wrong or missing answers are in ["errors"]."""
    deadline = time.monotonic() + timeout
    with Child([program("loadgen")] + [str(a) for a in arguments], environment()) as load:
        while True:
            line = load.line(max(0.1, deadline - time.monotonic()))
            if line.startswith("P "):
                if on_progress:
                    on_progress([float(x) for x in line.split()[1:]])
            elif line == "HOLD":
                if on_hold:
                    on_hold()
                load.release()
            else:
                result = json.loads(line)
                load.finish(10)
                load.stderr.seek(0)
                lines = load.stderr.read().decode(errors="replace").strip().splitlines()
                result["first_error"] = lines[0] if lines else ""
                return result


class Neighbours:
    """How much of the CPUs went to processes that are not ours, or to other guests of the same host, since this object
    was made: what a reader needs to know to trust the numbers."""

    def __init__(self):
        self.all, self.ours, self.start = self.read()

    @staticmethod
    def read():
        """CPU seconds of the whole system, of us and our ended children, and the time."""
        with open("/proc/stat") as f:
            user, nice, system, _, _, irq, softirq, stolen = (int(x) for x in f.readline().split()[1:9])
        ours = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return (user + nice + system + irq + softirq + stolen) / os.sysconf("SC_CLK_TCK"), ours, time.monotonic()

    def percent(self):
        total, ours, now = self.read()
        spent = (now - self.start) * len(os.sched_getaffinity(0))
        return max(0, round(100 * (total - self.all - (ours - self.ours)) / spent)) if spent else 0


def median(values):
    return statistics.median(values)


def machine():
    """What a reader must know to place the numbers."""
    model = ""
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    mem = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return {
        "cpu": model or platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gib": round(mem, 1),
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()),
        "nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def machine_line(m):
    return (f"{m['cpu']}, {m['cpus']} CPUs, {m['memory_gib']} GiB; Linux {m['kernel']}, {m['libc']}; "
            f"{m['date'].replace('T', ' ').replace('+00:00', ' UTC')}")


def table(rows, left=1):
    """Rows of strings as aligned text; the first row is the head, the first `left` columns are left-aligned. A row
    with a single cell is a line of its own across all columns."""
    rows = [[str(cell) for cell in row] for row in rows]
    full = [r for r in rows if len(r) > 1]
    widths = [max(len(r[i]) if i < len(r) else 0 for r in full) for i in range(max(len(r) for r in full))]
    lines = []
    for number, row in enumerate(rows):
        if len(row) == 1:
            lines.append(row[0])
            continue
        cells = [c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))]
        lines.append("  ".join(cells).rstrip())
        if number == 0:
            lines.append("  ".join("-" * w for w in widths))
    return "\n".join(lines)


def number(value):
    """Four digits at most before the unit gets silly: 0.123, 12.3, 1234."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
