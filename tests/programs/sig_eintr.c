/* Which calls a handled signal ends with EINTR, without and with SA_RESTART (SIG-1): every call that waits, a line each.
 *
 * All cells wait at the same time, each in a thread with objects of its own: one thread is sent SIGUSR1, whose handler has no SA_RESTART, its
 * twin SIGUSR2, whose has. Nothing tells from outside that a thread has got into its call, so it is sent signals until the call ends or SIGNALS of
 * them have been handled: the first may come too early to count, each handled one lets the thread go on to its call. A cell that outlived them
 * gets what it waits for. So no line depends on when a signal came. */
#include "waiting.h"

enum { SIGNALS = 6, PAUSE_US = 20000 };

static __thread struct cell *here;

/* A call says why it failed after that. One signal more may come when it just has, and errno is not read yet: on a busy machine a thread may stand there for longer
 * than PAUSE_US. It is not the first then, for that one ended the call. */
static void on_signal(int sig) {
	(void)sig;
	if (errno != EINTR || !here->handled)
		errno = EXFULL;
	__atomic_fetch_add(&here->handled, 1, __ATOMIC_SEQ_CST);
}

static struct cell cells[CALLS][2];

static void *waits(void *arg) {
	struct cell *c = here = arg;
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	sigaddset(&s, SIGUSR2);
	pthread_sigmask(SIG_UNBLOCK, &s, NULL);
	wire();
	cell_call(c);
	/* The canceller still sends. */
	pthread_sigmask(SIG_BLOCK, &s, NULL);
	return NULL;
}

static void tell(struct cell *c, bool restart) {
	printf("%-26s%-12s%s, result %s%s\n", c->call->name, restart ? "SA_RESTART" : "-", c->went_on ? "goes on" : "ends", c->handled ? "" : "without a signal, ",
	       c->result == -1 ? strerror(c->error) : c->result == 99 ? "spurious" : c->result > 2 ? "part" : "good");
	fflush(stdout);
}

/* Without (0) and with SA_RESTART (1), of these. */
static void run(unsigned first, unsigned end, int from, int to) {
	for (unsigned i = first; i < end; i++)
		for (int restart = from; restart <= to; restart++) {
			struct cell *c = &cells[i][restart];
			c->call = &calls[i];
			c->call->make(c);
			must(number(pthread_create(&c->thread, NULL, waits, c)) == 0, "make a thread");
		}
	for (int n = 0; n < SIGNALS; n++) {
		/* Each lets the thread go on, to where it waits. */
		for (unsigned i = first; i < end; i++)
			for (int restart = from; restart <= to; restart++)
				if (!ended(&cells[i][restart]))
					pthread_kill(cells[i][restart].thread, restart ? SIGUSR2 : SIGUSR1);
		for (unsigned i = first; i < end; i++)
			for (int restart = from; restart <= to; restart++)
				while (!ended(&cells[i][restart]) && cells[i][restart].handled <= n)
					usleep(1000);
		usleep(PAUSE_US);
	}
	for (unsigned i = first; i < end; i++)
		for (int restart = from; restart <= to; restart++)
			cells[i][restart].went_on = !ended(&cells[i][restart]);
	for (unsigned i = first; i < end; i++)
		for (int restart = from; restart <= to; restart++) {
			struct cell *c = &cells[i][restart];
			if (c->went_on || c->call->make == m_child || c->call->make == m_joined)
				c->call->end(c);
			pthread_join(c->thread, NULL);
			if (c->call->make == m_child && !c->went_on)
				waitpid(c->id, NULL, 0);
			cell_remove(c);
			tell(c, restart);
		}
}

int main(void) {
	struct sigaction sa = {.sa_handler = on_signal};
	sigset_t s;
	alarm(20);
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	sigaddset(&s, SIGUSR2);
	sigaddset(&s, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &s, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	sa.sa_flags = SA_RESTART;
	sigaction(SIGUSR2, &sa, NULL);
	unsigned together = 0;
	while (together < CALLS && !calls[together].alone)
		together++;
	run(0, together, 0, 1);
	for (unsigned i = together; i < CALLS; i++)
		for (int restart = 0; restart < 2; restart++)
			run(i, i + 1, restart, restart);
	return 0;
}
