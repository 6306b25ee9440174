/* Objects as old and as unusual programs have them: condition variables by the symbol version of the first x86-64 glibc (SYN-4), and all functions that
 * wait for and wake an object from one library, because half a family would meet waiters of the other half (SYN-5). */
#include <dlfcn.h>
#include <link.h>

#include "sync_test.h"

/* What a program linked twenty years ago calls. */
extern int old_init(pthread_cond_t *, const pthread_condattr_t *), old_destroy(pthread_cond_t *), old_signal(pthread_cond_t *);
extern int old_wait(pthread_cond_t *, pthread_mutex_t *), old_broadcast(pthread_cond_t *);
extern int old_timedwait(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
__asm__(".symver old_init, pthread_cond_init@GLIBC_2.2.5");
__asm__(".symver old_destroy, pthread_cond_destroy@GLIBC_2.2.5");
__asm__(".symver old_signal, pthread_cond_signal@GLIBC_2.2.5");
__asm__(".symver old_broadcast, pthread_cond_broadcast@GLIBC_2.2.5");
__asm__(".symver old_wait, pthread_cond_wait@GLIBC_2.2.5");
__asm__(".symver old_timedwait, pthread_cond_timedwait@GLIBC_2.2.5");

enum { TURNS = 2000 };
static struct {
	pthread_mutex_t m;
	pthread_cond_t c[2];
	int turn, ended;
} p = {.m = PTHREAD_MUTEX_INITIALIZER, .c = {PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER}};

static void *plays(void *arg) {
	int me = (int)(long)arg;
	pthread_mutex_lock(&p.m);
	for (int i = 0; i < TURNS; i++) {
		while (p.turn != me)
			old_wait(&p.c[me], &p.m);
		p.turn = !me;
		old_signal(&p.c[!me]);
	}
	p.ended++;
	pthread_mutex_unlock(&p.m);
	return NULL;
}

static void *waits(void *arg) {
	pthread_mutex_lock(&p.m);
	p.ended++;
	while (p.ended < 100)
		old_wait(arg, &p.m);
	pthread_mutex_unlock(&p.m);
	return NULL;
}

static void old_version(void) {
	pthread_t t[8];
	struct timespec past = {0, 0};
	pthread_cond_t c;
	for (long i = 0; i < 2; i++)
		t[i] = start(plays, (void *)i);
	for (int i = 0; i < 2; i++)
		join(t[i]);
	EQ(p.ended, 2);
	EQ(old_init(&c, NULL), 0);
	pthread_mutex_lock(&p.m);
	EQ(old_timedwait(&c, &p.m, &past), ETIMEDOUT);
	pthread_mutex_unlock(&p.m);
	p.ended = 0;
	for (int i = 0; i < 8; i++)
		t[i] = start(waits, &c);
	for (bool all = false; !all; sched_yield()) {
		pthread_mutex_lock(&p.m);
		all = p.ended == 8;
		if (all)
			p.ended = 100;
		pthread_mutex_unlock(&p.m);
	}
	EQ(old_broadcast(&c), 0);
	for (int i = 0; i < 8; i++)
		join(t[i]);
	EQ(old_destroy(&c), 0);
	step("old condition variables");
}

static const char *const families[][24] = {
	{"pthread_mutex_lock", "pthread_mutex_trylock", "pthread_mutex_timedlock", "pthread_mutex_clocklock",
	 "pthread_mutex_unlock"},
	{"pthread_cond_init", "pthread_cond_destroy", "pthread_cond_wait", "pthread_cond_timedwait", "pthread_cond_clockwait", "pthread_cond_signal",
	 "pthread_cond_broadcast"},
	{"pthread_rwlock_rdlock", "pthread_rwlock_tryrdlock", "pthread_rwlock_timedrdlock",
	 "pthread_rwlock_clockrdlock", "pthread_rwlock_wrlock", "pthread_rwlock_trywrlock", "pthread_rwlock_timedwrlock", "pthread_rwlock_clockwrlock",
	 "pthread_rwlock_unlock"},
	{"pthread_spin_init", "pthread_spin_destroy", "pthread_spin_lock", "pthread_spin_trylock", "pthread_spin_unlock"},
	{"pthread_barrier_wait", "pthread_barrier_destroy"},
	{"sem_wait", "sem_trywait", "sem_timedwait", "sem_clockwait", "sem_post"},
	{"mtx_lock", "mtx_trylock", "mtx_timedlock", "mtx_unlock"},
	{"cnd_init", "cnd_wait", "cnd_timedwait", "cnd_signal", "cnd_broadcast", "cnd_destroy"},
	{"pthread_getspecific", "pthread_setspecific", "tss_get", "tss_set"},
	{"pthread_key_create", "pthread_key_delete", "tss_create", "tss_delete"},
	{"pthread_create", "pthread_join", "pthread_tryjoin_np", "pthread_timedjoin_np", "pthread_clockjoin_np", "pthread_detach", "pthread_exit",
	 "pthread_kill", "pthread_cancel", "pthread_sigqueue", "pthread_getattr_np", "thrd_create", "thrd_join", "thrd_detach", "thrd_exit"},
};

/* The object file that has it first, as far as the loader is concerned. */
static uintptr_t home(const char *name) {
	Dl_info info;
	void *f = dlsym(RTLD_DEFAULT, name);
	return f && dladdr(f, &info) ? (uintptr_t)info.dli_fbase : 0;
}

int main(void) {
	test_begin();
	old_version();
	for (unsigned i = 0; i < sizeof families / sizeof *families; i++) {
		uintptr_t first = home(families[i][0]);
		CHECK(first != 0);
		for (int k = 1; families[i][k]; k++) {
			if (home(families[i][k]) != first) {
				printf("%s and %s are not of one library\n", families[i][0], families[i][k]);
				failures++;
			}
		}
		step(families[i][0]);
	}
	return test_end();
}
