/* In the child of a fork the threads of the parent count as ended: who joins one there, as the destructor of a pool does at exit, does not wait. What it had
 * said already is its result; who joins it in the parent is not there; what was detached is not joined. Before the child makes threads, and after that. FRK-1 */
#include "sync_test.h"

#include <sys/wait.h>

static sem_t leave;
static pthread_t waiting, detached, ended, joined;

static void *waits(void *arg) {
	sem_take(&leave);
	return arg;
}

static void *ends(void *arg) {
	return arg;
}

static void *joins(void *arg) {
	EQ(pthread_join(joined, NULL), 0);
	return arg;
}

static void joins_one(void) {
	void *result = &result;
	EQ(pthread_join(waiting, &result), 0);
	CHECK(result == NULL);
}

static void tries(void) {
	EQ(pthread_tryjoin_np(waiting, NULL), 0);
}

static void waits_a_while(void) {
	void *result = &result;
	struct timespec until = in_ms(CLOCK_REALTIME, 20);
	EQ(pthread_timedjoin_np(waiting, &result, &until), 0);
	CHECK(result == NULL);
}

static void joins_what_ended(void) {
	void *result = NULL;
	EQ(pthread_join(ended, &result), 0);
	CHECK(result == &leave);
}

static void is_refused(void) {
	EQ(pthread_join(detached, NULL), EINVAL);
	EQ(pthread_detach(detached), EINVAL);
}

static void joins_what_another_joins(void) {
	EQ(pthread_join(joined, NULL), 0);
}

static void detaches(void) {
	EQ(pthread_detach(waiting), 0);
	EQ(pthread_detach(waiting), EINVAL);
	EQ(pthread_join(waiting, NULL), EINVAL);
}

static void makes_one(void) {
	pthread_attr_t attr;
	pthread_t own;
	static char stack[1 << 18] __attribute__((aligned(4096)));
	pthread_attr_init(&attr); /* not that of the one that it is about to join */
	EQ(pthread_attr_setstack(&attr, stack, sizeof stack), 0);
	EQ(pthread_create(&own, &attr, ends, NULL), 0);
	join(own);
	joins_one();
}

static void child(void (*what)(void)) {
	int status = -1;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		alarm(20);
		what();
		fflush(stdout);
		_exit(failures != 0);
	}
	EQ(waitpid(pid, &status, 0), pid);
	EQ(status, 0);
}

static void *children(void *arg) {
	child(joins_one);
	child(tries);
	child(waits_a_while);
	child(joins_what_ended);
	child(is_refused);
	child(joins_what_another_joins);
	child(detaches);
	child(makes_one);
	return arg;
}

int main(void) {
	test_begin();
	sem_init(&leave, 0, 0);
	waiting = start(waits, &leave);
	detached = start(waits, NULL);
	joined = start(waits, NULL);
	EQ(pthread_detach(detached), 0);
	ended = start(ends, &leave);
	pthread_t joiner = start(joins, NULL);
	usleep(50000); /* it has ended, and another waits in the join */
	children(NULL);
	step("of main");
	join(start(children, NULL));
	step("of another thread");
	for (int i = 0; i < 3; i++)
		sem_post(&leave);
	join(waiting);
	join(ended);
	join(joiner);
	return failures != 0;
}
