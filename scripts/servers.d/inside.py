"""What goshim decided in a process, read from the process's memory: a daemon may have thrown away what it says on stderr.

The library decides when the first thread is made (preload/entry.c).
"""

import os
import struct
import subprocess

import lab
from lab import Failed

UNDECIDED, ENABLED, ASIDE = range(3)  # enum decision


class Library:
    def __init__(self, path):
        self.path = os.path.realpath(path)
        symbols = subprocess.run(["nm", self.path], capture_output=True, text=True).stdout.splitlines()
        found = [s.split()[0] for s in symbols if s.endswith(" b decision")]
        if len(found) != 1:
            raise Failed(f"{path}: no libgoshim.so, or stripped of the symbols that tell what it decided")
        self.decision = int(found[0], 16)

    def decided(self, pid):
        """One of the above; None: it is not in there, or the process is gone."""
        try:
            with open(f"/proc/{pid}/maps") as f:
                base = [line for line in f if line.rstrip().endswith(self.path) and int(line.split()[2], 16) == 0]
            if not base:
                return None
            with open(f"/proc/{pid}/mem", "rb", 0) as memory:
                memory.seek(int(base[0].split("-")[0], 16) + self.decision)
                return struct.unpack("i", memory.read(4))[0]
        except (FileNotFoundError, ProcessLookupError, struct.error):
            return None
        except PermissionError as e:
            raise Failed(f"what goshim decided is not to be read: {e}") from e

    def missed(self, pids):
        """Why these processes, of one server, did not run on goroutines; None: they did, or make no threads."""
        decided = {pid: self.decided(pid) for pid in pids}
        if ASIDE in decided.values():
            return "goshim stepped aside"
        if all(d is None for d in decided.values()):
            return "goshim is in none of its processes"
        others = [pid for pid, d in decided.items() if d != ENABLED and threads(pid) > 1]
        return f"process {others[0]} has threads that are not goshim's" if others else None


def threads(pid):
    try:
        return lab.proc_status(pid)["Threads"]
    except Failed:  # gone
        return 0
