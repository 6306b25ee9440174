/* A robust mutex in memory that processes share, whose owner is a thread of a process that is killed, or executes another program: the next one is told, here, also
 * if it waited already, and goes on. */
#include "robust_mutex.h"

#include <semaphore.h>
#include <signal.h>
#include <sys/wait.h>

enum { OWNERS = 3 };

static struct shared {
	pthread_mutex_t mutex[OWNERS];
	pthread_cond_t cond;
	sem_t held, go;
	int released;
} *s;

static void init(int type) {
	pthread_condattr_t ca;
	for (int i = 0; i < OWNERS; i++)
		robust_init(&s->mutex[i], PTHREAD_PROCESS_SHARED, PTHREAD_PRIO_NONE, type);
	pthread_condattr_init(&ca);
	pthread_condattr_setpshared(&ca, PTHREAD_PROCESS_SHARED);
	EQ(pthread_cond_init(&s->cond, &ca), 0);
	sem_init(&s->held, 1, 0);
	sem_init(&s->go, 1, 0);
	s->released = 0;
}

static void *owns(void *arg) {
	pthread_mutex_t private = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP, *m = &s->mutex[(long)arg];
	EQ(pthread_mutex_lock(&private), 0);
	EQ(pthread_mutex_lock(m), 0); /* one more that it has given back is no longer on the kernel's list */
	EQ(pthread_mutex_unlock(m), 0);
	EQ(pthread_mutex_lock(&private), EDEADLK);
	EQ(pthread_mutex_lock(m), 0);
	EQ(pthread_mutex_unlock(&private), 0);
	usleep(1000); /* parks with it */
	if ((long)arg == 1) { /* waits on a condition with it, and has it again */
		struct timespec soon = in_ms(CLOCK_REALTIME, 2);
		EQ(pthread_cond_timedwait(&s->cond, m, &soon), ETIMEDOUT);
	}
	sem_post(&s->held);
	for (;;)
		pause();
	return NULL;
}

enum how { KILLED, EXECUTES, EXITS, HOWS };
static const char *const names[] = {"killed", "executes", "exits"};

static pid_t owner_process(enum how how) {
	char *argv[] = {"true", NULL};
	pid_t pid = fork();
	if (pid)
		return pid;
	alarm(30);
	for (long i = 0; i < OWNERS; i++)
		start(owns, (void *)i);
	while (sem_wait(&s->go))
		continue;
	if (how == EXECUTES)
		execv("/bin/true", argv);
	if (how == EXITS)
		_exit(failures != 0);
	for (;;)
		pause();
}

static void *next(void *arg) {
	pthread_mutex_t *m = &s->mutex[(long)arg];
	int r = pthread_mutex_lock(m);
	if (r == EOWNERDEAD) {
		EQ(pthread_mutex_consistent(m), 0);
		EQ(pthread_mutex_unlock(m), 0);
		EQ(pthread_mutex_lock(m), 0);
		EQ(pthread_mutex_unlock(m), 0);
	}
	return (void *)(long)r;
}

static void round_of(enum how how, int type) {
	pthread_t waiter[OWNERS];
	int dead = 0, status;
	init(type);
	pid_t pid = owner_process(how);
	for (int i = 0; i < OWNERS; i++)
		while (sem_wait(&s->held))
			continue;
	for (int i = 0; i < OWNERS; i++)
		EQ(pthread_mutex_trylock(&s->mutex[i]), EBUSY);
	for (long i = 0; i < OWNERS - 1; i++)
		waiter[i] = start(next, (void *)i);
	usleep(5000);
	if (how == KILLED)
		kill(pid, SIGKILL);
	else
		sem_post(&s->go);
	EQ(waitpid(pid, &status, 0), pid);
	for (int i = 0; i < OWNERS - 1; i++)
		dead += join(waiter[i]) == EOWNERDEAD;
	dead += (long)next((void *)(OWNERS - 1L)) == EOWNERDEAD;
	printf("%s, type %d: %d told\n", names[how], type, dead);
}

static void *cancelled(void *arg) {
	int r = pthread_mutex_lock(&s->mutex[0]);
	sem_post(&s->held);
	pthread_cleanup_push((void (*)(void *))pthread_mutex_unlock, &s->mutex[0]);
	while (r == 0)
		pthread_cond_wait(&s->cond, &s->mutex[0]);
	pthread_cleanup_pop(1);
	return arg;
}

/* Threads of one process, too: ends, hand over, a wait that is cancelled. */
static void at_home(void) {
	void *result;
	init(PTHREAD_MUTEX_ERRORCHECK);
	pthread_t t = start(cancelled, NULL);
	sem_wait(&s->held);
	EQ(pthread_mutex_lock(&s->mutex[0]), 0); /* it waits */
	pthread_cancel(t);
	EQ(pthread_mutex_unlock(&s->mutex[0]), 0);
	EQ(pthread_join(t, &result), 0);
	CHECK(result == PTHREAD_CANCELED);
	EQ(pthread_mutex_trylock(&s->mutex[0]), 0);
	EQ(pthread_mutex_unlock(&s->mutex[0]), 0);
	EQ(join(start(next, (void *)0)), 0);
}

static void *rounds(void *arg) {
	for (int how = 0; how < HOWS; how++) {
		round_of(how, PTHREAD_MUTEX_NORMAL);
		round_of(how, PTHREAD_MUTEX_RECURSIVE);
		round_of(how, PTHREAD_MUTEX_ERRORCHECK);
	}
	for (int i = 0; i < 40; i++)
		at_home();
	return arg;
}

int main(void) {
	test_begin();
	s = robust_memory(sizeof *s);
	rounds(NULL);
	join(start(rounds, NULL)); /* and the next owner is not main */
	return test_end();
}
