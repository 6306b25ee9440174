// Cancellation as C++ sees it: destructors run and catch (...) sees it pass, from inside every kind of wait (CAN-7); more requests while it
// unwinds change nothing (CAN-2); one inside the resolver leaves libc usable (CAN-10).
#include <atomic>
#include <cstdio>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

static std::atomic<int> destroyed, passed, started;
static int fds[2];
static sem_t never;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;

struct counted {
	~counted() { destroyed++; }
};

static void wait_how(int how) {
	counted here;
	char b;
	struct pollfd p = {fds[0], POLLIN, 0};
	switch (how) {
	case 0: read(fds[0], &b, 1); break;
	case 1: poll(&p, 1, -1); break;
	case 2: sem_wait(&never); break;
	case 3: sleep(1000); break;
	case 4:
		pthread_mutex_lock(&mutex);
		pthread_cleanup_push((void (*)(void *))pthread_mutex_unlock, &mutex);
		for (;;)
			pthread_cond_wait(&cond, &mutex);
		pthread_cleanup_pop(1);
		break;
	case 5:
		for (;;)
			pthread_testcancel();
	}
	printf("way %d returned\n", how);
}

static void *waits(void *arg) {
	counted outer;
	started++;
	try {
		counted inner;
		wait_how((int)(long)arg);
	} catch (...) {
		passed++;
		throw;
	}
	return nullptr;
}

// Its cleanup takes long, and is asked to end again and again.
static std::atomic<int> cleaning, cleaned, enough;
static void slow_cleanup(void *) {
	cleaned++;
	cleaning = 1;
	while (!enough)
		usleep(1000); // a cancellation point
}

static void *unwinds(void *arg) {
	counted here;
	pthread_cleanup_push(slow_cleanup, nullptr);
	started++;
	if (arg)
		poll(nullptr, 0, -1);
	else
		sem_wait(&never);
	pthread_cleanup_pop(0);
	return nullptr;
}

static void *looks_up(void *) {
	started++;
	for (;;) {
		struct addrinfo *list = nullptr;
		if (getaddrinfo("localhost", "80", nullptr, &list) == 0)
			freeaddrinfo(list);
		pthread_testcancel();
	}
}

static bool ends_cancelled(pthread_t t) {
	void *result;
	pthread_join(t, &result);
	return result == PTHREAD_CANCELED;
}

int main() {
	pthread_t t;
	alarm(60);
	pipe(fds);
	sem_init(&never, 0, 0);
	for (long how = 0; how < 6; how++)
		for (int early = 0; early < 2; early++) {
			started = destroyed = passed = 0;
			pthread_create(&t, nullptr, waits, (void *)how);
			while (!started)
				sched_yield();
			if (!early)
				usleep(10000);
			pthread_cancel(t);
			bool cancelled = ends_cancelled(t);
			printf("way %ld: cancelled %d, destroyed %d, passed %d\n", how, cancelled, destroyed.load(), passed.load());
		}
	for (long type = 0; type < 2; type++) {
		started = destroyed = cleaning = cleaned = enough = 0;
		pthread_create(&t, nullptr, unwinds, (void *)type);
		while (!started)
			sched_yield();
		pthread_cancel(t);
		while (!cleaning)
			sched_yield();
		for (int i = 0; i < 100; i++)
			if (pthread_cancel(t) != 0)
				printf("refused\n");
		enough = 1;
		bool cancelled = ends_cancelled(t);
		printf("again and again: cancelled %d, destroyed %d, cleaned %d\n", cancelled, destroyed.load(), cleaned.load());
	}
	int cancelled = 0;
	for (int i = 0; i < 40; i++) {
		started = 0;
		pthread_create(&t, nullptr, looks_up, nullptr);
		while (!started)
			sched_yield();
		usleep(i * 50);
		pthread_cancel(t);
		cancelled += ends_cancelled(t);
	}
	struct addrinfo *list = nullptr;
	int r = getaddrinfo("localhost", "80", nullptr, &list);
	printf("lookups cancelled: %d, and one afterwards: %d\n", cancelled, r);
	return 0;
}
