"""CPython's own tests of what stands on threads, sockets, signals and processes: Debian's libpython3.11-testsuite, run by Debian's python3.

One process is one module of the test package, and reports many cases (python_cases.py). The modules that need more than the loopback
device skip those tests by themselves (regrtest's resources are off, but for RESOURCES)."""

import glob
import os
import re

import suite
from suite import Failed, Test

PYTHON = "/usr/bin/python3"  # Debian's, whatever else the PATH has
HERE = os.path.dirname(os.path.abspath(__file__))
PROTECTED = re.compile(r"signal|fork|thread_?local", re.I)

# Module: limit of time in seconds, natively on a slow machine.
MODULES = {
    "threads": ("test_thread test_threading test_threading_local test_threadedtempfile test_threaded_import test_threadsignals test_queue "
                "test_sched test_contextvars test_context test_functools test_weakref test_gc test_decimal "
                "test_sqlite3 test_hashlib test_bz2 test_zlib test_time test_atexit test_capi test_sys test_logging", 400),
    "signals": ("test_signal test_eintr test_faulthandler", 300),
    "files": ("test_io test_bufio test_fileio test_file test_file_eintr test_fcntl test_ioctl test_mmap test_tempfile test_largefile "
              "test_os test_posix test_pty test_openpty test_tty test_shutil test_select test_selectors test_poll test_epoll "
              "test_zipfile test_pipes test_resource test_uuid", 400),
    "processes": ("test_fork1 test_wait3 test_wait4 test_subprocess test_popen test_multiprocessing_fork test_multiprocessing_forkserver "
                  "test_multiprocessing_spawn test_multiprocessing_main_handling test__xxsubinterpreters test_cmd_line "
                  "test_runpy test_pdb test_unittest test_concurrent_futures", 900),
    "network": ("test_socket test_socketserver test_ssl test_asyncore test_asynchat test_smtpd test_httpservers test_httplib "
                "test_urllib test_urllib2 test_urllib2_localnet test_urllib_response test_ftplib test_smtplib test_poplib test_imaplib "
                "test_nntplib test_telnetlib test_xmlrpc test_docxmlrpc test_wsgiref test_robotparser test_http_cookiejar", 400),
}

# Cases that hang natively where the kernel lacks what they ask for, and take the rest of their module with them.
LEFT_OUT = {"test_socket": ("*VSOCK*", "waits for ever where vsock has no loopback")}

# Resources of regrtest that a module asks for although the loopback device is all it uses.
RESOURCES = {"test_socketserver": "network"}


def cases_of(module):
    """What the process said of each of its tests."""
    def cases(status, output):
        found, running = {}, None
        for word, name in re.findall(r"^@@case (\S+) (.*)$", output, re.M):
            running = name if word == "start" else None
            if word != "start":
                found[name] = word
        if running:
            found[running] = status if status != "pass" else "did not end"
        # exit 2: some test failed, and is in the list itself.
        found[module] = "pass" if status == "exit 2" and any(w in ("fail", "error") for w in found.values()) else status
        return found
    return cases


def prepare(directory):
    suite.installed_version("libpython3.11-testsuite")
    package = "/usr/lib/python3.11/test"
    if not os.path.isdir(package):
        raise Failed(f"{package} is missing")
    tests, skipped = [], {}
    asyncio = sorted("test_asyncio." + os.path.basename(f)[:-3] for f in glob.glob(package + "/test_asyncio/test_*.py"))
    for modules, limit in [*MODULES.values(), (" ".join(asyncio), 400)]:
        for module in modules.split():
            if not glob.glob(f"{package}/{module.replace('.', '/')}*"):
                skipped[module] = "not in this version"
                continue
            options = ["-u", RESOURCES[module]] if module in RESOURCES else []
            if module in LEFT_OUT:
                cases, skipped[f"{module}, some cases"] = LEFT_OUT[module]
                options += ["--ignore", cases]
            # Alone: nearly all of them measure time.
            tests.append(Test(module, [PYTHON, "-u", os.path.join(HERE, "python_cases.py"), *options, module], timeout=limit,
                              cases=cases_of(module), alone=True))
    return tests, skipped
