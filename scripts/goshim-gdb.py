"""Goroutines in gdb: for a live process or a core of a program that runs under libgoshim.so.

    (gdb) source scripts/goshim-gdb.py
    (gdb) info goroutines             every goroutine: id, state, what it waits on, where it was
    (gdb) goroutine 7 bt              backtrace of goroutine 7
    (gdb) goroutine all bt            of all of them

A switched-out goroutine's registers lie on its own stack in the order arch_switch() pushed them (x86-64: control words, r15,
r14, r13, r12, rbx, rbp, return address); a running one is shown through its kernel thread.
"""
import gdb

STATES = {0: "idle", 1: "runnable", 2: "running", 3: "waiting", 4: "dead"}
KINDS = {0: "goroutine", 1: "main", 2: "g0", 3: "foreign"}


def value(name):
    return gdb.parse_and_eval("'%s'" % name)


def goroutines(everything=False):
    g = gdb.parse_and_eval("(struct g *)sched.all_g")
    while g:
        state = int(g["state"])
        if everything or (state not in (0, 4) and int(g["kind"]) <= 1):
            yield g.dereference()
        g = g["all_next"]


def saved_frame(g):
    """rip, rsp, rbp of a switched-out goroutine."""
    sp = int(g["ctx"]["sp"])
    word = gdb.lookup_type("unsigned long").pointer()
    at = lambda i: int(gdb.Value(sp + 8 * i).cast(word).dereference())
    return at(7), sp + 64, at(6), at(5)


def where(pc):
    block = gdb.execute("info symbol 0x%x" % pc, to_string=True).strip()
    return block.split(" in section")[0]


class InfoGoroutines(gdb.Command):
    def __init__(self):
        super().__init__("info goroutines", gdb.COMMAND_STATUS)

    def invoke(self, arg, tty):
        for g in goroutines(arg == "all"):
            state, wait = int(g["state"]), ""
            if state == 3 and g["wait_what"]:
                wait = "%s 0x%x" % (g["wait_what"].string(), int(g["wait_on"]))
            line = "%6d %-9s %-8s on_cpu=%d in_rt=%d wake=%d tid=%d %s" % (
                int(g["id"]), KINDS.get(int(g["kind"])), STATES.get(state), int(g["ctx"]["on_cpu"]), int(g["in_rt"]),
                int(g["wake"]), int(g["tid"]), wait)
            print(line)


class Goroutine(gdb.Command):
    """goroutine ID bt: backtrace of one goroutine; goroutine all bt: of all."""

    def __init__(self):
        super().__init__("goroutine", gdb.COMMAND_STACK)

    def backtrace(self, g):
        print("goroutine %d" % int(g["id"]))
        if int(g["ctx"]["on_cpu"]):
            print("  runs on the kernel thread with thread pointer 0x%x" % int(g["ctx"]["tp"]))
            return
        rip, rsp, rbp, rbx = saved_frame(g)
        frame = gdb.selected_frame()
        old = {r: frame.read_register(r) for r in ("rip", "rsp", "rbp", "rbx")}
        old = {r: int(v) & ((1 << 64) - 1) for r, v in old.items()}
        try:
            for r, v in (("rip", rip), ("rsp", rsp), ("rbp", rbp), ("rbx", rbx)):
                gdb.execute("set $%s = 0x%x" % (r, v))
            gdb.execute("backtrace")
        except gdb.error as e:  # a core has no registers to write: walk the frame pointers' return addresses instead
            print("  #0 %s (%s)" % (where(rip), e))
        finally:
            for r, v in old.items():
                try:
                    gdb.execute("set $%s = 0x%x" % (r, v))
                except gdb.error:
                    pass

    def invoke(self, arg, tty):
        who, _, what = arg.partition(" ")
        if what.strip() not in ("bt", ""):
            raise gdb.GdbError("usage: goroutine ID|all bt")
        for g in goroutines():
            if who == "all" or int(g["id"]) == int(who):
                self.backtrace(g)


InfoGoroutines()
Goroutine()
