"""Threaded tools that compute: same output, and not more CPU than on kernel threads."""

import os
import random
import subprocess

import lab
from kinds import Work

THREADS = "4"


class Compressor(Work):
    """Reads a file that is the same every time; its compressed form must be, too."""

    mebibytes = 24

    def prepare(self):
        source, words = random.Random(2), []
        for _ in range(5000):
            words.append(source.randbytes(source.randint(2, 9)).hex())
        with open(self.path("input"), "w") as f:
            for _ in range(self.mebibytes):
                f.write("".join(" ".join(source.choices(words, k=64)) + "\n" for _ in range(1300))[:1 << 20])


class Xz(Compressor):
    name = "xz"
    title = "xz -T4"
    programs = ("/usr/bin/xz",)
    mebibytes = 8

    def command(self):
        return ["/usr/bin/xz", "-1", "-T", THREADS, "--block-size=1MiB", "-c", self.path("input")]


class Zstd(Compressor):
    name = "zstd"
    title = "zstd -T4"
    programs = ("/usr/bin/zstd",)

    def command(self):
        return ["/usr/bin/zstd", "-q", "-9", "-T" + THREADS, "-c", self.path("input")]


class Pigz(Compressor):
    name = "pigz"
    title = "pigz -p 4"
    programs = ("/usr/bin/pigz",)

    def command(self):
        return ["/usr/bin/pigz", "-n", "-p", THREADS, "-c", self.path("input")]


class SevenZip(Compressor):
    name = "7z"
    title = "7z a -mmt=4, and what it holds"
    programs = ("/usr/bin/7z",)
    mebibytes = 8

    def command(self):
        archive = self.path("a.7z")
        if os.path.exists(archive):
            os.unlink(archive)
        return ["/bin/sh", "-c", f"/usr/bin/7z a -mmt={THREADS} -mx=3 -mtm=off -bd {archive} {self.path('input')} >/dev/null && "
                                 f"/usr/bin/7z x -mmt={THREADS} -so {archive}"]


class Ffmpeg(Work):
    name = "ffmpeg"
    title = "ffmpeg: mpeg4 with 4 slice threads, decoded again"
    programs = ("/usr/bin/ffmpeg",)

    def prepare(self):
        subprocess.run(["/usr/bin/ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=25:duration=8",
                        "-c:v", "mpeg4", "-threads", "1", "-bitexact", self.path("in.avi")], check=True,
                       env=lab.environment(), stdin=subprocess.DEVNULL)

    def command(self):
        return ["/usr/bin/ffmpeg", "-v", "error", "-nostdin", "-threads", THREADS, "-i", self.path("in.avi"), "-vf",
                "scale=640:360", "-c:v", "mpeg2video", "-threads", THREADS, "-flags", "+bitexact", "-bitexact", "-f",
                "framemd5", "-"]


SERVERS = [Xz, Zstd, Pigz, SevenZip, Ffmpeg]
