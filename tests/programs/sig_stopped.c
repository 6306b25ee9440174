/* What a wait does when its process is stopped and continued, without any handler (SIG-17): it goes on. Every call that waits, a line each.
 *
 * Some of Linux's calls end with EINTR, or with the part they have, when the process continues (signal(7), at its end). Nobody waits for that to happen: a
 * program must cope with either, so for those the line only says that what they returned is one of the two.
 *
 * A child waits in all of them at the same time, a thread each; its parent stops and continues it, again and again, because nothing tells from outside
 * that a thread has got into its call. What outlived that gets what it waits for. */
#include "waiting.h"

enum { STOPS = 8, PAUSE_US = 20000 };

static struct cell cells[CALLS];
static int about_to;

static void *waits(void *arg) {
	struct cell *c = arg;
	__atomic_fetch_add(&about_to, 1, __ATOMIC_SEQ_CST);
	cell_call(c);
	return NULL;
}

/* Linux ends it, or may. */
static bool either(const struct cell *c) {
	static const char *const names[] = {"SO_RCVTIMEO", "SO_SNDTIMEO", ", part", "epoll_", "sigwaitinfo", "sigtimedwait", "semop", "semtimedop", "io_getevents"};
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
		if (strstr(c->call->name, names[i]))
			return true;
	return false;
}

static void none(int sig) { (void)sig; }

static void finish(struct cell *c) {
	c->went_on = !ended(c);
	if (c->went_on && c->call->end == nothing)
		while (!ended(c)) {
			pthread_kill(c->thread, SIGUSR1);
			usleep(1000);
		}
	else if (c->went_on || c->call->make == m_child || c->call->make == m_joined)
		c->call->end(c);
	pthread_join(c->thread, NULL);
	if (c->call->make == m_child && !c->went_on)
		waitpid(c->id, NULL, 0);
	cell_remove(c);
	if (either(c)) {
		printf("%-26sgoes on or ends, %s\n", c->call->name, c->result > 0 || (c->result == -1 && c->error == EINTR && !c->went_on) || !c->result ? "good" : "wrong");
		return;
	}
	printf("%-26s%s, result %s\n", c->call->name, c->went_on ? "goes on" : "ends",
	       c->result == -1 ? strerror(c->error) : c->result == 99 ? "spurious" : "good");
	fflush(stdout);
}

/* Says when its threads are about to wait, and is told when it has been stopped often enough. */
static void stopped(unsigned first, unsigned end, int ready, int go) {
	char c;
	for (unsigned i = first; i < end; i++) {
		cells[i].call = &calls[i];
		cells[i].call->make(&cells[i]);
		must(number(pthread_create(&cells[i].thread, NULL, waits, &cells[i])) == 0, "make a thread");
	}
	while (__atomic_load_n(&about_to, __ATOMIC_SEQ_CST) < (int)(end - first))
		sched_yield();
	write(ready, "r", 1);
	while (read(go, &c, 1) != 1)
		continue;
	for (unsigned i = first; i < end; i++)
		finish(&cells[i]);
}

static void run(unsigned first, unsigned end) {
	int ready[2], go[2];
	siginfo_t info;
	char c;
	must(pipe(ready) == 0 && pipe(go) == 0, "pipe");
	pid_t child = fork();
	if (child == 0) {
		alarm(30);
		stopped(first, end, ready[1], go[0]);
		_exit(0);
	}
	must(read(ready[0], &c, 1) == 1, "hear from the child");
	for (int n = 0; n < STOPS; n++) {
		usleep(PAUSE_US);
		kill(child, SIGSTOP);
		must(waitid(P_PID, (id_t)child, &info, WSTOPPED) == 0 && info.si_code == CLD_STOPPED, "stop");
		kill(child, SIGCONT);
		must(waitid(P_PID, (id_t)child, &info, WCONTINUED) == 0 && info.si_code == CLD_CONTINUED, "continue");
	}
	usleep(PAUSE_US);
	write(go[1], "g", 1);
	int status = -1;
	waitpid(child, &status, 0);
	if (status != 0)
		printf("the child ended with %x\n", status);
	for (int i = 0; i < 2; i++)
		close(ready[i]), close(go[i]);
}

int main(void) {
	sigset_t s;
	alarm(30);
	sigemptyset(&s);
	sigaddset(&s, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &s, NULL);
	signal(SIGUSR1, none);
	unsigned together = 0;
	while (together < CALLS && !calls[together].alone)
		together++;
	run(0, together);
	for (unsigned i = together; i < CALLS; i++)
		run(i, i + 1);
	return 0;
}
