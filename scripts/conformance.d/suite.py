"""What the conformance suites have in common: Debian's sources, running a program natively and under goshim, comparing.

A suite module offers
    prepare(directory) -> (tests, skipped)   fetches and builds there, once; later calls find it done. tests: list of Test.
                                             skipped: {name: reason} of what is not run at all. Raises Failed.
    PROTECTED                                optional: a compiled pattern; no test it matches may be in tests/problems
A Test is one process. It has one outcome, or, where `cases` is given, one for each case that the process reports. An outcome is a
word or two: "pass", "skip", "exit 1", "SIGSEGV", "timeout"; "pass" is what is compared.

Each run is a session of its own, in a fresh directory that is removed afterwards, with a limit of time; at the limit, the whole session
is killed. Native outcomes are kept in the build directory (natively.json), for as long as suite and libc stay the same.

A session may be run in slices: it has a copy of the library as it was when the session began (a build meanwhile changes nothing in it), and its
outcomes are in session.json; --resume goes on where --seconds or Ctrl-C ended it.
"""

import concurrent.futures
import dataclasses
import fnmatch
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("BUILD") or os.path.join(ROOT, "build"))
LIBRARY = os.path.join(BUILD, "libgoshim.so")
KEEP_EVERY_S = 10  # how much of a session is lost at most when it is killed
PROBLEMS = os.path.join(ROOT, "tests", "problems")
OUTPUT_KEPT = 20000
SLOW = float(os.environ.get("CONFORMANCE_SLOW") or 1)  # factor on all limits of time, for slow machines


only = []  # what --only says: a suite may build just that


class Failed(Exception):
    """A suite that cannot be built; str() is the reason."""


@dataclasses.dataclass
class Test:
    name: str
    command: list
    timeout: float = 30
    env: dict = dataclasses.field(default_factory=dict)
    cwd: str = None          # None: a fresh directory for each run
    cases: object = None     # function(status, output) -> {case: outcome}, where the process is many tests
    alone: bool = False      # not beside others: it measures time, or uses what exists once


# ---- saying what happens ----------------------------------------------------------------------------------------------

_said = threading.Lock()


def say(text=""):
    """Progress on a terminal: replaces the line before it."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K" + text[:(os.get_terminal_size(2).columns or 80) - 1])
        sys.stderr.flush()


def said(text):
    """A line of progress that stays."""
    with _said:
        say()
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


# ---- Debian's packages ------------------------------------------------------------------------------------------------


def call(command, log, **more):
    """Runs a step of building; its output goes to the file `log`. Raises Failed."""
    with open(log, "ab") as out:
        if subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **more).returncode:
            raise Failed(f"'{' '.join(command)[:200]}' failed; see {os.path.relpath(log)}")


def installed_version(package):
    """Version of the source package that an installed binary package was built from."""
    shown = subprocess.run(["dpkg-query", "-W", "-f", "${source:Version}", package], capture_output=True, text=True)
    if shown.returncode:
        raise Failed(f"the Debian package {package} is not installed")
    return shown.stdout.strip()


def source_package(package, version, directory):
    """The unpacked source of a Debian package, in directory/src-VERSION. The system's apt configuration is only read: where it
    lists binary packages, a private copy lists sources."""
    target = os.path.join(directory, "src-" + version.replace(":", "_"))
    if os.path.isdir(target):
        return target
    for tool in ("apt-get", "dpkg-source"):
        if not shutil.which(tool):
            raise Failed(f"needs {tool}, as Debian's dpkg-dev has it")
    apt = os.path.join(BUILD, "conformance", "apt")
    for d in ("lists/partial", "archives/partial"):
        os.makedirs(os.path.join(apt, d), exist_ok=True)
    os.makedirs(directory, exist_ok=True)
    where = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"],
                           capture_output=True, text=True, check=True).stdout.split("\n")
    archives = sorted({f"deb-src {line}\n" for line in where if line})

    def use(lines):
        with open(os.path.join(apt, "sources.list"), "w") as f:
            f.write("".join(lines))

    use(archives)
    settings = ["-o", f"Dir::Etc::sourcelist={apt}/sources.list", "-o", "Dir::Etc::sourceparts=/dev/null",
                "-o", f"Dir::State::lists={apt}/lists", "-o", f"Dir::Cache={apt}", "-o", "APT::Sandbox::User=root"]
    log = os.path.join(directory, "fetch.log")
    said(f"fetching the source of {package} {version}")
    call(["apt-get", *settings, "update"], log)
    # Several archives may name the same version, and a mirror does not have the files of them all: then one by one.
    for lines in [archives, *([line] for line in archives)]:
        use(lines)
        try:
            call(["apt-get", *settings, "source", "--download-only", f"{package}={version}"], log, cwd=directory)
            break
        except Failed:
            if lines == archives[-1:]:
                raise
    dsc = [f for f in os.listdir(directory) if f.endswith(".dsc")]
    if len(dsc) != 1:
        raise Failed(f"{len(dsc)} .dsc files in {directory}")
    shutil.rmtree(target + ".new", ignore_errors=True)
    call(["dpkg-source", "--no-check", "-x", dsc[0], target + ".new"], log, cwd=directory)
    os.rename(target + ".new", target)
    return target


# ---- running ----------------------------------------------------------------------------------------------------------


def environment(mode, settings=(), library=LIBRARY):
    """mode: "native", or GOMAXPROCS."""
    env = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "GOMAXPROCS", "GOSHIM", "MAKEFLAGS", "MFLAGS")}
    if mode != "native":
        env["LD_PRELOAD"] = library
        env["GOMAXPROCS"] = str(mode)
        if settings:
            env["GOSHIM"] = ",".join(settings)
    return env


def outcome_of(status):
    if status < 0:
        return signal.Signals(-status).name if -status < 32 else f"signal {-status}"
    return {0: "pass", 77: "skip"}.get(status, f"exit {status}")


def kill_session(leader):
    """Everything in the session that `leader` began: by /proc, since its members may have left its process group."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as f:
                if int(f.read().rpartition(")")[2].split()[3]) == leader:
                    os.kill(int(pid), signal.SIGKILL)
        except (OSError, IndexError):
            pass


_leaders, _stopping = set(), threading.Event()


def stop():
    """The runs that are under way are killed; run() says "stopped" of them, and begins no other."""
    _stopping.set()
    for leader in list(_leaders):
        kill_session(leader)


def run(test, mode, settings=(), library=LIBRARY):
    """One run: (outcome, output, seconds). What is interrupted is "stopped" and no outcome."""
    env = environment(mode, settings, library)
    env.update(test.env)
    work = test.cwd or tempfile.mkdtemp(prefix="conformance-")
    start = time.monotonic()
    try:
        with tempfile.TemporaryFile() as out:
            child = subprocess.Popen(test.command, cwd=work, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                     start_new_session=True)
            _leaders.add(child.pid)
            try:
                if _stopping.is_set():  # stop() may have looked before the line above
                    kill_session(child.pid)
                outcome = outcome_of(child.wait(test.timeout * SLOW))
            except subprocess.TimeoutExpired:
                outcome = "timeout"
            finally:
                kill_session(child.pid)
                child.wait()
                _leaders.discard(child.pid)
            if _stopping.is_set():
                outcome = "stopped"
            out.seek(max(0, out.seek(0, os.SEEK_END) - (1 << 24 if test.cases else OUTPUT_KEPT)))
            return outcome, out.read().decode(errors="replace"), time.monotonic() - start
    finally:
        if not test.cwd:
            shutil.rmtree(work, ignore_errors=True)


class Results:
    """Outcomes by test and mode."""

    def __init__(self):
        self.of = {}

    def add(self, test, mode, outcome):
        self.of.setdefault(test, {}).setdefault(mode, []).append(outcome)

    def modes(self):
        found = {m for by_mode in self.of.values() for m in by_mode}
        return sorted(found, key=lambda m: (m != "native", m if m != "native" else 0))

    def score(self, mode, tests):
        """(tests that ran, that passed each time, runs)"""
        ran = [self.of[t][mode] for t in tests if mode in self.of[t]]
        return len(ran), sum(all(o == "pass" for o in outcomes) for outcomes in ran), sum(map(len, ran))


@dataclasses.dataclass
class Comparison:
    passed: set
    differs: dict  # test: ["GOMAXPROCS=2: timeout", ...]
    native: dict   # test: what it does natively instead of passing


def compare(results):
    c = Comparison(set(), {}, {})
    for test, modes in results.of.items():
        odd = sorted({o for o in modes.get("native", ["did not run"]) if o != "pass"})
        if odd:
            c.native[test] = ", ".join(odd)
            continue
        wrong = []
        for mode in sorted(m for m in modes if m != "native"):
            bad = [o for o in modes[mode] if o != "pass"]
            if bad:
                times = f" ({len(bad)} of {len(modes[mode])})" if len(modes[mode]) > 1 else ""
                wrong.append(f"GOMAXPROCS={mode}: {', '.join(sorted(set(bad)))}{times}")
        if wrong:
            c.differs[test] = wrong
        else:
            c.passed.add(test)
    return c


def matches(name, globs):
    return not globs or any(fnmatch.fnmatch(name, g) or fnmatch.fnmatch(name, g + "*") for g in globs)


class Session:
    """What has been run so far, in a file: {"native": {TEST: {CASE: [OUTCOME]}}, "1": ..., "2": ...} by GOMAXPROCS. Native outcomes
    outlive the session (natively.json)."""

    def __init__(self, directory, o):
        self.kept = os.path.join(directory, "failed")
        self.library = os.path.join(directory, "libgoshim.so")
        self.file, self.native_file = os.path.join(directory, "session.json"), os.path.join(directory, "natively.json")
        os.makedirs(self.kept, exist_ok=True)
        self.runs = {}
        self.saved = time.monotonic()
        if o.resume and os.path.exists(self.file) and os.path.exists(self.library):
            self.runs = self.load(self.file)
        else:
            shutil.copy(LIBRARY, self.library + ".new")
            os.replace(self.library + ".new", self.library)
            if not o.native and os.path.exists(self.native_file):
                self.runs["native"] = self.load(self.native_file)

    @staticmethod
    def load(path):
        with open(path) as f:
            return json.load(f)

    def add(self, test, mode, cases):
        of = self.runs.setdefault(str(mode), {}).setdefault(test, {})
        for case, outcome in cases.items():
            of.setdefault(case, []).append(outcome)

    def count(self, test, mode):
        """How often a test was run."""
        return max((len(x) for x in self.runs.get(str(mode), {}).get(test, {}).values()), default=0)

    def passes(self, test, case, mode):
        return all(x == "pass" for x in self.runs.get(mode, {}).get(test, {}).get(case, ["pass"]))

    def results(self, tests):
        found = Results()
        names = {t.name for t in tests}
        for mode, by_test in self.runs.items():
            for test in names & set(by_test):
                for case, outcomes in by_test[test].items():
                    for outcome in outcomes:
                        found.add(case, mode if mode == "native" else int(mode), outcome)
        return found

    def save(self, every=0.0):
        if time.monotonic() - self.saved < every:
            return
        self.saved = time.monotonic()
        for path, what in ((self.file, self.runs), (self.native_file, self.runs.get("native", {}))):
            with open(path + ".new", "w") as f:
                json.dump(what, f, indent=0, sort_keys=True)
            os.replace(path + ".new", path)


def run_all(name, tests, o):
    """Every test in every mode, o.jobs at a time, those that must be alone at the end: (results, runs that are left). What a failed run printed
    is kept in BUILD/conformance/NAME/failed/TEST.MODE."""
    session, lock = Session(os.path.join(BUILD, "conformance", name), o), threading.Lock()
    # In the order of the list: natively first, so that what fails there is not called a difference. What never passes natively is not run at all.
    # Those that run alone, which take long, are compared one after the other: a part of them is something, too.
    work = []
    for mode in ("native", *o.procs):
        missing = {t.name: (1 if mode == "native" and session.count(t.name, mode) else o.runs) - session.count(t.name, mode) for t in tests}
        work += [(t, mode) for i in range(o.runs) for t in tests if i < missing[t.name]]
    place = {t.name: i for i, t in enumerate(tests)}
    work.sort(key=lambda w: place[w[0].name] if w[0].alone else -1)
    # Never the same one twice at once: their files, queues and semaphores have the same names.
    own = {t.name: threading.Lock() for t in tests}
    done, bad, left = 0, 0, 0
    shown = time.monotonic()

    def one(item):
        nonlocal done, bad, left, shown
        t, mode = item
        if _stopping.is_set() or (o.deadline and time.monotonic() > o.deadline):
            left += 1
            return
        if mode != "native" and not t.cases and not session.passes(t.name, t.name, "native"):
            return
        with own[t.name]:
            outcome, output, seconds = run(t, mode, o.set if mode != "native" else (), session.library)
        if outcome == "stopped":
            left += 1
            return
        cases = t.cases(outcome, output) if t.cases else {t.name: outcome}
        with lock:
            done += 1
            session.add(t.name, mode, cases)
            for case, what in cases.items():
                if what != "pass" and mode != "native" and session.passes(t.name, case, "native"):
                    bad += 1
                    said(f"  {name}/{case} at GOMAXPROCS={mode}: {what} after {seconds:.1f} s")
            if any(what != "pass" for what in cases.values()):
                with open(os.path.join(session.kept, f"{t.name.replace('/', '_')}.{mode}"), "w") as f:
                    f.write(f"{outcome} after {seconds:.1f} s: {' '.join(t.command)}\n{output}")
            session.save(KEEP_EVERY_S)
            progress = f"{name}: {done} of {len(work)} runs, {bad} bad; {t.name}"
            if sys.stderr.isatty():
                say(progress)
            elif time.monotonic() - shown > 30:
                shown = time.monotonic()
                said(progress)

    try:
        for alone in (False, True):
            with concurrent.futures.ThreadPoolExecutor(1 if alone else o.jobs) as pool:
                try:
                    list(pool.map(one, [w for w in work if w[0].alone == alone]))
                except KeyboardInterrupt:
                    stop()  # in here: the pool waits for its threads
                    raise
    finally:
        say()
        session.save()
    return session.results(tests), left


# ---- tests/problems ---------------------------------------------------------------------------------------------------


def problems():
    """tests/problems: {SUITE/TEST: (reason, why no user can meet it)}."""
    found = {}
    if not os.path.exists(PROBLEMS):
        return found
    with open(PROBLEMS) as f:
        for number, line in enumerate(f, 1):
            line = line.split("#", 1)[0].strip()
            if not line:
                continue
            fields = [x.strip() for x in line.split("|")]
            if len(fields) != 3 or not all(fields):
                raise SystemExit(f"tests/problems:{number}: not 'TEST | reason | why no user can meet it'")
            found[fields[0]] = tuple(fields[1:])
    return found
