"""Runtimes of other languages, each with what it does to its threads: programs from the sources beside this file."""

import os
import shutil
import subprocess

import lab
from kinds import HERE, Failed, Work, build


class Built(Work):
    source = None

    def compile(self, command):
        done = subprocess.run(command, cwd=self.directory, env=lab.environment(), capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"{command[0]}: {(done.stderr.strip().splitlines() or [done.returncode])[0]}")

    def command(self):
        return [self.path("threads")]


class OpenMP(Built):
    name = "openmp"
    title = "OpenMP: loops, barriers and tasks on 16 threads"
    programs = ("cc",)

    def prepare(self):
        build("openmp.c", self.path("threads"), ["-fopenmp"])


class Ada(Built):
    name = "ada"
    title = "Ada: 200 tasks, aborted calls, an overflow of a stack"
    programs = ("gnatmake",)

    def prepare(self):
        self.compile(["gnatmake", "-q", "-O1", os.path.join(HERE, "threads.adb"), "-o", self.path("threads")])


class Java(Built):
    name = "java"
    title = "Java: 200 threads, garbage collection, overflows of stacks"
    programs = ("java", "javac")

    def prepare(self):
        self.compile(["javac", "-d", self.directory, os.path.join(HERE, "Threads.java")])

    def command(self):
        return [shutil.which("java"), "-cp", self.directory, "Threads"]


SERVERS = [OpenMP, Ada, Java]
