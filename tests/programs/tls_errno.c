/* errno belongs to the thread: 1,000 threads set it, wait in every way there is, and look again (TLS-2). And what else libc keeps per
 * thread: locale, strerror() text, h_errno, the resolver's state. */
#include "sync_test.h"

#include <fcntl.h>
#include <limits.h>
#include <locale.h>
#include <netdb.h>
#include <poll.h>
#include <resolv.h>
#include <semaphore.h>
#include <sys/socket.h>

enum { N = 1000, ROUNDS = 12 };
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static sem_t sem;
static pthread_barrier_t all;

/* After a call that worked, errno is what it was. */
static int waits(int i, int fds[2]) {
	char c;
	struct pollfd p = {fds[0], POLLIN, 0};
	struct timespec ts = {0, 50000};
	switch (i % 8) {
	case 0:
		return sched_yield();
	case 1:
		return pthread_mutex_lock(&mutex) || sched_yield() || pthread_mutex_unlock(&mutex);
	case 2:
		return nanosleep(&ts, NULL);
	case 3:
		return sem_wait(&sem) || sched_yield() || sem_post(&sem);
	case 4:
		return write(fds[1], "x", 1) != 1 || read(fds[0], &c, 1) != 1;
	case 5:
		return poll(&p, 1, 1) != 0;
	case 6:
		return usleep(100);
	default:
		return pthread_mutex_lock(&mutex) || usleep(10) || pthread_mutex_unlock(&mutex);
	}
}

static void *thread(void *arg) {
	int mine = (int)(long)arg, fds[2];
	long wrong = 0;
	locale_t c = newlocale(LC_ALL_MASK, "C", NULL), was = uselocale(NULL);
	wrong += was != LC_GLOBAL_LOCALE;
	if (mine % 2)
		uselocale(c);
	if (pipe(fds) != 0)
		return (void *)1;
	for (int i = 0; i < ROUNDS; i++) {
		errno = mine;
		h_errno = mine + 1;
		wrong += waits(mine + i, fds) != 0;
		wrong += errno != mine;
		wrong += h_errno != mine + 1;
		/* A failing call says why to its caller only. */
		wrong += read(-1, &c, 1) != -1 || errno != EBADF;
		sched_yield();
		wrong += errno != EBADF;
		wrong += open("/nonexistent/file", O_RDONLY) != -1 || errno != ENOENT;
		wrong += uselocale(NULL) != (mine % 2 ? c : LC_GLOBAL_LOCALE);
	}
	/* The locale stays chosen: the next thread on this identity starts with the global one all the same. */
	if (mine % 2 && mine % 4 == 1)
		uselocale(LC_GLOBAL_LOCALE), freelocale(c);
	else if (mine % 2 == 0)
		freelocale(c);
	close(fds[0]);
	close(fds[1]);
	return (void *)wrong;
}

static void *texts(void *arg) {
	int error = 100000 + (int)(long)arg;
	char expected[64];
	snprintf(expected, sizeof expected, "Unknown error %d", error);
	char *text = strerror(error);
	for (int i = 0; i < 20; i++) {
		sched_yield();
		if (i % 10 == 0)
			usleep(50);
		if (strcmp(text, expected) != 0)
			return (void *)1;
	}
	return NULL;
}

static void *resolver(void *arg) {
	struct __res_state *mine = &_res;
	pthread_barrier_wait(&all);
	for (int i = 0; i < 20; i++) {
		usleep(20);
		if (&_res != mine)
			return (void *)1;
	}
	*(void **)arg = mine;
	pthread_barrier_wait(&all);
	return NULL;
}

int main(void) {
	static pthread_t t[N];
	long wrong = 0;
	test_begin();
	sem_init(&sem, 0, 20);
	for (long i = 0; i < N; i++)
		t[i] = start(thread, (void *)(i + 200));
	for (int i = 0; i < N; i++)
		wrong += join(t[i]);
	EQ(wrong, 0);
	step("errno");
	for (int round = 0; round < 3; round++) {
		for (long i = 0; i < 100; i++)
			t[i] = start(texts, (void *)i);
		for (int i = 0; i < 100; i++)
			EQ(join(t[i]), 0);
	}
	step("strerror");
	static void *states[50];
	pthread_barrier_init(&all, NULL, 50);
	for (int i = 0; i < 50; i++)
		t[i] = start(resolver, &states[i]);
	for (int i = 0; i < 50; i++)
		EQ(join(t[i]), 0);
	for (int i = 0; i < 50; i++) {
		for (int k = 0; k < i; k++)
			CHECK(states[i] != states[k]);
	}
	step("resolver state");
	return test_end();
}
