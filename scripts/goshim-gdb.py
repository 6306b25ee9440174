"""Goroutines in gdb: for a live process or a core of a program that runs under libgoshim.so.

    (gdb) source scripts/goshim-gdb.py
    (gdb) info goroutines             every goroutine: id, name, state, what it waits on, where it is; "info goroutines all": dead ones, too
    (gdb) info sched                  the scheduler: who has which P, what is queued where, what each M is at
    (gdb) goroutine 7 bt              backtrace of goroutine 7; what follows bt goes to gdb's backtrace
    (gdb) goroutine all bt            of all of them

A goroutine that does not run has its registers on its own stack, in the order in which arch_switch() pushed them (below). gdb is shown them by an
unwinder that continues the selected thread's innermost frame with them: no register of the
process is changed, so it works for cores, too. A running one is shown through its kernel thread. Needs libgoshim.so with its debug information.

Cores: the kernel's. gdb's own generate-core-file (gcore) reads memory in large pieces, gives up a piece with a guard marker in it, and so loses the stacks
of a program that does not run with GOSHIM=guard=mprotect.
"""
import re

import gdb
import gdb.unwinder

STATES = ("idle", "runnable", "running", "waiting", "dead")
KINDS = ("goroutine", "main", "g0", "foreign")
IDLE, RUNNING, WAITING, DEAD = 0, 2, 3, 4
# What arch_switch() left, by 8 byte words from the saved stack pointer, and how many bytes; the CPU's names of two registers.
X86_64 = ({"r15": 1, "r14": 2, "r13": 3, "r12": 4, "rbx": 5, "rbp": 6, "rip": 7}, 64, "rsp", "rip")
AARCH64 = ({"x29": 0, "pc": 1, **{"x%d" % n: n - 17 for n in range(19, 29)}}, 176, "sp", "pc")


def library_symbol(name):
    """A global of the library: programs have a `sched` of their own."""
    for objfile in gdb.objfiles():
        if objfile.filename and "libgoshim.so" in objfile.filename:
            symbol = objfile.lookup_global_symbol(name)
            if symbol:
                return symbol.value()
    raise gdb.GdbError("no libgoshim.so with debug information in this process")


def linked(first, link):
    while first:
        yield first.dereference()
        first = first[link]


def plain(value, name):
    """An atomic pointer to a struct, as gdb can follow and compare it."""
    return value.cast(gdb.lookup_type("struct " + name).pointer())


def goroutines(everything=False):
    found = [g for g in linked(plain(library_symbol("sched")["all_g"], "g"), "all_next") if int(g["kind"]) <= 1]
    return [g for g in reversed(found) if everything or int(g["state"]) not in (IDLE, DEAD)]


def name_of(g):
    try:
        return g["ext"].address.cast(gdb.lookup_type("struct thread").pointer())["name"].string(errors="replace")
    except gdb.error:
        return ""


def read_word(address):
    word = gdb.lookup_type("unsigned long").pointer()
    return int(gdb.Value(address).cast(word).dereference())


def cpu():
    return AARCH64 if gdb.selected_inferior().architecture().name() == "aarch64" else X86_64


def saved_registers(g):
    saved, frame_bytes, sp_name, _ = cpu()
    sp = int(g["ctx"]["sp"])
    registers = {name: read_word(sp + 8 * index) for name, index in saved.items()}
    registers[sp_name] = sp + frame_bytes
    return registers


def all_ms():
    return linked(library_symbol("sched")["all_m"], "all_next")


def kernel_thread(g):
    """The id of the kernel thread that runs g, or None."""
    for m in all_ms():
        if plain(m["curg"], "g") == g.address:
            return int(m["ktid"])
    return None


def function_at(pc):
    text = gdb.execute("info symbol 0x%x" % pc, to_string=True).strip()
    return re.sub(r" in section .*? of ", " of ", text).split(" in section")[0]


def polled(on):
    """What a poll() or select() waits for. As core/dump.c has it."""
    polls = gdb.Value(on).cast(gdb.lookup_type("struct pollset").pointer())
    count = int(polls["count"])
    shown = [str(int(polls["wait"][i]["pd"]["fd"])) for i in range(min(count, 4))]
    return "poll of descriptor%s %s%s" % ("" if count == 1 else "s", ", ".join(shown), " and %d more" % (count - 4) if count > 4 else "")


def object_address(what, on):
    """As the program has it: some objects are waited for at a word inside."""
    words = library_symbol("wait_words")
    for i in range(words.type.range()[1] + 1):
        if words[i]["what"] and words[i]["what"].string() == what:
            return on - int(words[i]["offset"])
    return on


def wait_text(what, on):
    if what == "poll":
        try:
            return polled(on)
        except gdb.error:  # the stack was not saved
            return what
    return "%s %s" % (what, on if what.startswith("fd ") else "0x%x" % object_address(what, on))


def what_it_does(g):
    if int(g["ctx"]["on_cpu"]):
        tid = kernel_thread(g)
        return "on kernel thread %d" % tid if tid else "about to run or to stop"
    if int(g["state"]) == WAITING and g["wait_what"]:
        return wait_text(g["wait_what"].string(), int(g["wait_on"]))
    try:
        return "stopped in " + function_at(saved_registers(g)[cpu()[3]])
    except gdb.error:
        return "its stack cannot be read"


class InfoGoroutines(gdb.Command):
    """info goroutines [all]: the goroutines of a program that runs under goshim."""

    def __init__(self):
        super().__init__("info goroutines", gdb.COMMAND_STATUS)

    def invoke(self, arg, tty):
        for g in goroutines(arg == "all"):
            print('%6d  %-16s %-8s  thread %d, %s' % (int(g["id"]), '"%s"' % name_of(g), STATES[int(g["state"])], int(g["tid"]), what_it_does(g)))


def id_of(g):
    """The number of the goroutine that pointer g points to; a g0 has none."""
    return "G %d" % int(g["id"]) if g else "none"


def queue_text(gs):
    """What is queued; the first eight by number."""
    shown = ", ".join(id_of(g) for g in gs[:8])
    return "%d queued%s%s" % (len(gs), ": " + shown if gs else "", ", ..." if len(gs) > 8 else "")


def ring(p):
    head, tail = int(p["runq_head"]), int(p["runq_tail"])
    slots = p["runq"].type.range()[1] + 1
    return [plain(p["runq"][i % slots], "g") for i in range(head, head + ((tail - head) & 0xFFFFFFFF))]


def listed(first):
    return [g.address for g in linked(first, "schedlink")]


class InfoSched(gdb.Command):
    """info sched: the Ps, the Ms and the queues of a program that runs under goshim. They are read one after the other: in a live process gdb
    stops the kernel threads one by one, and those that it stopped last have gone on without the others."""

    def __init__(self):
        super().__init__("info sched", gdb.COMMAND_STATUS)

    def invoke(self, arg, tty):
        sched = library_symbol("sched")
        print("%d Ps, %d idle; spinning %d, poller %d, sysmon's note %d, need_poller %d, m_lacking %d" % tuple(
            int(sched[name]) for name in ("procs", "idle_p_count", "spinning", "poller", "sysmon_note", "need_poller", "m_lacking")))
        print("global queue %s; late %s" % (queue_text(listed(sched["runq"]["head"])), queue_text(listed(sched["late"]["head"]))))
        for i in range(int(sched["procs_all"])):
            p = sched["all_p"][i]
            holder = plain(p["m"], "m")
            print("P %d: %s, runnext %s, %s; timers %d, tick %d" % (
                i, "idle" if p["idle"] else "M %d" % int(holder["id"]) if holder else "nobody's",
                id_of(plain(p["runnext"], "g")), queue_text(ring(p)), int(p["timers"]["count"]), int(p["schedtick"])))
        for m in all_ms():
            if not int(m["ktid"]):
                continue
            has, given, wired, curg = m["p"], m["next_p"], m["wired_g"], plain(m["curg"], "g")
            print("M %d: kernel thread %d, %s, %s%s%s%s%s" % (
                int(m["id"]), int(m["ktid"]), "P %d" % int(has["id"]) if has else "no P", "runs " + id_of(curg) if curg else "on g0",
                ", next " + id_of(m["next_g"]) if m["next_g"] else "", ", spinning" if m["spinning"] else "",
                ", note %d, given P %d" % (int(m["note"]), int(given["id"])) if given else "",
                ", %s of G %d, note %d" % ("wired" if not m["pinned"] else "pinned", int(wired["id"]), int(m["wired_note"])) if wired else ""))


class FrameId:
    def __init__(self, sp, pc):
        self.sp, self.pc = sp, pc


class Switched(gdb.unwinder.Unwinder):
    """The frame above the innermost one is a goroutine's, while `registers` is set."""

    def __init__(self):
        super().__init__("goshim goroutine")
        self.registers = None
        self.innermost = None

    def __call__(self, pending):
        if not self.registers:
            return None
        sp_name, pc_name = cpu()[2:]
        sp, pc = int(pending.read_register(sp_name)), int(pending.read_register(pc_name))
        if (sp, pc) != self.innermost:
            return None
        # Just below the goroutine's own, or gdb takes the stack for corrupt.
        frame = pending.create_unwind_info(FrameId(gdb.Value(self.registers[sp_name] - 256), gdb.Value(pc)))
        for name, value in self.registers.items():
            frame.add_saved_register(name, gdb.Value(value).cast(pending.read_register(name).type))
        return frame


class Goroutine(gdb.Command):
    """goroutine ID bt: backtrace of one goroutine; goroutine all bt: of all."""

    def __init__(self):
        super().__init__("goroutine", gdb.COMMAND_STACK)
        self.unwinder = Switched()
        gdb.unwinder.register_unwinder(None, self.unwinder, replace=True)

    def backtrace_switched(self, g, arguments):
        frame = gdb.newest_frame()
        mask = (1 << 64) - 1
        self.unwinder.innermost = tuple(int(frame.read_register(name)) & mask for name in cpu()[2:])
        self.unwinder.registers = saved_registers(g)
        try:
            gdb.invalidate_cached_frames()
            # The frames that the goroutine was hung on (more than one, if code was inlined there) are not its own.
            foreign, at = 0, gdb.newest_frame()
            while at and int(at.read_register(cpu()[2])) != self.unwinder.registers[cpu()[2]]:
                foreign, at = foreign + 1, at.older()
            text = gdb.execute("backtrace " + arguments, to_string=True)
        finally:
            self.unwinder.registers = None
            gdb.invalidate_cached_frames()
        for part in re.split(r"(?m)^(?=#)", text):
            number = re.match(r"#(\d+) ?", part)
            if number and int(number.group(1)) >= foreign:
                print("#%-3d%s" % (int(number.group(1)) - foreign, part[number.end():]), end="")

    def backtrace_running(self, g, arguments):
        tid = kernel_thread(g)
        selected = gdb.selected_thread()
        for thread in gdb.selected_inferior().threads():
            if thread.ptid[1] == tid:
                thread.switch()
                gdb.execute("backtrace " + arguments)
                selected.switch()
                return
        print("  about to run or to stop")

    def backtrace(self, g, arguments):
        print('goroutine %d "%s" (%s):' % (int(g["id"]), name_of(g), STATES[int(g["state"])]))
        if int(g["ctx"]["on_cpu"]):
            self.backtrace_running(g, arguments)
        else:
            self.backtrace_switched(g, arguments)

    def invoke(self, arg, tty):
        match = re.fullmatch(r"(all|\d+)(?:\s+(?:bt|backtrace)(?:\s+(.*))?)?", arg.strip())
        if not match:
            raise gdb.GdbError("usage: goroutine ID|all bt [ARGUMENTS OF backtrace]")
        chosen = [g for g in goroutines() if match.group(1) in ("all", str(int(g["id"])), str(int(g["tid"])))]
        if not chosen:
            raise gdb.GdbError("no goroutine %s" % match.group(1))
        for g in chosen:
            self.backtrace(g, match.group(2) or "")


InfoGoroutines()
InfoSched()
Goroutine()
