"""MariaDB with a thread for each connection: the load generator speaks enough of its protocol to ask and to check;
sysbench is the second client, as users know it."""

import os
import re
import shutil
import socket
import struct

import lab
from kinds import Process, Server, quietly
from lab import Failed, number, said, say

SERVER = "/usr/sbin/mariadbd"
ROOT = os.geteuid() == 0
ID = b"0123456789abcdef"


def escaped(data):
    """As a template of the load generator, the id in its place."""
    return "%I".join("".join(rf"\x{b:02x}" for b in part) for part in data.split(ID))


def packet(connection):
    def take(n):
        data = b""
        while len(data) < n:
            more = connection.recv(n - len(data))
            if not more:
                raise Failed("mariadbd closed the connection")
            data += more
        return data
    head = take(4)
    return head + take(int.from_bytes(head[:3], "little"))


def packed(body, sequence):
    return struct.pack("<I", len(body) | sequence << 24) + body


class MariaDb(Server):
    name = "mariadb"
    title = "MariaDB, one thread per connection: select"
    programs = (SERVER, "/usr/bin/mariadb-install-db", "/usr/bin/mariadb")
    handling = "one-thread-per-connection"
    login = packed(struct.pack("<IIB23x", 0x8201, 1 << 24, 45) + b"sb\0\0", 1)  # 4.1 protocol, user sb, no password

    def prepare(self):
        if ROOT:
            shutil.chown(self.directory, "mysql")
        quietly(["/usr/bin/mariadb-install-db", "--no-defaults", f"--datadir={self.path('data')}",
                      "--auth-root-authentication-method=normal", "--skip-test-db"] + (["--user=mysql"] if ROOT else []))
        child, port = self.start(lab.environment())
        with child:
            quietly(["/usr/bin/mariadb", "--no-defaults", "-S", self.path("socket"), "-u", "root", "-e",
                          "create database sb; create user sb@'%' identified by ''; grant all on *.* to sb@'%'"])
            if shutil.which("sysbench"):
                quietly(self.sysbench("oltp_read_only", port) + ["prepare"])
            child.terminate()

    def command(self, port):
        return [SERVER, "--no-defaults", f"--datadir={self.path('data')}", f"--socket={self.path('socket')}",
                f"--pid-file={self.path('pid')}", "--bind-address=127.0.0.1", f"--port={port}", "--skip-name-resolve",
                f"--thread-handling={self.handling}", "--thread-cache-size=0", "--max-connections=6000",
                "--open-files-limit=20000", "--table-open-cache=4000", "--innodb-buffer-pool-size=256M",
                "--innodb-flush-log-at-trx-commit=2", "--back-log=4096", "--wait-timeout=28800"] + \
            (["--user=mysql"] if ROOT else [])

    def load(self, port):
        """The answers' form is learnt from the server itself; the verdict asks with a port where nobody listens."""
        query = packed(b"\x03select '" + ID + b"'", 0)
        try:
            with socket.create_connection(("127.0.0.1", port), 30) as connection:
                first = len(packet(connection))
                connection.sendall(self.login)
                first += len(packet(connection))
                connection.sendall(query)
                answer = b"".join(packet(connection) for _ in range(5))
        except OSError as error:
            raise Failed(f"mariadbd: {error}") from None
        return ["-P", port, "-i", escaped(self.login), "-I", first, "-r", escaped(query), "-e", escaped(answer)]


    # ---- sysbench --------------------------------------------------------------------------------------------

    mixes = (("oltp_read_only", 64), ("oltp_read_only", 2000), ("oltp_read_write", 64), ("oltp_read_write", 1000))

    @staticmethod
    def sysbench(mix, port):
        return ["sysbench", mix, "--mysql-host=127.0.0.1", f"--mysql-port={port}", "--mysql-user=sb", "--mysql-db=sb",
                "--tables=2", "--table-size=5000", "--db-ps-mode=disable", "--mysql-ignore-errors=all"]

    def sysbench_run(self, env, mix, threads, seconds):
        child, port = self.start(env)
        with child:
            before = lab.cpu_ns(child.pid)
            command = self.sysbench(mix, port) + [f"--threads={threads}", f"--time={seconds:g}", "--percentile=99", "run"]
            with Process(command, lab.environment()) as client:
                output = client.everything(seconds + 300)
            if child.ended(0):
                raise Failed(child.complaint())
            cpu = lab.cpu_ns(child.pid) - before
            status, _ = child.terminate()
        found = {key: re.search(pattern, output) for key, pattern in (
            ("transactions", r"transactions:\s+(\d+)"), ("per_second", r"transactions:.*\(([\d.]+) per sec"),
            ("p99_ms", r"99th percentile:\s+([\d.]+)"))}
        if not all(found.values()):
            raise Failed(f"sysbench: {output.strip()[-150:]}")
        seen = {key: float(m.group(1)) for key, m in found.items()}
        seen.update(cpu_us=cpu / 1e3 / max(1, seen["transactions"]), exit_status=status)
        return seen

    def more(self, bench, report):
        """sysbench's mixes on both sides, and on MariaDB's own answer to many connections, its pool of threads."""
        if not shutil.which("sysbench"):
            print("sysbench is not installed: not run")
            return
        report["sysbench"], rows = {}, [["sysbench", "transactions/s", "", "", "ratio", "CPU", "p99"],
                                        ["", "plain", "pool-of-threads", "goshim", "", "", ""]]
        for mix, threads in self.mixes:
            name, runs = f"{mix} {threads:,}", {"plain": [], "pool": [], "goshim": []}
            for _ in range(bench.options.runs):
                for side in runs:
                    if side in ("plain", "goshim") and side not in bench.options.sides:
                        continue
                    say(f"sysbench {name}, {side}")
                    self.handling = "pool-of-threads" if side == "pool" else MariaDb.handling
                    env = bench.environment("goshim" if side == "goshim" else "plain")
                    run = bench.attempt(f"sysbench {name}, {side}", self.sysbench_run, env, mix, threads, bench.options.seconds)
                    runs[side].append(run)
                    if "failed" not in run:
                        said(f"sysbench {name}, {side}: {run['per_second']:,.0f} transactions/s, p99 {run['p99_ms']:,.0f} ms")
                    elif side == "goshim":
                        report["works"] = False
            self.handling = MariaDb.handling
            value = {side: {key: bench.median_of(r, key) for key in ("per_second", "cpu_us", "p99_ms")}
                     for side, r in runs.items()}
            ratio = {key: bench.ratio_of(value["plain"][key], value["goshim"][key]) for key in value["plain"]}
            report["sysbench"][name] = {"runs": runs, **value, "ratio": ratio}
            rows.append([name] + [number(value[s]["per_second"]) for s in runs] +
                        [number(ratio[key]) for key in ("per_second", "cpu_us", "p99_ms")])
        print(f"\n{lab.table(rows)}", flush=True)


class MariaDbChurn(MariaDb):
    name = "mariadb-churn"
    title = "MariaDB, one thread per connection: log in, select, close"
    has_threads = False
    churn = True
    more = None


SERVERS = [MariaDb, MariaDbChurn]
