/* What the kernel keeps per thread is its thread's: who set it keeps it wherever it waits, the others never see it, and a thread inherits its
 * creator's (SEC-1, SEC-3). */
#include "sync_test.h"

#include <semaphore.h>
#include <sys/fsuid.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { OTHERS = 20, SETTERS = 4, ROUNDS = 60 };

struct state {
	long slack, no_new_privs, fsuid, cpus, cpu0, persona;
};

static struct state state_now(void) {
	cpu_set_t set;
	CPU_ZERO(&set);
	sched_getaffinity(0, sizeof set, &set);
	return (struct state){.slack = prctl(PR_GET_TIMERSLACK),
	                      .no_new_privs = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0),
	                      .fsuid = setfsuid(-1),
	                      .cpus = CPU_COUNT(&set),
	                      .cpu0 = CPU_ISSET(0, &set),
	                      .persona = personality(0xffffffff)};
}

static bool same(struct state a, struct state b) {
	return memcmp(&a, &b, sizeof a) == 0;
}

static struct state clean;
static _Atomic int stop, running;

/* Never sees anything but what the process began with. */
static void *other(void *arg) {
	long wrong = 0;
	for (int i = 0; !stop || i < 5; i++) {
		wrong += !same(state_now(), clean);
		if (i % 4 == 0)
			usleep(200);
		else
			sched_yield();
	}
	(void)arg;
	return (void *)wrong;
}

static void *heir(void *arg) {
	struct state *wanted = arg;
	long wrong = 0;
	for (int i = 0; i < 20; i++) {
		wrong += !same(state_now(), *wanted);
		usleep(100);
	}
	return (void *)wrong;
}

static void *setter(void *arg) {
	long wrong = 0, n = (long)arg;
	struct state mine = clean;
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(0, &set);
	switch (n % SETTERS) {
	case 0:
		EQ(prctl(PR_SET_TIMERSLACK, 77000 + n), 0);
		mine.slack = 77000 + n;
		break;
	case 1:
		EQ(syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
		mine.no_new_privs = 1;
		break;
	case 2:
		if (clean.cpu0) {
			EQ(sched_setaffinity(0, sizeof set, &set), 0);
			mine.cpus = 1;
			EQ(sched_getcpu(), 0);
		}
		break;
	default:
		syscall(SYS_setfsuid, 54321); /* refused to all but root, who then has another */
		mine.fsuid = setfsuid(-1);
		personality(clean.persona | 0x0100000); /* SHORT_INODE, which means nothing here */
		mine.persona = clean.persona | 0x0100000;
		break;
	}
	running++;
	for (int i = 0; i < ROUNDS; i++) {
		wrong += !same(state_now(), mine);
		if (i % 3 == 0)
			usleep(300);
		else
			sched_yield();
	}
	pthread_t t;
	void *heirs = NULL;
	EQ(pthread_create(&t, NULL, heir, &mine), 0);
	pthread_join(t, &heirs);
	return (void *)(wrong + (long)heirs);
}

static void round_of(int setters) {
	pthread_t o[OTHERS], s[SETTERS];
	long wrong_others = 0, wrong_setters = 0;
	void *r;
	stop = 0;
	for (long i = 0; i < OTHERS; i++)
		pthread_create(&o[i], NULL, other, NULL);
	for (long i = 0; i < setters; i++)
		pthread_create(&s[i], NULL, setter, (void *)i);
	for (int i = 0; i < setters; i++) {
		pthread_join(s[i], &r);
		wrong_setters += (long)r;
	}
	stop = 1;
	for (int i = 0; i < OTHERS; i++) {
		pthread_join(o[i], &r);
		wrong_others += (long)r;
	}
	printf("%d setters: others %ld wrong, setters %ld wrong\n", setters, wrong_others, wrong_setters);
}

static void *last(void *arg) {
	usleep(20000);
	printf("the last thread: %s\n", same(state_now(), *(struct state *)arg) ? "inherited" : "wrong");
	exit(0);
}

int main(void) {
	static struct state wanted;
	pthread_t t;
	clean = state_now();
	round_of(0);
	for (int i = 0; i < 3; i++)
		round_of(SETTERS);
	round_of(0); /* whoever comes after them */
	/* main's own, and its end while others go on */
	wanted = clean;
	wanted.slack = 99000;
	prctl(PR_SET_TIMERSLACK, 99000);
	void *r;
	pthread_create(&t, NULL, heir, &wanted);
	pthread_join(t, &r);
	printf("main's heir: %ld wrong\n", (long)r);
	fflush(stdout);
	pthread_create(&t, NULL, last, &wanted);
	pthread_exit(NULL);
}
