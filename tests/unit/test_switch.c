/* A signal at every instruction of a switch between goroutines (SIG-10): a tracer stops whoever begins to switch, lets it go on for so many instructions, and
 * gives it a signal there. The instructions behind the switch are counted, too, until the switched-to goroutine is back in its own code. The program
 * (tests/helpers/switches.c) looks whether each signal was handled, once, by a thread that is itself, and whether the switch kept what it must keep. */
#include <criterion/criterion.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__)

enum { STEPS = 200, ROUNDS = 4, SIGNALS = STEPS * ROUNDS };

static pid_t process;
static uintptr_t place; /* of the switch's first instruction */
static long code;       /* what is there */
static int status;

static char *library_path(void) {
	static char path[4096];
	const char *build = getenv("GOSHIM_BUILD");
	return realpath(build ? build : "build", path) ? strcat(path, "/libgoshim.so") : path;
}

/* Where a function that is not exported lies in a library. */
static uintptr_t symbol_offset(const char *path, const char *name) {
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uintptr_t found = 0;
	if (fd < 0 || fstat(fd, &st) != 0)
		return 0;
	const char *file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (file == MAP_FAILED)
		return 0;
	const Elf64_Ehdr *header = (const void *)file;
	const Elf64_Shdr *sections = (const void *)(file + header->e_shoff);
	for (int i = 0; i < header->e_shnum; i++) {
		const Elf64_Sym *symbols = (const void *)(file + sections[i].sh_offset);
		const char *names = file + sections[sections[i].sh_link].sh_offset;
		for (size_t k = 0; sections[i].sh_type == SHT_SYMTAB && k < sections[i].sh_size / sizeof *symbols; k++)
			if (strcmp(names + symbols[k].st_name, name) == 0)
				found = symbols[k].st_value;
	}
	munmap((void *)file, (size_t)st.st_size);
	return found;
}

static uintptr_t library_base(void) {
	char path[64], line[4096];
	uintptr_t base = 0;
	snprintf(path, sizeof path, "/proc/%d/maps", (int)process);
	FILE *maps = fopen(path, "r");
	while (maps && !base && fgets(line, sizeof line, maps))
		if (strstr(line, "/libgoshim.so"))
			base = strtoull(line, NULL, 16);
	if (maps)
		fclose(maps);
	return base;
}

static pid_t begin(const char *procs) {
	char number[16], path[4096];
	int fds[2];
	cr_assert(pipe(fds) == 0);
	snprintf(number, sizeof number, "%d", SIGNALS);
	snprintf(path, sizeof path, "%.*s/tests/helpers/switches", (int)(strrchr(library_path(), '/') - library_path()),
		 library_path());
	process = fork();
	if (process == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		dup2(fds[1], 1);
		setenv("LD_PRELOAD", library_path(), 1);
		setenv("GOMAXPROCS", procs, 1);
		unsetenv("GOSHIM");
		execl(path, "switches", number, NULL);
		_exit(127);
	}
	close(fds[1]);
	cr_assert(process > 0);
	return fds[0];
}

static void break_set(pid_t thread, bool on) {
	ptrace(PTRACE_POKETEXT, thread, place, on ? (code & ~0xffl) | 0xcc : code);
}

/* Is this thread at the breakpoint? Then it is put before it, and the rest is up to the caller. */
static bool at_break(pid_t thread) {
	struct user_regs_struct regs;
	if (!place || WSTOPSIG(status) != SIGTRAP || status >> 16 || ptrace(PTRACE_GETREGS, thread, 0, &regs) != 0 ||
	    regs.rip != place + 1)
		return false;
	regs.rip = place;
	ptrace(PTRACE_SETREGS, thread, 0, &regs);
	return true;
}

/* What a stop means for the thread: the signal that it was for, or nothing. */
static long passes(void) {
	int sig = WSTOPSIG(status);
	return status >> 16 || sig == SIGTRAP || sig == SIGSTOP ? 0 : sig;
}

/* Would its next instruction sleep until another thread acts? All the others may be stopped, for the tracer to come. */
static bool is_about_to_wait(pid_t thread) {
	struct user_regs_struct regs;
	if (ptrace(PTRACE_GETREGS, thread, 0, &regs) != 0 || (ptrace(PTRACE_PEEKTEXT, thread, regs.rip, 0) & 0xffff) != 0x050f)
		return false;
	unsigned long long op = regs.rsi & FUTEX_CMD_MASK;
	return regs.rax == SYS_epoll_wait || regs.rax == SYS_epoll_pwait || regs.rax == SYS_epoll_pwait2 ||
	       (regs.rax == SYS_futex && (op == FUTEX_WAIT || op == FUTEX_WAIT_BITSET));
}

/* Lets `thread` run for so many instructions, or to where it would wait. False: it has ended. */
static bool step(pid_t thread, int instructions) {
	long sig = 0;
	while (instructions-- > 0 && !is_about_to_wait(thread)) {
		if (ptrace(PTRACE_SINGLESTEP, thread, 0, sig) != 0 || waitpid(thread, &status, __WALL) != thread ||
		    !WIFSTOPPED(status))
			return false;
		sig = passes();
	}
	return true;
}

/* To this kernel thread, which takes it before its next instruction; while it blocks the signal for the goroutine that it switches from or to, to the process: no
 * other kernel thread would take what waits for this one. Queued: what the thread has stopped for passes, too. As by sigqueue(): a tgkill() to the first kernel
 * thread would be for main, which blocks it. */
static void give(pid_t thread) {
	uint64_t mask = 0;
	siginfo_t info = {.si_signo = SIGRTMIN + 3, .si_code = SI_QUEUE};
	info.si_pid = getpid();
	ptrace(PTRACE_GETSIGMASK, thread, sizeof mask, &mask);
	if (mask >> (SIGRTMIN + 3 - 1) & 1)
		kill(process, SIGRTMIN + 3);
	else
		syscall(SYS_rt_tgsigqueueinfo, process, thread, SIGRTMIN + 3, &info);
}

static void signals_everywhere(const char *procs) {
	char said[256] = "";
	int given = 0, out = begin(procs), ended = -1;
	uintptr_t offset = symbol_offset(library_path(), "arch_switch");
	cr_assert(offset, "the library has no arch_switch");
	while (ended < 0) {
		pid_t thread = waitpid(-1, &status, __WALL);
		cr_assert(thread > 0, "waitpid: %s", strerror(errno));
		if (!WIFSTOPPED(status)) {
			if (thread == process)
				ended = status;
			continue;
		}
		if (!code && thread == process && WSTOPSIG(status) == SIGTRAP &&
		    !place) { /* it has executed the program */
			ptrace(PTRACE_SETOPTIONS, process, 0, PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL);
			place = 1;
			ptrace(PTRACE_CONT, thread, 0, 0);
		} else if (!code && WSTOPSIG(status) == SIGTRAP && !(status >> 16)) { /* its threads run */
			place = library_base() + offset;
			errno = 0;
			code = ptrace(PTRACE_PEEKTEXT, thread, place, 0);
			cr_assert(errno == 0 && place > offset);
			break_set(thread, true);
			ptrace(PTRACE_CONT, thread, 0, 0);
		} else if (code && given < SIGNALS && at_break(thread)) {
			break_set(thread, false);
			if (!step(thread, given % STEPS))
				continue;
			break_set(thread, ++given < SIGNALS);
			give(thread);
			ptrace(PTRACE_CONT, thread, 0, passes());
		} else {
			at_break(thread);
			ptrace(PTRACE_CONT, thread, 0, passes());
		}
	}
	ssize_t n = read(out, said, sizeof said - 1);
	close(out);
	char expected[64];
	snprintf(expected, sizeof expected, "handled %d, wrong 0\n", SIGNALS);
	cr_expect(ended == 0, "GOMAXPROCS=%s: status %#x", procs, (unsigned)ended);
	cr_expect(n > 0 && strcmp(said, expected) == 0, "GOMAXPROCS=%s: %s, %d given", procs, said, given);
}

Test(switch, signals_at_every_instruction, .timeout = 100) {
	signals_everywhere("1");
}

Test(switch, signals_at_every_instruction_of_several, .timeout = 100) {
	signals_everywhere("2");
}

#else
Test(switch, signals_at_every_instruction) {
	cr_skip_test("knows the breakpoints of x86-64 only");
}
#endif
