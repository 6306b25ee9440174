"""Servers in Rust and C++20 on their standard libraries' threads, built from the sources beside this file. A
connection's thread hands each line to a small pool and waits for the answer, so that channels, condition variables,
atomics and thread-local storage carry every request."""

import shutil

from kinds import Server, build


class RustStd(Server):
    name = "rust"
    title = "Rust std::thread and channels: lines echoed"
    programs = ("rustc",)

    @classmethod
    def missing(cls):
        return None if shutil.which("rustc") else "rustc"

    def prepare(self):
        build("echo.rs", self.path("echo"))

    def command(self, port):
        return [self.path("echo"), str(port)]

    def load(self, port):
        return ["-P", port, "-r", r"hello %I\n", "-e", r"hello %I\n"]


class Cpp20(RustStd):
    name = "c++20"
    title = "C++20 std::jthread, atomic wait, thread_local, exceptions: lines echoed"
    programs = ("c++",)
    missing = classmethod(lambda cls: None if shutil.which("c++") else "g++")

    def prepare(self):
        build("echo.cc", self.path("echo"))


SERVERS = [RustStd, Cpp20]
