"""change_procs.py SOCKET SECONDS: another GOMAXPROCS of 1 to 8 every 10 ms; prints how often the answer was not what it should be."""
import random
import socket
import sys
import time


def change(n):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    s.sendall(b"gomaxprocs %d\n" % n)
    reply = b""
    while part := s.recv(4096):
        reply += part
    return reply


end, wrong, changes, last = time.monotonic() + float(sys.argv[2]), 0, 0, None
random.seed(1)
while time.monotonic() < end or changes < 20:
    n = random.randint(1, 8)
    reply = change(n).decode()
    text, _, status = reply.partition("\0")
    old, _, new = text.strip().partition(" -> ")
    wrong += status != "0" or new != str(n) or (last is not None and old != str(last))
    last = n
    changes += 1
    time.sleep(0.01)
print("wrong answers:", wrong)
