"""Small servers in C with a thread for each connection."""

import os

from kinds import Server, build


class Nbdkit(Server):
    name = "nbdkit"
    title = "nbdkit -t 1: 4 KiB reads of a network block device"
    programs = ("/usr/bin/nbdkit",)
    cpu_goal = 0.8
    pages = 4

    def command(self, port):
        return ["/usr/bin/nbdkit", "-f", "-t", "1", "-i", "127.0.0.1", "-p", str(port), "pattern", "64M"]

    def load(self, port):
        # The pattern is the offset, as 8 bytes, again and again.
        page = "".join(r"\x00\x00\x00\x00\x00" + "".join(rf"\x{b:02x}" for b in (0x3000 + i).to_bytes(3, "big"))
                       for i in range(0, 4096, 8))
        hello = r"\x00\x00\x00\x03IHAVEOPT\x00\x00\x00\x01\x00\x00\x00\x00"
        read = r"\x25\x60\x95\x13\x00\x00\x00\x00%S\x00\x00\x00\x00\x00\x00\x30\x00\x00\x00\x10\x00"
        return ["-P", port, "-i", hello, "-I", 28, "-r", read, "-e", r"\x67\x44\x66\x98\x00\x00\x00\x00%S" + page]


class Rrdcached(Server):
    name = "rrdcached"
    title = "rrdcached: commands answered and refused"
    programs = ("/usr/bin/rrdcached",)
    cpu_goal = 0.8

    def prepare(self):
        os.mkdir(self.path("rrd"))

    def command(self, port):
        return ["/usr/bin/rrdcached", "-g", "-l", f"127.0.0.1:{port}", "-b", self.path("rrd"), "-p", self.path("rrd.pid"),
                "-j", self.path("rrd"), "-t", "4"]

    def load(self, port):
        return ["-P", port, "-r", r"PING\nx%I\n", "-e", r"0 PONG\n-1 Unknown command: x%I\n"]


class Microhttpd(Server):
    name = "microhttpd"
    title = "libmicrohttpd, MHD_USE_THREAD_PER_CONNECTION"
    programs = ("cc",)
    cpu_goal = 0.8

    @classmethod
    def missing(cls):
        return None if os.path.exists("/usr/include/microhttpd.h") else "libmicrohttpd-dev"

    def prepare(self):
        build("microhttpd.c", self.path("microhttpd"), ["-lmicrohttpd"])

    def command(self, port):
        return [self.path("microhttpd"), str(port)]

    def load(self, port):
        return ["-P", port, "-b", 1024]


SERVERS = [Nbdkit, Rrdcached, Microhttpd]
