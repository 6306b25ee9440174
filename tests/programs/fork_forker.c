/* In the child of a fork, the thread that forked is what it was: its stack, its name, joinable or detached. Before the child makes threads, after that,
 * and in a child of its own. FRK-1 */
#include "sync_test.h"

#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define MIB (1ul << 20)

static size_t size_wanted, guard_wanted;
static int state_wanted;
static const char *name_wanted;

static void name_check(void) {
	char text[32] = "?";
	EQ(pthread_getname_np(pthread_self(), text, sizeof text), 0);
	CHECK(strcmp(text, name_wanted) == 0);
	EQ(prctl(PR_GET_NAME, text), 0);
	CHECK(strcmp(text, name_wanted) == 0);
	comm_check(name_wanted);
}

/* As a collector of garbage does, that looks for pointers. */
static void stack_scan(pthread_t thread, int own) {
	pthread_attr_t attr;
	void *lo = NULL;
	size_t size = 0, guard = 0;
	int state = -1;
	uintptr_t sum = 0;
	EQ(pthread_getattr_np(thread, &attr), 0);
	EQ(pthread_attr_getstack(&attr, &lo, &size), 0);
	EQ(pthread_attr_getguardsize(&attr, &guard), 0);
	EQ(pthread_attr_getdetachstate(&attr, &state), 0);
	pthread_attr_destroy(&attr);
	uintptr_t *at = __builtin_frame_address(0);
	if (own)
		CHECK((char *)at > (char *)lo && (char *)at < (char *)lo + size);
	else
		at = (uintptr_t *)((char *)lo + size - 4096);
	for (; (char *)at < (char *)lo + size; at++)
		sum += *(volatile uintptr_t *)at;
	CHECK(sum != 0);
	EQ(state, state_wanted);
	if (size_wanted) {
		EQ(size, size_wanted);
		EQ(guard, guard_wanted);
	}
}

static void *from_outside(void *arg) {
	char mine[16] = "?";
	prctl(PR_GET_NAME, mine);
	CHECK(strcmp(mine, name_wanted) == 0);
	stack_scan(*(pthread_t *)arg, 0);
	return NULL;
}

static void self_check(void) {
	pthread_t self = pthread_self();
	name_check();
	stack_scan(self, 1);
	EQ(pthread_join(self, NULL), state_wanted == PTHREAD_CREATE_DETACHED ? EINVAL : EDEADLK);
	EQ(pthread_tryjoin_np(self, NULL), EBUSY);
}

static pid_t child(void (*what)(void)) {
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		alarm(20);
		self_check();
		what();
		fflush(stdout);
		_exit(failures != 0);
	}
	return pid;
}

static void waited(pid_t pid) {
	int status = -1;
	CHECK(pid > 0);
	EQ(waitpid(pid, &status, 0), pid);
	EQ(status, 0);
}

static void nothing(void) {
}

static void forks_again(void) {
	waited(child(nothing));
}

static void makes_threads(void) {
	pthread_t self = pthread_self();
	join(start(from_outside, &self));
	self_check();
	forks_again();
}

static void detaches(void) {
	EQ(pthread_detach(pthread_self()), state_wanted == PTHREAD_CREATE_DETACHED ? EINVAL : 0);
	EQ(pthread_detach(pthread_self()), EINVAL);
	state_wanted = PTHREAD_CREATE_DETACHED;
	self_check();
	makes_threads();
}

static void forks(void) {
	waited(child(nothing));
	waited(child(forks_again));
	waited(child(makes_threads));
	waited(child(detaches));
}

static sem_t done;

static void *thread(void *name) {
	name_wanted = name;
	EQ(pthread_setname_np(pthread_self(), name), 0);
	forks();
	sem_post(&done);
	return NULL;
}

static void run(pthread_attr_t *attr, size_t size, size_t guard, int state, char *name) {
	pthread_t t;
	size_wanted = size;
	guard_wanted = guard;
	state_wanted = state;
	EQ(pthread_attr_setdetachstate(attr, state), 0);
	EQ(pthread_create(&t, attr, thread, name), 0);
	sem_take(&done);
	if (state == PTHREAD_CREATE_JOINABLE)
		join(t);
	pthread_attr_destroy(attr);
	step(name);
}

static volatile int stop;

static void *spins(void *arg) {
	while (!stop)
		;
	return arg;
}

int main(void) {
	pthread_attr_t attr;
	test_begin();
	sem_init(&done, 0, 0);
	pthread_attr_init(&attr);
	run(&attr, 0, 0, PTHREAD_CREATE_JOINABLE, "any size");
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 12 * MIB); /* more than libc may have kept of another thread */
	run(&attr, 12 * MIB, 4096, PTHREAD_CREATE_JOINABLE, "its own size");
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 16 * MIB);
	pthread_attr_setguardsize(&attr, 8000);
	run(&attr, 16 * MIB, 8192, PTHREAD_CREATE_DETACHED, "detached");
	void *own = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_attr_init(&attr);
	pthread_attr_setstack(&attr, own, MIB);
	run(&attr, MIB, 0, PTHREAD_CREATE_JOINABLE, "its own stack");

	/* Main, wherever it runs. */
	pthread_t t[3];
	for (int i = 0; i < 3; i++)
		t[i] = start(spins, NULL);
	size_wanted = 0;
	state_wanted = PTHREAD_CREATE_JOINABLE;
	name_wanted = "renamed";
	EQ(prctl(PR_SET_NAME, name_wanted), 0);
	for (int i = 0; i < 5; i++) {
		usleep(2000);
		waited(child(nothing));
	}
	forks();
	stop = 1;
	for (int i = 0; i < 3; i++)
		join(t[i]);
	step("main");
	return failures != 0;
}
