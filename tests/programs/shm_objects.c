/* Objects shared between processes (SYN-7): each kind between threads of this process and a child made by fork, which has no runtime
 * until it makes a thread of its own; named semaphores by name. */
#include "sync_test.h"

#include <fcntl.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { THREADS = 20, ROUNDS = 100, CHILDREN = 2 };

static struct shared {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	pthread_rwlock_t rwlock;
	pthread_barrier_t barrier;
	sem_t sem;
	long counter, copy, turn, torn;
} *s;

static char name[40];

static void *counts(void *arg) {
	for (int i = 0; i < ROUNDS; i++) {
		pthread_mutex_lock(&s->mutex);
		long c = s->counter;
		if (i % 16 == 0)
			sched_yield();
		s->counter = c + 1;
		pthread_mutex_unlock(&s->mutex);
		pthread_rwlock_rdlock(&s->rwlock);
		if (s->copy % 2)
			__atomic_fetch_add(&s->torn, 1, __ATOMIC_RELAXED);
		pthread_rwlock_unlock(&s->rwlock);
		pthread_rwlock_wrlock(&s->rwlock);
		s->copy++;
		s->copy++;
		pthread_rwlock_unlock(&s->rwlock);
		sem_wait(&s->sem);
		sem_post(&s->sem);
	}
	return arg;
}

/* Two sides pass a turn to and fro. */
static void turns(long mine) {
	for (int i = 0; i < ROUNDS; i++) {
		pthread_mutex_lock(&s->mutex);
		while (s->turn % 2 != mine)
			pthread_cond_wait(&s->cond, &s->mutex);
		s->turn++;
		pthread_cond_broadcast(&s->cond);
		pthread_mutex_unlock(&s->mutex);
	}
}

static void *turns_thread(void *arg) {
	turns((long)arg);
	return NULL;
}

static void *meets(void *arg) {
	long serial = 0;
	(void)arg;
	for (int i = 0; i < 10; i++)
		serial += pthread_barrier_wait(&s->barrier) == PTHREAD_BARRIER_SERIAL_THREAD;
	return (void *)serial;
}

static long work(void) {
	pthread_t t[THREADS];
	for (int i = 0; i < THREADS; i++)
		t[i] = start(counts, NULL);
	for (int i = 0; i < THREADS; i++)
		join(t[i]);
	long serial = 0;
	for (int i = 0; i < 4; i++)
		t[i] = start(meets, NULL);
	for (int i = 0; i < 4; i++)
		serial += join(t[i]);
	return serial;
}

static void objects_init(void) {
	pthread_mutexattr_t ma;
	pthread_condattr_t ca;
	pthread_rwlockattr_t ra;
	pthread_barrierattr_t ba;
	s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_mutexattr_init(&ma);
	pthread_mutexattr_setpshared(&ma, PTHREAD_PROCESS_SHARED);
	EQ(pthread_mutex_init(&s->mutex, &ma), 0);
	pthread_condattr_init(&ca);
	pthread_condattr_setpshared(&ca, PTHREAD_PROCESS_SHARED);
	EQ(pthread_cond_init(&s->cond, &ca), 0);
	pthread_rwlockattr_init(&ra);
	pthread_rwlockattr_setpshared(&ra, PTHREAD_PROCESS_SHARED);
	EQ(pthread_rwlock_init(&s->rwlock, &ra), 0);
	pthread_barrierattr_init(&ba);
	pthread_barrierattr_setpshared(&ba, PTHREAD_PROCESS_SHARED);
	EQ(pthread_barrier_init(&s->barrier, &ba, 4 * (CHILDREN + 1)), 0);
	EQ(sem_init(&s->sem, 1, 3), 0);
}

int main(void) {
	pid_t child[CHILDREN];
	int status;
	objects_init();
	snprintf(name, sizeof name, "/goshim-test-%d", (int)getpid());
	sem_t *named = sem_open(name, O_CREAT | O_EXCL, 0600, 0);
	CHECK(named != SEM_FAILED);
	fflush(stdout);
	for (int i = 0; i < CHILDREN; i++) {
		if ((child[i] = fork()) == 0) {
			long serial = work();
			if (i == 0)
				turns(1);
			sem_t *mine = sem_open(name, 0);
			for (int j = 0; j < 50; j++)
				sem_post(mine);
			_exit(failures ? 99 : (int)serial);
		}
	}
	long serial = work();
	pthread_t t = start(turns_thread, (void *)0);
	for (int j = 0; j < 50 * CHILDREN; j++)
		EQ(sem_wait(named), 0);
	join(t);
	for (int i = 0; i < CHILDREN; i++) {
		EQ(waitpid(child[i], &status, 0), child[i]);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) != 99);
		serial += WEXITSTATUS(status);
	}
	sem_unlink(name);
	EQ(s->counter, THREADS * ROUNDS * (CHILDREN + 1));
	EQ(s->copy, 2 * THREADS * ROUNDS * (CHILDREN + 1));
	EQ(s->torn, 0);
	EQ(serial, 10);
	EQ(s->turn, 2 * ROUNDS);
	printf("%s\n", failures ? "failed" : "shared");
	return failures != 0;
}
