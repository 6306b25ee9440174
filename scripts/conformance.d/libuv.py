"""libuv's own tests: the source package of Debian's libuv1, built by its CMake files against the installed libc; its test program is run
once for each of its tests, which it starts as a process of its own, with helper processes beside it where a test has some."""

import glob
import os
import re
import shutil
import subprocess

import suite
from suite import Failed, Test, call, installed_version, source_package

PROTECTED = re.compile(r"signal|fork|spawn|thread|kill")
LIMIT_S = 60  # its own runner gives a test 60 s at most
PATIENT = {"UV_TEST_TIMEOUT_MULTIPLIER": "4"}  # of its own limits, mostly 5 s: the machine may be busy

LEFT_OUT = {
    "fs_event_error_reporting": "exhausts the inotify instances of the whole machine",
    "tcp_close_while_connecting": "connects to an address outside: what the network answers within a millisecond decides",
    "tcp_connect_timeout": "connects to an address outside",
}


def prepare(directory):
    source = source_package("libuv1", installed_version("libuv1"), directory)
    build = os.path.join(directory, "build")
    runner = os.path.join(build, "uv_run_tests")
    log = os.path.join(directory, "build.log")
    if not os.path.exists(runner):
        call(["cmake", "-S", source, "-B", build, "-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DBUILD_TESTING=ON"], log)
        call(["cmake", "--build", build, "--target", "uv_run_tests", "-j", str(os.cpu_count() or 1)], log)
    shutil.copytree(os.path.join(source, "test", "fixtures"), os.path.join(build, "test", "fixtures"), dirs_exist_ok=True)
    # Its runner refuses to run as root; some tests write into the directory, or change its times.
    run = [runner]
    if os.geteuid() == 0:
        for own in (build, *glob.glob(os.path.join(build, "test", "fixtures", "*"))):
            os.chown(own, 65534, 65534)
        run = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", runner]
    listed = subprocess.run([*run, "--list"], capture_output=True, text=True, cwd=build, env=suite.environment("native"))
    names = [line.split()[0] for line in listed.stdout.splitlines() if line.strip()]  # behind it, a test's helpers
    if listed.returncode or not names:
        raise Failed(f"{os.path.relpath(runner)} --list names no tests")
    # In the build directory: some read its files; and all listen on the same port, so one at a time.
    tests = [Test(n, [*run, n], timeout=LIMIT_S, cwd=build, alone=True, env=PATIENT, cases=outcome_of(n)) for n in names if n not in LEFT_OUT]
    return tests, {n: why for n, why in LEFT_OUT.items() if n in names}


def outcome_of(name):
    """The runner's exit status depends on its version, and may be 0 for what a test skips or fails: the words are in its TAP output."""
    def cases(status, output):
        found = re.search(rf"^(not )?ok \d+ - {re.escape(name)}( # SKIP)?", output, re.M)
        if found and found[2]:
            status = "skip"
        elif found and found[1] and status == "pass":
            status = "fail"
        return {name: status}
    return cases
