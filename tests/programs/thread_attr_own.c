/* What pthread_getattr_np() says of a thread that was made with an attribute: its stack is as large as was asked for, is where its frames are,
 * and its CPUs are those of pthread_getaffinity_np(). And of any thread: how it is scheduled, whether it is detached. MEM-11 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

static void *thread(void *arg) {
	size_t asked = *(size_t *)arg, size = 0, guard = 0;
	void *lo = NULL;
	cpu_set_t said, own;
	pthread_attr_t attr;
	char here;
	if (pthread_getattr_np(pthread_self(), &attr) != 0)
		return NULL;
	pthread_attr_getstack(&attr, &lo, &size);
	pthread_attr_getguardsize(&attr, &guard);
	printf("%zu: %s, frames %s, guard %zu\n", asked, size == asked ? "as asked" : "another size",
	       &here >= (char *)lo && &here < (char *)lo + size ? "inside" : "outside", guard);
	pthread_attr_getaffinity_np(&attr, sizeof said, &said);
	pthread_getaffinity_np(pthread_self(), sizeof own, &own);
	printf("CPUs %s\n", CPU_EQUAL(&said, &own) ? "equal" : "differ");
	pthread_attr_destroy(&attr);
	return NULL;
}

static pthread_barrier_t asked;

static void *waits(void *arg) {
	pthread_barrier_wait(&asked);
	return arg;
}

/* How it is scheduled, and whether somebody may join it. */
static void rest(const char *who, pthread_t t) {
	struct sched_param param = {-1};
	int policy = -1, inherit = -1, state = -1;
	pthread_attr_t attr;
	if (pthread_getattr_np(t, &attr) != 0)
		return;
	pthread_attr_getschedpolicy(&attr, &policy);
	pthread_attr_getschedparam(&attr, &param);
	pthread_attr_getinheritsched(&attr, &inherit);
	pthread_attr_getdetachstate(&attr, &state);
	pthread_attr_destroy(&attr);
	printf("%s: policy %d, priority %d, %s, %s\n", who, policy, param.sched_priority, inherit == PTHREAD_EXPLICIT_SCHED ? "explicit" : "inherited",
	       state == PTHREAD_CREATE_DETACHED ? "detached" : "joinable");
}

static void schedules(void) {
	static const size_t too_large[] = {-1ul, -4096ul, 1ul << 60};
	struct sched_param param = {0};
	pthread_t t[2];
	pthread_attr_t attr;
	pthread_barrier_init(&asked, NULL, 3);
	pthread_attr_init(&attr);
	pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
	pthread_create(&t[0], &attr, waits, NULL);
	pthread_create(&t[1], NULL, waits, NULL);
	rest("explicit", t[0]);
	printf("set: %d\n", pthread_setschedparam(t[1], SCHED_BATCH, &param));
	rest("batch", t[1]);
	pthread_detach(t[1]);
	rest("detached", t[1]);
	pthread_barrier_wait(&asked);
	pthread_join(t[0], NULL);
	pthread_attr_destroy(&attr);
	for (size_t i = 0; i < sizeof too_large / sizeof *too_large; i++) {
		pthread_attr_init(&attr);
		pthread_attr_setguardsize(&attr, too_large[i]);
		printf("guard of %zx: %d\n", too_large[i], pthread_create(t, &attr, thread, NULL));
		pthread_attr_destroy(&attr);
		pthread_attr_init(&attr);
		pthread_attr_setstacksize(&attr, too_large[i]);
		printf("stack of %zx: %d\n", too_large[i], pthread_create(t, &attr, thread, NULL));
		pthread_attr_destroy(&attr);
	}
	printf("set: %d\n", pthread_setschedparam(pthread_self(), SCHED_BATCH, &param));
	rest("main", pthread_self());
	pthread_detach(pthread_self());
	rest("main", pthread_self());
}

int main(void) {
	alarm(20);
	static size_t sizes[] = {1 << 20, (1 << 20) + 4096, 3 << 20, (8 << 20) + 65536, 64 << 20};
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		pthread_t t;
		pthread_attr_t attr;
		cpu_set_t one;
		int cpu = 0;
		pthread_attr_init(&attr);
		pthread_attr_setstacksize(&attr, sizes[i]);
		pthread_getaffinity_np(pthread_self(), sizeof one, &one);
		while (!CPU_ISSET(cpu, &one))
			cpu++;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (i % 2)
			pthread_attr_setaffinity_np(&attr, sizeof one, &one);
		if (pthread_create(&t, &attr, thread, &sizes[i]) != 0)
			return 1;
		pthread_join(t, NULL);
		pthread_attr_destroy(&attr);
	}
	schedules();
	return 0;
}
