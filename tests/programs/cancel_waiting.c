/* Cancellation in every call that waits, with POSIX's cancellation points and their fortified and 64-bit twins among them (CAN-9): requested
 * before the call, while it waits, and while cancellation is disabled, when the call must notice nothing (CAN-3). Afterwards the type is what it was
 * (CAN-4).
 *
 * All cells wait at the same time. A request that comes before its thread is in the call is one before the call, which must act as well: so no line
 * depends on when it came. What does not end by it gets what it waits for. */
#include "waiting.h"

enum column { PENDING, WAITING, DISABLED, COLUMNS };
static const char *const columns[] = {"pending", "waiting", "disabled"};

static struct cell cells[CALLS][COLUMNS];
static struct {
	int cancelled, type;
} how[CALLS][COLUMNS];

static void interrupted(int sig) {
	(void)sig;
}

static void cleanup(void *arg) {
	struct cell *c = arg;
	how[c->call - calls][(c - cells[0]) % COLUMNS].cancelled = 1;
	__atomic_store_n(&c->finished, 1, __ATOMIC_SEQ_CST);
}

static void *waits(void *arg) {
	struct cell *c = arg;
	enum column column = (c - cells[0]) % COLUMNS;
	wire();
	pthread_cleanup_push(cleanup, c);
	if (column != WAITING)
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	if (column == PENDING) {
		pthread_cancel(pthread_self());
		pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	}
	errno = 0;
	c->result = c->call->call(c);
	c->error = c->result == -1 ? errno : 0;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &how[c->call - calls][column].type);
	__atomic_store_n(&c->finished, 1, __ATOMIC_SEQ_CST);
	pthread_cleanup_pop(0);
	return NULL;
}

/* dprintf() that is cancelled leaves a stream on the thread's stack in libc's list of all streams: the next fork() crashes. */
static bool left_out(unsigned i) {
	return calls[i].call == c_dprintf || calls[i].call == c_dprintf_chk;
}

static void settle(void) {
	usleep(100000); /* time to get into the calls; it makes no difference to what must happen */
}

static void finish(struct cell *c, enum column column, int *patience) {
	int *cancelled = &how[c->call - calls][column].cancelled;
	/* Most have ended by their request; the others never do. */
	for (; *patience > 0 && column != DISABLED && !ended(c); --*patience)
		usleep(10000);
	bool went_on = !ended(c);
	if (went_on && c->call->end == nothing)
		while (!ended(c)) {
			pthread_kill(c->thread, SIGUSR1);
			usleep(1000);
		}
	else if (went_on || c->call->make == m_child || c->call->make == m_joined)
		c->call->end(c);
	void *result;
	pthread_join(c->thread, &result);
	if (c->call->make == m_child)
		waitpid(c->id, NULL, 0);
	cell_remove(c);
	printf("%-26s%-10s", c->call->name, columns[column]);
	if (*cancelled)
		printf("%s\n", result == PTHREAD_CANCELED ? "cancelled" : "cancelled, wrong result");
	else
		printf("%s, result %s%s\n", went_on ? "goes on" : "ends", c->result == -1 ? strerror(c->error) : c->result == 99 ? "spurious" : "good",
		       how[c->call - calls][column].type == PTHREAD_CANCEL_DEFERRED ? "" : ", type changed");
	fflush(stdout);
}

static void run(unsigned first, unsigned end, enum column from, enum column to) {
	int patience = 50;
	for (unsigned i = first; i < end; i++)
		for (enum column column = from; column <= to; column++) {
			struct cell *c = &cells[i][column];
			if (left_out(i))
				continue;
			c->call = &calls[i];
			c->call->make(c);
			must(number(pthread_create(&c->thread, NULL, waits, c)) == 0, "make a thread");
		}
	settle();
	for (unsigned i = first; i < end; i++)
		for (enum column column = from; column <= to; column++)
			if (column != PENDING && !left_out(i) && !ended(&cells[i][column]))
				pthread_cancel(cells[i][column].thread);
	settle();
	for (unsigned i = first; i < end; i++)
		for (enum column column = from; column <= to; column++)
			if (!left_out(i))
				finish(&cells[i][column], column, &patience);
}

int main(void) {
	struct sigaction sa = {.sa_handler = interrupted};
	sigset_t s;
	alarm(600); /* later than the watchdog, who shows what everybody is at */
	sigemptyset(&s);
	sigaddset(&s, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &s, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	unsigned together = 0;
	while (together < CALLS && !calls[together].alone)
		together++;
	/* The columns one after the other: a signal to the process would be for any of them. */
	for (enum column column = 0; column < COLUMNS; column++)
		run(0, together, column, column);
	for (unsigned i = together; i < CALLS; i++)
		for (enum column column = 0; column < COLUMNS; column++)
			run(i, i + 1, column, column);
	_exit(0); /* not exit(): a cancelled fflush() has left something that does not fit into its pipe */
}
