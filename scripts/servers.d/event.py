"""Servers with an event loop and a few threads: goshim must not break them, nor slow them."""

import os

from kinds import FILES, Server, files_make, settle_threads

ROOT = os.geteuid() == 0


class Event(Server):
    has_threads = False


class Memcached(Event):
    name = "memcached"
    title = "memcached -t 4: set and get"
    programs = ("/usr/bin/memcached",)

    def command(self, port):
        return ["/usr/bin/memcached", "-l", "127.0.0.1", "-p", str(port), "-t", "4", "-c", "19000"] + \
            (["-u", "nobody"] if ROOT else [])

    def load(self, port):
        return ["-P", port, "-r", r"set k%C 0 0 16\r\n%I\r\nget k%C\r\n",
                "-e", r"STORED\r\nVALUE k%C 0 16\r\n%I\r\nEND\r\n"]


class Redis(Event):
    name = "redis"
    title = "redis-server --io-threads 2: SET and GET"
    programs = ("/usr/bin/redis-server",)
    io_threads = 2

    def command(self, port):
        return ["/usr/bin/redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--maxclients", "12000",
                "--io-threads", str(self.io_threads), "--io-threads-do-reads", "yes", "--tcp-backlog", "4096", "--dir",
                self.directory]

    def load(self, port):
        return ["-P", port, "-r", r"SET k%C %I\r\nGET k%C\r\n", "-e", r"+OK\r\n$16\r\n%I\r\n"]


class Redis4(Redis):
    name = "redis-4"
    title = "redis-server --io-threads 4: SET and GET"
    io_threads = 4


class Nginx(Event):
    name = "nginx"
    title = "nginx, aio threads: files"
    programs = ("/usr/sbin/nginx",)

    def prepare(self):
        self.files = files_make(self.path("www"))

    def command(self, port):
        config = self.write("nginx.conf", f"daemon off; worker_processes 1; pid {self.path('pid')}; error_log stderr;\n"
                            "thread_pool default threads=32;\nevents { worker_connections 12000; }\n"
                            "http { access_log off; aio threads; sendfile off; keepalive_requests 1000000000;\n"
                            "keepalive_timeout 600; "
                            + "".join(f"{kind}_temp_path {self.path(kind)}; " for kind in
                                      ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
                            + f"server {{ listen 127.0.0.1:{port} backlog=4096; root {self.path('www')}; }} }}\n")
        return ["/usr/sbin/nginx", "-c", config, "-e", "stderr"]

    def settle(self, child):
        settle_threads(child, 34, 5)

    def load(self, port):
        return ["-P", port] + self.files


SERVERS = [Memcached, Redis, Redis4, Nginx]
