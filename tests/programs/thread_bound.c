/* Main binds itself to a CPU before it makes a thread, and gives that another CPU, as OpenMP's runtime does for OMP_PROC_BIND; later it gives itself all again.
 * What one thread has is no bound to what another may ask for. */
#include "sync_test.h"

#include <sched.h>
#include <sys/syscall.h>

static int cpu[2], cpus;
static cpu_set_t all;

static cpu_set_t only(int n) {
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(n, &set);
	return set;
}

static cpu_set_t own(void) {
	cpu_set_t set;
	CHECK(pthread_getaffinity_np(pthread_self(), sizeof set, &set) == 0);
	return set;
}

static void *is_on_second(void *arg) {
	cpu_set_t has = own(), second = only(cpu[1]);
	CHECK(CPU_EQUAL(&has, &second));
	CHECK(sched_setaffinity(0, sizeof all, &all) == 0);
	has = own();
	CHECK(CPU_EQUAL(&has, &all));
	return arg;
}

/* What the system call says of a set of so many bytes: as long as there are CPUs, or an error. */
static void by_size(long says[12]) {
	static const size_t sizes[12] = {0, 4, 8, 12, 16, 24, 64, 128, 136, 1024, 2048, 4096};
	static unsigned long set[512];
	for (int i = 0; i < 12; i++) {
		errno = 0;
		says[i] = syscall(SYS_sched_getaffinity, 0, sizes[i], set);
		says[i] = says[i] < 0 ? -errno : says[i];
	}
}

static void *by_size_here(void *before) {
	long says[12];
	by_size(says);
	CHECK(memcmp(says, before, sizeof says) == 0);
	return NULL;
}

static _Atomic int asking;

/* Who only asks hears nothing of what another asks for. */
static void *asks(void *arg) {
	cpu_set_t first = only(cpu[0]);
	while (asking) {
		cpu_set_t has = own();
		CHECK(CPU_EQUAL(&has, &first));
		sched_yield();
	}
	return arg;
}

static void *does_nothing(void *arg) {
	return arg;
}

int main(void) {
	pthread_attr_t attr;
	pthread_t t;
	long says[12];
	by_size(says);
	CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
	for (int i = 0; i < CPU_SETSIZE && cpus < 2; i++) {
		if (CPU_ISSET(i, &all))
			cpu[cpus++] = i;
	}
	if (cpus < 2) {
		puts("needs two CPUs");
		return 0;
	}
	cpu_set_t first = only(cpu[0]), second = only(cpu[1]), none = only(CPU_SETSIZE - 1);
	CHECK(pthread_setaffinity_np(pthread_self(), sizeof first, &first) == 0);
	CHECK(pthread_attr_init(&attr) == 0 && pthread_attr_setaffinity_np(&attr, sizeof second, &second) == 0);
	asking = 1;
	pthread_t asker = start(asks, NULL);
	for (int i = 0; i < 300; i++) {
		CHECK(pthread_create(&t, &attr, is_on_second, NULL) == 0 && pthread_join(t, NULL) == 0);
		cpu_set_t has = own();
		CHECK(CPU_EQUAL(&has, &first));
	}
	asking = 0;
	join(asker);
	if (!CPU_ISSET(CPU_SETSIZE - 1, &all)) {
		CHECK(pthread_setaffinity_np(pthread_self(), sizeof none, &none) == EINVAL);
		CHECK(pthread_attr_setaffinity_np(&attr, sizeof none, &none) == 0);
		CHECK(pthread_create(&t, &attr, does_nothing, NULL) == EINVAL);
	}
	CHECK(pthread_setaffinity_np(pthread_self(), sizeof all, &all) == 0);
	cpu_set_t has = own();
	CHECK(CPU_EQUAL(&has, &all));
	join(start(by_size_here, says));
	by_size_here(says);
	return test_end();
}
