"""Runs one module of CPython's own test package and says in a form for machines what became of each test: python_cases.py MODULE

It is regrtest, as `python3 -m test -v MODULE`, but every test that starts, and every one that ends, is one line "@@case WORD NAME" on
what stdout was at the start: WORD is start, pass, skip, or what went wrong. So a run that is killed in the middle tells which test it
was in. This program knows nothing of goshim and runs on both sides of the comparison.

Processes that multiprocessing spawns import it anew, under another name: then it does nothing."""

import fcntl
import os
import sys

out, pid = -1, os.getpid()


def say(word, test):
    if os.getpid() == pid:
        os.write(out, f"\n@@case {word} {test.id().removeprefix('test.')}\n".encode())


def noting(base, method, word):
    def call(self, test, *more):
        getattr(base, method)(self, test, *more)
        if method != "addSubTest" or (more and more[-1] is not None):
            self.word = self.word if self.word and word == "skip" else word
            if not hasattr(test, "_testMethodName") and method != "addSubTest":  # setUpClass, setUpModule
                say(word, test)
    return call


def result_class(base):
    class Result(base):
        def startTest(self, test):
            self.word = None
            say("start", test)
            super().startTest(test)

        def stopTest(self, test):
            super().stopTest(test)
            say(self.word or "pass", test)

    for method, word in (("addError", "error"), ("addFailure", "fail"), ("addSkip", "skip"), ("addSubTest", "fail"),
                         ("addUnexpectedSuccess", "fail")):
        setattr(Result, method, noting(base, method, word))
    return Result


if __name__ == "__main__":
    # The directory of this program does not belong into the path of the tests.
    sys.path.pop(0)
    out = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 200)

    from test.support import testresult

    testresult.RegressionTestResult = result_class(testresult.RegressionTestResult)

    from test.libregrtest import main

    sys.argv.insert(1, "-v")
    main()
