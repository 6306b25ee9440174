"""What a program under test is to scripts/servers, and how one is measured.

A Server listens on a port, has the load generator of tests/bench as its client, and is stopped with SIGTERM. A Work is
a command that ends by itself: its output and its CPU time are compared. The files beside this one declare them, a
family each, in a list SERVERS; nothing outside a declaration knows a program by its name.

Memory of a server is counted where the kernel tells it for one process (RSS, page tables, threads), because the
system-wide counters move with everything else that runs. What only those tell is put in from a measurement of
sleeping threads on an idle machine: each kernel thread has 16 KiB of kernel stack and 5.3 KiB of slab; a descriptor
that is registered with epoll has 0.25 KiB of slab, counted for every descriptor of goshim's.
"""

import os
import select
import shutil
import signal
import socket
import subprocess
import time

import lab
from lab import Child, Failed

KERNEL_STACK_KIB = 16.0
THREAD_SLAB_KIB = 5.3
EPOLL_SLAB_KIB = 0.25
HERE = os.path.dirname(os.path.abspath(__file__))
FILES = 16
EXIT_SECONDS = 60
GONE_SECONDS = 5


def port_free():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def family(pid):
    """A process and its descendants."""
    found, children = [], {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as f:
                    parent = int(f.read().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry))
            except OSError:
                pass
    todo = [pid]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


class Usage:
    """Threads and memory of some processes, in KiB."""

    def __init__(self, pids):
        status = [lab.proc_status(p) for p in pids]
        self.threads = sum(s["Threads"] for s in status)
        self.rss = sum(s["VmRSS"] for s in status)
        self.kernel = sum(s["VmPTE"] for s in status) + self.threads * (KERNEL_STACK_KIB + THREAD_SLAB_KIB)

    def total(self):
        return self.rss + self.kernel


def until_closed(descriptor, patience):
    """The other end of a pipe is closed when the last of those that were killed is gone, and writes no file any more."""
    deadline = time.monotonic() + patience
    while select.select([descriptor], [], [], max(0, deadline - time.monotonic()))[0]:
        if not os.read(descriptor, 65536):
            return


class Process(Child):
    """A child that may have children of its own: when it has ended they end, too. Its session is ours alone."""

    def stop(self, patience=2):
        output = None if self.process.stdout.closed else os.dup(self.process.stdout.fileno())
        super().stop(patience)
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        if output is not None:
            until_closed(output, GONE_SECONDS)
            os.close(output)

    def everything(self, timeout):
        """What it writes to its standard output until it ends; Failed unless that is with exit status 0."""
        self.output, deadline = "", time.monotonic() + timeout
        while data := self.read(deadline):
            self.output += data.decode(errors="replace")
        self.finish(10)
        return self.output

    def read(self, deadline):
        if not select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
            raise Failed(f"{self.name}: did not end in time")
        return os.read(self.process.stdout.fileno(), 65536)

    def terminate(self):
        """SIGTERM as an operator would send it: (exit status as in subprocess, seconds it took)."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        if not self.ended(EXIT_SECONDS):
            raise Failed(f"{self.name}: did not end within {EXIT_SECONDS} s of SIGTERM")
        return self.process.returncode, time.monotonic() - start


def quietly(command, directory=None):
    """Runs a step of preparing to its end; Failed with its last words. What it has started ends with it, also at Ctrl-C."""
    with Process(command, lab.environment(), directory) as child:
        child.process.stdin.close()
        output = child.process.stdout.read()
        if child.process.wait():
            child.stderr.seek(0)
            last = (child.stderr.read() or output).decode(errors="replace")
            raise Failed(f"{command[0]}: {last.strip()[-200:]}")


class Server:
    name = title = None
    programs = ()        # what must be installed, as names or paths
    descriptors = 1      # of the server, for each connection
    limit = 5000         # connections it allows
    has_threads = True   # a thread for each connection: its memory is worth comparing
    precreated = False   # threads exist before the first connection: they count as the connections'
    patience = 60        # seconds that an answer may take
    churn = False        # a new connection for each request
    more = None          # a method (bench, report): clients of its own beside the load generator
    cpu_goal = 1.0       # goshim/plain at 1,000 connections and more

    def __init__(self, directory):
        self.directory = os.path.join(directory, self.name)
        os.mkdir(self.directory)
        os.chmod(self.directory, 0o755)

    @classmethod
    def missing(cls):
        """The first program that is not there, or None."""
        return next((p for p in cls.programs if not shutil.which(p)), None)

    def path(self, *parts):
        return os.path.join(self.directory, *parts)

    def write(self, name, text, mode=0o644):
        with open(self.path(name), "w") as f:
            f.write(text)
        os.chmod(self.path(name), mode)
        return self.path(name)

    def prepare(self):
        """Once, before the first start: files, keys, backends (which stay plain)."""

    def command(self, port):
        raise NotImplementedError

    def environment(self):
        """Variables on top of the side's own."""
        return {}

    def load(self, port):
        """Arguments of the load generator."""
        raise NotImplementedError

    def settle(self, child):
        """After it accepts connections: waits for threads that it makes beforehand."""

    def start(self, env):
        port = port_free()
        child = Process(self.command(port), {**env, **self.environment()}, self.directory)
        try:
            self.await_port(child, port)
            self.settle(child)
        except BaseException:
            child.stop()
            raise
        return child, port

    @staticmethod
    def await_port(child, port, seconds=60):
        deadline = time.monotonic() + seconds
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError as error:
                if child.process.poll() is not None or time.monotonic() > deadline:
                    raise Failed(f"{child.complaint()} (connecting: {error})") from None
                time.sleep(0.02)


def settle_threads(child, at_least, seconds=30):
    """Waits until the family has so many kernel threads, or until their number stands still."""
    deadline, last, calm = time.monotonic() + seconds, -1, 0
    while time.monotonic() < deadline and calm < 10:
        now = sum(lab.proc_status(p)["Threads"] for p in family(child.pid))
        if now >= at_least:
            return
        calm = calm + 1 if now == last else 0
        last = now
        time.sleep(0.1)


def settle_processes(child, count, seconds=30):
    """Waits until the family has so many processes, all past their fork."""
    deadline = time.monotonic() + seconds
    while len(family(child.pid)) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)


def files_make(directory):
    """Files of 1 to 16 KiB, odd sizes, the same in every run, named 0, 1, ..."""
    import random
    os.mkdir(directory)
    os.chmod(directory, 0o755)
    source = random.Random(1)
    for i in range(FILES):
        with open(os.path.join(directory, str(i)), "wb") as f:
            f.write(source.randbytes(1024 * (i + 1) - 7 * i))
    return ["-f", directory, "-n", FILES]


def build(source, target, flags=()):
    """Compiles a program of the declarations with the system's compiler; Failed with the compiler's words."""
    compilers = {".c": ["cc", "-O2", "-g", "-pthread"], ".cc": ["c++", "-O2", "-g", "-std=c++20", "-pthread"],
                 ".rs": [next((r for r in ("/usr/bin/rustc", shutil.which("rustc")) if r and os.path.exists(r)), "rustc"),
                         "-O", "-g"]}
    command = compilers[os.path.splitext(source)[1]] + [os.path.join(HERE, source), "-o", target, *flags]
    done = subprocess.run(command, env=lab.environment(), capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"{command[0]}: {done.stderr.strip().splitlines()[0][:200] if done.stderr else done.returncode}")


def noise(stderr):
    """What goshim says of itself: that it steps aside, for one. None: nothing."""
    return next((line[:200] for line in stderr.splitlines() if line.startswith("goshim")), None)


def measure(server, env, library, level, seconds, progress, warm=1):
    """One run: starts the server, drives it, looks at it while all connections are open, stops it. Returns a dict. library: the one of env, or
    None."""
    seen = {}
    child, port = server.start(env)
    with child:
        pids = family(child.pid)
        before = Usage(pids)
        begin = time.monotonic()

        def on_progress(fields):
            passed, requests, errors, connected = fields
            what = f"{requests:,.0f} requests" if requests else f"{connected:,.0f} connected"
            progress(f"{passed:.0f} s, {what}, {errors:.0f} errors")

        def on_hold():
            progress(f"{time.monotonic() - begin:.0f} s, one more request on each connection")
            pids_now = family(child.pid)
            own = Usage(pids_now)
            total = own.total() - (0 if server.precreated else before.total())
            if library:
                total += level * server.descriptors * EPOLL_SLAB_KIB
                seen["missed"] = library.missed(pids_now)
            seen.update(threads=own.threads, rss_mib=own.rss / 1024, connection_kib=total / level)

        arguments = ["-c", level, "-s", seconds, "-w", warm, "-t", server.patience, "-h", "-p"]
        if server.churn:
            arguments.append("-k")
        for pid in pids:
            arguments += ["-S", pid]
        try:
            result = lab.load_run(server.load(port) + arguments, seconds + warm + 4 * server.patience, on_hold, on_progress)
        except Failed as error:
            raise Failed(child.complaint() if child.ended(0.2) else str(error)) from None
        if child.ended(0):
            raise Failed(child.complaint())
        status, took = child.terminate()
        requests = result["requests"]
        seen.update(cpu_us=result["server_cpu_ns"] / 1e3 / requests if requests else None,
                    per_second=requests / result["seconds"], p50_ms=result["p50_us"] / 1e3,
                    p99_ms=result["p99_us"] / 1e3, requests=requests, errors=result["errors"], open=result["open"],
                    first_error=result["first_error"], exit_status=status, exit_seconds=took)
        child.stderr.seek(0)
        seen["noise"] = noise(child.stderr.read().decode(errors="replace"))
    return seen


class Work:
    """A program that ends by itself. Its standard output must be the same on both sides."""

    name = title = None
    programs = ()
    cpu_goal = 1.05

    def __init__(self, directory):
        self.directory = os.path.join(directory, self.name)
        os.mkdir(self.directory)

    missing = classmethod(Server.missing.__func__)
    path, write = Server.path, Server.write

    def prepare(self):
        pass

    def command(self):
        raise NotImplementedError

    def digest(self, output):
        """What of the output must agree."""
        import hashlib
        return hashlib.sha256(output).hexdigest()[:16]

    def run(self, env, seconds=600):
        """{"digest", "cpu_s", "wall_s", "exit_status", "noise"}."""
        import resource
        import tempfile
        begin = time.monotonic()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            process = subprocess.Popen(self.command(), env=env, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=out,
                                       stderr=err, start_new_session=True)
            try:
                status = process.wait(seconds)
            except subprocess.TimeoutExpired:
                raise Failed(f"{self.name}: did not end within {seconds} s") from None
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            out.seek(0)
            err.seek(0)
            output, said = out.read(), err.read().decode(errors="replace").strip()
        if status:
            raise Failed(f"{self.name}: exit status {status}" + (f": {said.splitlines()[-1][:100]}" if said else ""))
        cpu = sum(after[:2]) - sum(before[:2])
        return {"digest": self.digest(output), "cpu_s": cpu, "wall_s": time.monotonic() - begin, "exit_status": status,
                "noise": noise(said)}
