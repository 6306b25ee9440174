/* What pthread_getattr_np() says of a thread that was made with an attribute: its stack is as large as was asked for, is where its frames are,
 * and its CPUs are those of pthread_getaffinity_np(). MEM-11 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>

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

int main(void) {
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
	return 0;
}
