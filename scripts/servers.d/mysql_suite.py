"""MariaDB's own tests: the main suite of the package mariadb-test, its server on kernel threads and under goshim. What counts is
that each test has the same result on both sides; some fail natively, too."""

import glob
import os
import re
import shutil

import lab
from kinds import Process
from lab import Failed, say

HOME = "/usr/share/mysql/mysql-test"
RESULT = re.compile(r"^(?:main\.)?(\S+)(?: '[^']*')?\s+(?:w\d+ )?\[ (pass|fail|skipped|disabled)", re.M)


def tests(count):
    """The first `count` of the suite by name, every k-th so that all areas have their share."""
    names = sorted(os.path.basename(f)[:-5] for f in glob.glob(os.path.join(HOME, "main", "*.test")))
    return names[::max(1, len(names) // count)][:count]


def results(bench, side, names):
    vardir = os.path.join(bench.directory, "var-" + side)
    command = ["perl", "mysql-test-run.pl", "--suite=main", "--force", "--max-test-fail=0", "--retry=1", "--testcase-timeout=10",
               "--suite-timeout=600", f"--vardir={vardir}", "--nocheck-testcases", "--skip-test-list=/dev/null"]
    if side == "goshim":
        command.append(f"--mysqld-env=LD_PRELOAD={bench.options.lib}")
    with Process(command + names, lab.environment(), HOME) as suite:
        output, deadline = "", 60 + 120 * len(names)
        try:
            output = suite.everything(deadline)
        except Failed as error:
            if suite.process.poll() is None:
                raise
            output = suite.output  # it ends with 1 when a test failed
            say(str(error))
    shutil.rmtree(vardir, ignore_errors=True)
    return dict(RESULT.findall(output))


def run(bench, count):
    if not os.path.exists(os.path.join(HOME, "mysql-test-run.pl")):
        raise Failed("mariadb-test is not installed")
    names, found = tests(count), {}
    for side in bench.options.sides:
        print(f"mariadb-test, {side}: {len(names)} tests of the main suite", flush=True)
        found[side] = results(bench, side, names)
        print("  " + ", ".join(f"{sum(v == word for v in found[side].values())} {word}" for word in
                               ("pass", "fail", "skipped", "disabled")), flush=True)
    plain, ours = (found.get(side, {}) for side in ("plain", "goshim"))
    other = sorted(n for n in names if plain.get(n) != ours.get(n)) if len(found) == 2 else []
    for name in other:
        print(f"  {name}: plain {plain.get(name)}, goshim {ours.get(name)}")
    bench.report["mariadb_test"] = {"tests": len(names), "results": found, "different": other}
    bench.good = bench.good and not other and all(found.values())
    bench.save()
