/* pthread_create() on a stack of the program's, refused because the kernel has no more threads (RLIMIT_NPROC; for another user than root): nothing of it has happened, the stack is
 * the program's again at once, and a thread may have it later. Who creates has set what the kernel keeps per thread, which theirs inherit (SCH-5, SEC-1). */
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "sync_test.h"

enum { SIZE = 256 << 10, MOST = 64, LIMIT = 12, ROUNDS = 3, MARK = 0x5a, SLACK = 70000 };

static sem_t over;

static void *nothing(void *arg) {
	return arg;
}

static void *waits(void *arg) {
	EQ(prctl(PR_GET_TIMERSLACK), SLACK);
	sem_take(&over);
	return arg;
}

static int create(pthread_t *t, void *stack) {
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstack(&attr, stack, SIZE);
	int r = pthread_create(t, &attr, waits, stack);
	pthread_attr_destroy(&attr);
	return r;
}

static void end(pthread_t *t, unsigned char **stack, int n) {
	for (int i = 0; i < n; i++)
		sem_post(&over);
	for (int i = 0; i < n; i++) {
		EQ(join(t[i]), (long)stack[i]);
		munmap(stack[i], SIZE);
	}
}

/* Until one is refused: its stack stays as it is while the others run, and is then another's. */
static void refused(bool limited) {
	pthread_t t[MOST];
	unsigned char *stack[MOST + 1];
	int n = 0, r, touched = 0;
	for (;; n++) {
		stack[n] = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (n == MOST || (r = create(&t[n], stack[n])) != 0)
			break;
	}
	EQ(n < MOST, limited);
	if (n < MOST)
		EQ(r, EAGAIN);
	unsigned char *its = stack[n];
	memset(its, MARK, SIZE);
	end(t, stack, n);
	for (int i = 0; i < SIZE; i++)
		touched += its[i] != MARK;
	EQ(touched, 0);
	while ((r = create(t, its)) == EAGAIN) /* the kernel may count who was joined for a moment */
		usleep(1000);
	EQ(r, 0);
	end(t, &its, 1);
}

int main(void) {
	bool limited = getuid() == 0;
	uid_t nobody = 40000 + (uid_t)getpid() % 20000;
	struct rlimit limit = {LIMIT, LIMIT};
	test_begin();
	sem_init(&over, 0, 0);
	join(start(nothing, NULL));
	EQ(prctl(PR_SET_TIMERSLACK, SLACK), 0);
	if (limited) {
		EQ(setresuid(nobody, nobody, nobody), 0);
		setrlimit(RLIMIT_NPROC, &limit);
	}
	for (int i = 0; i < ROUNDS; i++)
		refused(limited);
	return test_end();
}
