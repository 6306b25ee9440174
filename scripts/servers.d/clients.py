"""Threaded clients of databases. The client runs on kernel threads and under goshim in turn, its server stays on kernel threads; a run is a fixed
number of requests, and what the client says about them must agree: all done, none failed."""

import glob
import os
import re
import shutil
import time

import lab
import mariadb
from kinds import Failed, Process, Server, Work, port_free, quietly

THREADS = 64
ROOT = os.geteuid() == 0


class Client(Work):
    """Its server is started once; the declaration's answer() finds what must agree, in what the client prints."""

    answer = None  # a pattern; all its groups

    def digest(self, output):
        found = re.search(self.answer, output.decode(errors="replace"), re.S)
        if not found:
            raise Failed(f"{self.name}: {output.decode(errors='replace').strip()[-100:]}")
        return " ".join(found.groups())


class MariaDbClient(Client):
    def prepare(self):
        self.server = mariadb.MariaDb(self.directory)
        self.server.prepare()
        self.child, self.port = self.server.start(lab.environment())  # ended by Child.stop_all()


class Sysbench(MariaDbClient):
    name = "sysbench"
    title = "sysbench oltp_read_only, 64 threads, as a client of MariaDB"
    programs = mariadb.MariaDb.programs + ("sysbench",)
    answer = r"transactions:\s+(\d+).*ignored errors:\s+(\d+).*reconnects:\s+(\d+)"

    def command(self):
        return self.server.sysbench("oltp_read_only", self.port) + [f"--threads={THREADS}", "--events=16000", "--time=0", "run"]


class Slap(MariaDbClient):
    name = "mariadb-slap"
    title = "mariadb-slap, 64 threads, as a client of MariaDB"
    programs = mariadb.MariaDb.programs + ("mariadb-slap",)
    answer = r"clients running queries: (\d+).*queries per client: (\d+)"

    def command(self):
        return ["mariadb-slap", "--no-defaults", "-h", "127.0.0.1", "-P", str(self.port), "-u", "sb", f"--concurrency={THREADS}",
                "--create-schema=sb", "--query=select count(*) from sbtest1 where id < 50", f"--number-of-queries={THREADS * 2000}"]


class PgBench(Client):
    name = "pgbench"
    title = "pgbench -S, 64 connections on 16 threads, as a client of PostgreSQL"
    programs = ("postgres", "initdb", "pgbench")
    answer = r"actually processed: (\d+/\d+).*failed transactions: (\d+)"

    @classmethod
    def missing(cls):
        return next((p for p in cls.programs if not cls.tool(p)), None)

    @staticmethod
    def tool(name):
        """Debian keeps the server's programs outside the path."""
        places = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
        return places[-1] if places else shutil.which(name)

    def as_user(self, command):
        """PostgreSQL refuses to run as root."""
        return (["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if ROOT else []) + command

    def prepare(self):
        os.chmod(self.directory, 0o777)
        self.port = port_free()
        self.connect = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "pg"]
        quietly(self.as_user([self.tool("initdb"), "-D", self.path("data"), "-U", "pg", "-A", "trust", "--no-sync"]), self.directory)
        self.child = Process(self.as_user([self.tool("postgres"), "-D", self.path("data"), "-h", "127.0.0.1", "-p", str(self.port), "-k", "",
                                           "-c", "max_connections=100", "-c", "fsync=off"]), lab.environment(), self.directory)
        Server.await_port(self.child, self.port)
        deadline = time.monotonic() + 30
        while True:  # the port is open before the server is ready
            try:
                quietly([self.tool("pgbench"), "-i", "-q", "-s", "1", *self.connect, "postgres"], self.directory)
                break
            except Failed:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def command(self):
        return [self.tool("pgbench"), "-S", "-n", "-c", str(THREADS), "-j", "16", "-t", "2000", *self.connect, "postgres"]


SERVERS = [Sysbench, Slap, PgBench]
