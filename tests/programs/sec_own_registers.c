/* What the kernel or the CPU keeps per thread and few programs set is its thread's, too (SEC-1): the thread keyring, as it begins with the first key
 * that is added to it, GS base, ports, protection keys. */
#include "sync_test.h"

#include <sys/mman.h>
#include <sys/syscall.h>

enum { OWNERS = 4, OTHERS = 6, ROUNDS = 60, THREAD_KEYRING = -1, KEYCTL_SEARCH = 10, SET_GS = 0x1001, GET_GS = 0x1004 };

static _Atomic int stop;
static pthread_barrier_t all;

/* Keep all kernel threads that there are busy, and change places. */
static void *other(void *arg) {
	for (int i = 0; !stop; i++) {
		if (i % 4 == 0)
			usleep(200);
		else
			sched_yield();
	}
	return arg;
}

static long key_found(void) {
	return syscall(SYS_keyctl, KEYCTL_SEARCH, THREAD_KEYRING, "user", "sec_own_registers", 0);
}

static void *key_owner(void *arg) {
	long wrong = 0, key = syscall(SYS_add_key, "user", "sec_own_registers", "secret", 6, THREAD_KEYRING);
	pthread_barrier_wait(&all);
	for (int i = 0; i < ROUNDS && key > 0; i++) {
		usleep(200);
		wrong += i % 10 == 0 && key_found() != key;
	}
	pthread_barrier_wait(&all);
	(void)arg;
	return (void *)wrong;
}

static void *key_stranger(void *arg) {
	(void)arg;
	usleep(100);
	return (void *)(long)(key_found() > 0);
}

static void owners(void *(*owner)(void *)) {
	pthread_t t[OWNERS];
	long wrong = 0;
	for (long i = 0; i < OWNERS; i++)
		t[i] = start(owner, (void *)i);
	for (int i = 0; i < OWNERS; i++)
		wrong += join(t[i]);
	EQ(wrong, 0);
}

static void keys(void) {
	owners(key_owner);
	for (int i = 0; i < 20; i++)
		EQ(join(start(key_stranger, NULL)), 0);
	step("keys");
}

#ifdef __x86_64__
extern int arch_prctl(int code, unsigned long at);
extern int ioperm(unsigned long from, unsigned long count, int on), iopl(int level);

static void *gs_owner(void *arg) {
	unsigned long mine = 0x10000 + 16 * (unsigned long)arg, now = 0;
	long wrong = 0;
	pthread_barrier_wait(&all);
	EQ(arch_prctl(SET_GS, mine), 0);
	for (int i = 0; i < ROUNDS; i++) {
		usleep(200);
		EQ(arch_prctl(GET_GS, (unsigned long)&now), 0);
		wrong += now != mine;
	}
	pthread_barrier_wait(&all);
	return (void *)wrong;
}

static void registers(void) {
	errno = 0;
	EQ(arch_prctl(0x7777, 0), -1);
	EQ(errno, EINVAL);
	EQ(ioperm(70000, 1, 1), -1);
	CHECK(errno == EINVAL || errno == ENOSYS); /* a kernel may be built without */
	EQ(iopl(4), -1);
	CHECK(errno == EINVAL || errno == ENOSYS);
	owners(gs_owner);
}
#else
static void registers(void) {
}
#endif

static void *rights_owner(void *arg) {
	unsigned rights = (long)arg % 2 ? PKEY_DISABLE_WRITE : PKEY_DISABLE_ACCESS;
	long wrong = 0;
	int key = pkey_alloc(0, rights); /* most CPUs, and many kernels, have none */
	pthread_barrier_wait(&all);
	for (int i = 0; i < ROUNDS && key > 0; i++) {
		usleep(200);
		wrong += pkey_get(key) != (int)rights;
	}
	pthread_barrier_wait(&all);
	if (key > 0)
		EQ(pkey_free(key), 0);
	return (void *)wrong;
}

int main(void) {
	pthread_t o[OTHERS];
	test_begin();
	pthread_barrier_init(&all, NULL, OWNERS);
	for (int i = 0; i < OTHERS; i++)
		o[i] = start(other, NULL);
	keys();
	registers();
	step("registers");
	owners(rights_owner);
	step("protection keys");
	stop = 1;
	for (int i = 0; i < OTHERS; i++)
		join(o[i]);
	return test_end();
}
