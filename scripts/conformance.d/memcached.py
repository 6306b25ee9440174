"""memcached's own tests: the source package of Debian's memcached, configured and built as it is; each of its Perl scripts starts servers,
talks to them and ends them. Scripts and servers both run under goshim."""

import glob
import os
import shutil

from suite import Failed, Test, call, installed_version, source_package

LIMIT_S = 120

LEFT_OUT = {
    "whitespace": "looks at the layout of memcached's sources",
}


def prepare(directory):
    source = source_package("memcached", installed_version("memcached"), directory)
    server, log = os.path.join(source, "memcached-debug"), os.path.join(directory, "build.log")
    if not os.path.exists(server):
        if not shutil.which("perl"):
            raise Failed("needs perl")
        call(["./configure", "--quiet"], log, cwd=source)
        call(["make", "-j", str(os.cpu_count() or 1), "memcached", "memcached-debug", "timedrun", "sizes", "testapp"], log, cwd=source)
    names = sorted(os.path.basename(f)[:-2] for f in glob.glob(os.path.join(source, "t", "*.t")))
    # They expect the build directory around them, and some of them a port or a file of a fixed name: one at a time.
    tests = [Test(n, ["perl", "-w", os.path.join("t", n + ".t")], timeout=LIMIT_S, cwd=source, alone=True, cases=outcome_of(n))
             for n in names if n not in LEFT_OUT]
    tests.append(Test("testapp", ["./testapp"], timeout=LIMIT_S, cwd=source, alone=True))
    return tests, {n: why for n, why in LEFT_OUT.items() if n in names}


def outcome_of(name):
    """A script without what it needs says so in its first line and passes."""
    def cases(status, output):
        return {name: "skip" if status == "pass" and output.lstrip().startswith("1..0") else status}
    return cases
