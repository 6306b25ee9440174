"""glibc's own tests of threads, and of what threads touch: signals, processes, timers, stdio, malloc, thread-local storage.

The source package of the installed libc is fetched and unpacked; its tests are compiled against the *installed* headers and linked
against the *installed* libc, so that native and goshim run the same binaries on the libc that users have. The package's own
Makefiles are not run, only read: what a test needs (flags, libraries, modules, arguments, environment) is taken from their lines by
pattern. A test that needs glibc's internal headers, its build tree or a container does not compile or has variables left over: it is
named with that reason (--list) and not run.

libsupport, the tests' common helpers, is built as far as the installed headers allow. A test whose object needs a missing helper does
not link, and is named, too.
"""

import concurrent.futures
import glob
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import threading

import suite
from suite import Failed, Test, call, installed_version, said, say, source_package

PROTECTED = re.compile(r"cancel|cleanup|sig|fork|kill|raise|eintr|tsd|key|setspecific")

# Every test of these folders; of the others those that touch threads, signals or processes.
WHOLE = ("nptl", "sysdeps/pthread", "sysdeps/nptl", "signal", "rt", "setjmp")
PARTLY = ("posix", "stdlib", "malloc", "libio", "stdio-common", "elf", "dlfcn", "io", "misc", "time", "socket", "debug", "sysvipc",
          "string", "locale", "nss", "resolv", "wcsmbs", "inet", "sysdeps/unix/sysv/linux", "sysdeps/unix/sysv/linux/x86",
          "sysdeps/x86", "sysdeps/x86_64")
TOUCHES = re.compile(r"pthread|thrd_|sigaction|sigprocmask|sigalt|\bx?signal \(|\bx?(v)?fork \(|posix_spawn|timer_create|timer_settime|"
                     r"\bmq_|\baio_|swapcontext|__thread|_Thread_local|thread_local|popen|waitid?\b|waitpid|\bsystem \(|sem_|select|"
                     r"poll|tgkill|gettid|setitimer|alarm \(|atexit|quick_exit|abort \(|nanosleep|clock_")

AFTER = (".", "nptl", "support", "sysdeps/pthread", "sysdeps/unix/sysv/linux/x86_64", "sysdeps/unix/sysv/linux", "sysdeps/x86_64",
         "sysdeps/x86", "sysdeps/generic")
FLAGS = ("-O2", "-w", "-fgnu89-inline", "-fno-builtin-printf", "-include", "testsuite-first.h", "-include", "limits.h")
HEADERS = ("array_length.h", "libc-diag.h", "intprops.h", "xalloca.h", "libc-pointer-arith.h", "verify.h", "idx.h", "allocate_once.h",
           "file_change_detection.h", "scratch_buffer.h")

# Does not compile or link, or does not belong: the reason is for --list.
LEFT_OUT = {
    "tst-pthread-gdb-attach": "drives gdb",
    "tst-pthread-gdb-attach-static": "drives gdb",
    "tst-oddstacklimit": "a helper of a shell script",
    "tst-dlsym1": "asks libc's internal linking",
}
# The package's own waits until the kernel knows one thread of the process, and hangs if there are others: a tracer's, or goshim's. What
# the tests want is that the thread they made is gone.
WAIT_FOR_THREAD_EXIT = """#include <unistd.h>
void support_wait_for_thread_exit (void)
{
  usleep (300000);
}
"""
ARGUMENT_LIMIT_S = 20  # test-driver's own default
SLACK = 3              # for machines that have other things to do


class Make:
    """What the Makefiles say of tests, read by pattern."""

    def __init__(self, source):
        self.flags, self.link, self.args, self.env, self.needs, self.modules, self.static = {}, {}, {}, {}, {}, set(), set()
        self.internal = set()
        for path in sorted(glob.glob(source + "/**/Makefile", recursive=True)):
            with open(path, errors="replace") as f:
                text = re.sub(r"#[^\n]*", "", f.read()).replace("\\\n", " ")
            for line in text.split("\n"):
                self.line(line.strip())

    def line(self, line):
        m = re.match(r"(CFLAGS|CPPFLAGS)-(\S+?)\.(?:c|cc|cpp|os|o)\s*[:+]?=\s*(.*)", line)
        if m:
            self.flags.setdefault(m[2], []).append(m[3])
            return
        m = re.match(r"(LDFLAGS|LDLIBS)-(\S+?)(\.so)?\s*[:+]?=\s*(.*)", line)
        if m:
            self.link.setdefault(m[2], []).append(m[4])
            return
        m = re.match(r"(\S+)-(ARGS|ENV)\s*[:+]?=\s*(.*)", line)
        if m:
            (self.args if m[2] == "ARGS" else self.env)[m[1]] = m[3]
            return
        m = re.match(r"(modules-names\S*|test-extras|tests-static|xtests-static|tests-internal|tests-container)\s*[:+]?=\s*(.*)", line)
        if m:
            names = m[2].split()
            {"tests-static": self.static, "xtests-static": self.static, "tests-internal": self.internal,
             "tests-container": self.internal}.get(m[1], self.modules).update(names)
            return
        m = re.match(r"((?:\$\(objpfx\)\S+\s*)+):\s*(.*)", line)
        if m:
            found = re.findall(r"\$\(objpfx\)(\S+\.(?:so|o))\b", m[2])
            for target in re.findall(r"\$\(objpfx\)(\S+)", m[1]):
                self.needs.setdefault(target, []).extend(found)

    def needed(self, name):
        """(modules to link with, modules that must be there)"""
        return self.needs.get(name, []), self.needs.get(name + ".out", [])


class Build:
    def __init__(self, directory, source):
        self.source, self.bin, self.obj = source, os.path.join(directory, "bin"), os.path.join(directory, "obj")
        self.make = Make(source)
        self.files = {}
        self.reasons = {}
        self.module_lock = threading.RLock()
        self.log = os.path.join(directory, "build.log")
        for d in (self.bin, self.obj, os.path.join(directory, "include")):
            os.makedirs(d, exist_ok=True)
        include = os.path.join(directory, "include")
        for h in HEADERS:
            for where in ("include", "misc", "stdlib", "sysdeps/generic"):
                found = os.path.join(source, where, h)
                if os.path.exists(found) and not os.path.lexists(os.path.join(include, h)):
                    os.symlink(found, os.path.join(include, h))
        with open(os.path.join(include, "config.h"), "w") as f:
            f.write("#define HAVE_CXX_THREAD_LOCAL 1\n")
        with open(os.path.join(include, "testsuite-first.h"), "w") as f:
            f.write("#ifndef _GNU_SOURCE\n#define _GNU_SOURCE 1\n#endif\n#define _ISOMAC 1\n#define MODULE_NAME testsuite\n"
                    "#define IN_MODULE_testsuite 1\n#define attribute_hidden\n#define libc_hidden_proto(x)\n#define libc_hidden_def(x)\n")
        self.flags = [*FLAGS, "-I", include]
        # After the installed headers: only what those do not have is glibc's own.
        for d in AFTER:
            self.flags += ["-idirafter", os.path.join(source, d)]

    def path_of(self, name):
        return os.path.join(self.bin, name)

    def expand(self, text, name):
        text = text.replace("$(objpfx)", self.bin + "/").replace("$(host-test-program-cmd)", self.path_of(name))
        text = re.sub(r"\$\(common-objpfx\)/?malloc/libc_malloc_debug.so", "libc_malloc_debug.so.0", text)
        text = text.replace("$(common-objpfx)/malloc/", "").replace("$(libm)", "-lm").replace("$(librt)", "-lrt").replace("$(libdl)", "-ldl")
        text = re.sub(r"\$\((\S+?)-ARGS\)", lambda m: self.expand(self.make.args.get(m[1], ""), name), text)
        text = text.replace("$(no-as-needed)", "-Wl,--no-as-needed").replace("$(ldflags-libgcc_s)", "")
        text = re.sub(r"\$\(stack-align-test-flags\)|\$\(no-fortify-source\)|\$\(shared-thread-library\)", "", text)
        left = re.search(r"\$\([^)]*\)?", text)
        if left:
            raise Failed(f"needs {left[0]} of glibc's build")
        return text

    def run(self, command, what):
        r = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if r.returncode:
            with open(self.log, "a") as f:
                f.write(f"{what}: {' '.join(command)}\n{r.stderr}\n")
            first = next((l for l in r.stderr.split("\n") if "error:" in l or "undefined reference" in l or "cannot find" in l), "")
            first = re.sub(r"^.*?(?:fatal error|error|\.text\S*): ?", "", first)
            raise Failed(first.split(": ")[-1].strip()[:100] or "does not compile")

    def compile(self, path, name, extra=()):
        out = os.path.join(self.obj, name)
        if os.path.exists(out):
            return out
        std = ["-std=gnu++17"] if path.endswith((".cc", ".cpp")) else ["-std=gnu11"]
        # libsupport's own are about where glibc is built and installed: support() says that.
        own = [] if name.endswith("@support") else self.make.flags.get(name.split("@")[0], [])
        own = shlex.split(" ".join(self.expand(f, name) for f in own))
        flags = [f for f in self.flags if not (path.endswith((".cc", ".cpp")) and f == "-fgnu89-inline")]
        self.run([os.environ.get("CXX", "g++") if path.endswith((".cc", ".cpp")) else os.environ.get("CC", "gcc"), *std, *flags,
                  "-iquote", os.path.dirname(path), *own, *extra, "-c", path, "-o", out + ".new"], name)
        os.replace(out + ".new", out)
        return out

    def support(self):
        archive = os.path.join(self.bin, "libsupport.a")
        with open(os.path.join(self.source, "support", "Makefile")) as f:
            text = f.read().replace("\\\n", " ")
        names = re.search(r"libsupport-routines =(.*)", text)[1].split()
        define = [f'-D{k}="{v}"' for k, v in (("SRCDIR_PATH", self.source), ("OBJDIR_PATH", self.bin), ("OBJDIR_ELF_LDSO_PATH", ""),
                                             ("INSTDIR_PATH", "/usr"), ("LIBDIR_PATH", "/usr/lib"), ("SLIBDIR_PATH", "/lib"), ("BINDIR_PATH", "/usr/bin"),
                                             ("SBINDIR_PATH", "/usr/sbin"), ("ROOTSBINDIR_PATH", "/sbin"), ("ROOTDIR_PATH", "/"),
                                             ("COMPLOCALEDIR_PATH", "/usr/lib/locale"), ("SYSCONFDIR_PATH", "/etc"))]
        define.append("-DTIMEOUTFACTOR=1")

        own = os.path.join(os.path.dirname(self.obj), "include", "support_wait_for_thread_exit.c")
        with open(own, "w") as f:
            f.write(WAIT_FOR_THREAD_EXIT)

        def one(n):
            try:
                if n == "support_wait_for_thread_exit":
                    return self.compile(own, n + "@support")
                return self.compile(os.path.join(self.source, "support", n + ".c"), n + "@support", define)
            except Failed as why:
                self.reasons["support/" + n] = str(why)
                return None

        objects = [o for o in pool_map(one, names) if o]
        if len(objects) < len(names) * 3 // 4:
            raise Failed(f"only {len(objects)} of {len(names)} files of libsupport compile; see {os.path.relpath(self.log)}")
        if os.path.exists(archive):
            os.remove(archive)
        call(["ar", "rcs", archive, *objects], self.log)

    def module(self, name, seen=()):
        """NAME.so or NAME.o of the package, built once."""
        with self.module_lock:
            return self.module_build(name, seen)

    def module_build(self, name, seen):
        out = self.path_of(name)
        if os.path.exists(out) or name in seen:
            return out
        base, kind = os.path.splitext(name)
        path = self.files.get(base)
        if not path:
            raise Failed(f"needs {name}, which has no source of that name")
        if kind == ".o":
            shutil.copy(self.compile(path, base), out)
            return out
        obj = self.compile(path, base + "@so", ["-fPIC"])
        with_them = [self.module(m, (*seen, name)) for m in self.make.needs.get(name, [])]
        link = shlex.split(" ".join(self.expand(f, base) for f in self.make.link.get(base, [])))
        cxx = path.endswith((".cc", ".cpp"))
        self.run([os.environ.get("CXX", "g++") if cxx else os.environ.get("CC", "gcc"), "-shared", "-pthread", "-o", out + ".new", obj,
                  *with_them, *link, f"-Wl,-rpath,{self.bin}"], name)
        os.replace(out + ".new", out)
        return out

    def program(self, name):
        """A Test. Raises Failed with the reason why there is none."""
        path = self.files[name]
        if name in LEFT_OUT:
            raise Failed(LEFT_OUT[name])
        if name in self.make.static or name.endswith("-static"):
            raise Failed("linked statically: nothing can be preloaded")
        if name.endswith("-time64"):
            raise Failed("the same as the test of that name on 64 bits")
        linked, there = self.make.needed(name)
        args = shlex.split(self.expand(self.make.args.get(name, ""), name))
        env = dict(kv.split("=", 1) for kv in shlex.split(self.expand(self.make.env.get(name, ""), name)) if "=" in kv)
        obj = self.compile(path, name)
        modules = [self.module(m) for m in linked]
        for m in there:
            self.module(m)
        text = self.text(path)
        for m in set(re.findall(r'"(?:\$ORIGIN/)?([\w.-]+)\.so"', text)):
            if m in self.files and m != name:
                self.module(m + ".so")
        link = shlex.split(" ".join(self.expand(f, name) for f in self.make.link.get(name, [])))
        cxx = path.endswith((".cc", ".cpp"))
        if not os.path.exists(self.path_of(name)):
            self.run([os.environ.get("CXX", "g++") if cxx else os.environ.get("CC", "gcc"), "-pthread",
                      "-o", self.path_of(name) + ".new", obj, *modules, self.path_of("libsupport.a"), *link, "-lrt", "-ldl", "-lm",
                      f"-Wl,-rpath,{self.bin}"], name)
            os.replace(self.path_of(name) + ".new", self.path_of(name))
        m = re.search(r"#\s*define\s+TIMEOUT\s+\(?(\d+)\)?(?:\s*\*\s*(\d+))?", text)
        own = int(m[1]) * int(m[2] or 1) if m else ARGUMENT_LIMIT_S
        env.setdefault("LD_LIBRARY_PATH", self.bin)
        # make runs the tests in the folders of their sources; a few look for a file there.
        where = os.path.dirname(path) if '"Makefile"' in text else None
        return {"name": name, "command": [self.path_of(name), *args], "timeout": own * SLACK + 20, "env": env, "cwd": where}

    def text(self, path, depth=0):
        """A source with what it includes from beside it."""
        with open(path, errors="replace") as f:
            text = f.read()
        if depth < 2:
            for included in re.findall(r'#\s*include\s+["<]([\w./-]+\.c)[">]', text):
                for where in (os.path.dirname(path), self.source):
                    inner = os.path.join(where, included)
                    if os.path.exists(inner) and "support/test-driver" not in inner and "test-skeleton" not in inner:
                        text += self.text(inner, depth + 1)
                        break
        return text

    def find(self):
        """Names of tests. self.files also knows every other source, for modules."""
        names = []
        for d in (*PARTLY, *WHOLE):
            for path in sorted(glob.glob(f"{self.source}/{d}/*.c") + glob.glob(f"{self.source}/{d}/*.cc")):
                self.files[os.path.basename(path).rsplit(".", 1)[0]] = path
        modules = {os.path.basename(m) for m in self.make.modules}
        for name, path in self.files.items():
            where = os.path.relpath(os.path.dirname(path), self.source)
            if not re.match(r"tst[-_]|bug-|test-|tstg|mallocfork", name) or name in modules or re.search(r"mod\d*[a-z]?$|-mod-?\d*$|aux$", name):
                continue
            text = self.text(path)
            if where in WHOLE or TOUCHES.search(text):
                names.append(name)
        return sorted(names)


def pool_map(function, items):
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS") or os.cpu_count() or 1)) as pool:
        return list(pool.map(function, items))


def prepare(directory):
    version = installed_version("libc6")
    source = source_package("glibc", version, directory)
    compiler = subprocess.run([os.environ.get("CC", "gcc"), "--version"], capture_output=True, text=True).stdout
    key = hashlib.sha256(repr((source, FLAGS, AFTER, HEADERS, WHOLE, PARTLY, TOUCHES.pattern, compiler)).encode()).hexdigest()
    done, stamp = os.path.join(directory, "tests.json"), os.path.join(directory, "built-as")
    # What an interrupted build has left is used again, unless it was built otherwise.
    if not os.path.exists(stamp) or open(stamp).read() != key:
        for stale in ("bin", "obj", "include", "natively.json", "build.log", "tests.json"):
            stale = os.path.join(directory, stale)
            shutil.rmtree(stale, ignore_errors=True) if os.path.isdir(stale) else os.path.exists(stale) and os.remove(stale)
        with open(stamp, "w") as f:
            f.write(key)
    kept = {"names": None, "tests": {}, "skipped": {}}
    if os.path.exists(done):
        with open(done) as f:
            kept = json.load(f)
    if kept["names"] is None or any(n not in kept["tests"] and n not in kept["skipped"] for n in kept["names"] if suite.matches(n, suite.only)):
        build_more(Build(directory, source), kept)
        with open(done + ".new", "w") as f:
            json.dump(kept, f)
        os.replace(done + ".new", done)
    tests = [Test(**t) for t in kept["tests"].values()]
    for t in tests:  # each has a limit of its own inside
        t.env["TIMEOUTFACTOR"] = str(max(1, round(SLACK * suite.SLOW)))
    return tests, kept["skipped"]


def build_more(build, kept):
    """Builds what was asked for and is not there yet; kept["tests"] and kept["skipped"] grow."""
    if not kept["names"]:
        said("glibc: building libsupport")
        build.support()
    kept["names"] = build.find()
    names = [n for n in kept["names"] if n not in kept["tests"] and n not in kept["skipped"] and suite.matches(n, suite.only)]
    said(f"glibc: building {len(names)} programs")
    count = 0

    def one(name):
        nonlocal count
        count += 1
        say(f"glibc: {count} of {len(names)}: {name}")
        try:
            kept["tests"][name] = build.program(name)
        except Failed as why:
            kept["skipped"][name] = ("glibc-internal: " if name in build.make.internal else "") + str(why)

    pool_map(one, names)
    said(f"glibc: {len(kept['tests'])} programs, {len(kept['skipped'])} not")
