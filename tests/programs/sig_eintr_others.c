/* A thread that waits has run a handler with SA_RESTART, and waits on. Then handlers without it run for another thread: they are no reason for the first one's
 * call to end, whichever kernel thread the kernel gave those signals to. Every call that waits, a line each (SIG-1).
 *
 * Each is made in a process of its own, by the only thread besides main, so that it may come to wait on the process's first kernel thread, to which the kernel
 * gives main's signals: those come from another process, one at a time. As in sig_eintr, a thread's own signals are sent until the call ends, or SIGNALS of them
 * have been handled. */
#include "waiting.h"

#include <sys/mman.h>

enum { SIGNALS = 6, OTHERS = 3, PAUSE_US = 20000, AT_ONCE = 24 };

static __thread struct cell *here;
static volatile int others, strays;

static void on_signal(int sig) {
	errno = EXFULL;
	if (here && sig == SIGUSR2)
		here->handled++;
	else if (!here && sig == SIGUSR1)
		others++;
	else
		strays++;
}

static void *waits(void *arg) {
	struct cell *c = here = arg;
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGUSR2);
	pthread_sigmask(SIG_UNBLOCK, &s, NULL);
	wire();
	cell_call(c);
	pthread_sigmask(SIG_BLOCK, &s, NULL); /* main may still send */
	return NULL;
}

static void ask(int asks, pid_t whom) {
	must(write(asks, &whom, sizeof whom) == sizeof whom, "ask for a signal");
}

/* One signal for main. */
static void other(int asks) {
	int before = others;
	ask(asks, getpid());
	while (others == before)
		usleep(1000);
	usleep(PAUSE_US);
}

static void *ends(void *arg) { return arg; }

/* A first thread ends before the cell is made: how a process becomes one with threads while main holds something is not the question here. */
static void run(struct cell *c, int asks) {
	must(number(pthread_create(&c->thread, NULL, ends, c)) == 0 && number(pthread_join(c->thread, NULL)) == 0, "make a thread");
	c->call->make(c);
	must(number(pthread_create(&c->thread, NULL, waits, c)) == 0, "make a thread");
	for (int n = 0; n < SIGNALS && !ended(c); n++) {
		pthread_kill(c->thread, SIGUSR2);
		while (!ended(c) && c->handled <= n)
			usleep(1000);
		usleep(PAUSE_US);
	}
	for (int n = 0; n < OTHERS && !ended(c); n++)
		other(asks);
	c->went_on = !ended(c);
	if (c->went_on || c->call->make == m_child || c->call->make == m_joined)
		c->call->end(c);
	pthread_join(c->thread, NULL);
	cell_remove(c);
}

static void tell(const struct cell *c) {
	printf("%-26s%s, result %s\n", c->call->name, c->went_on ? "goes on" : "ends",
	       c->result == -1 ? strerror(c->error) : c->result == 99 ? "spurious" : c->result > 2 ? "part" : "good");
}

/* From outside, so that it is the kernel that chooses where it goes: to main's kernel thread. */
static void kills(int asked) {
	pid_t pid;
	while (read(asked, &pid, sizeof pid) == sizeof pid)
		syscall(SYS_tgkill, pid, pid, SIGUSR1);
	_exit(0);
}

int main(void) {
	struct sigaction sa = {.sa_handler = on_signal};
	sigset_t s;
	struct cell *results = mmap(NULL, sizeof(struct cell) * CALLS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t cell[CALLS];
	int asks[2], bad = 0;
	alarm(50);
	sigemptyset(&s);
	sigaddset(&s, SIGHUP);
	sigaddset(&s, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &s, NULL);
	must(results != MAP_FAILED && pipe2(asks, O_CLOEXEC) == 0, "begin");
	pid_t killer = fork();
	if (killer == 0) {
		close(asks[1]);
		kills(asks[0]);
	}
	sigaction(SIGUSR1, &sa, NULL);
	sa.sa_flags = SA_RESTART;
	sigaction(SIGUSR2, &sa, NULL);
	for (unsigned i = 0; i < CALLS + AT_ONCE; i++) {
		int status;
		if (i >= AT_ONCE && waitpid(cell[i - AT_ONCE], &status, 0) > 0 && status != 0)
			bad = printf("%s: ended with %x\n", calls[i - AT_ONCE].name, (unsigned)status);
		if (i < CALLS)
			results[i].call = &calls[i];
		if (i >= CALLS || (cell[i] = fork()) != 0)
			continue;
		struct cell c = results[i];
		alarm(20);
		run(&c, asks[1]);
		results[i] = c;
		_exit(strays != 0);
	}
	close(asks[1]);
	waitpid(killer, NULL, 0);
	for (unsigned i = 0; i < CALLS; i++)
		tell(&results[i]);
	return bad != 0;
}
