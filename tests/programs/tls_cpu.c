/* Which CPU, and restartable sequences: sched_getcpu() agrees with the kernel as far as it can; the rseq area is either kept by the kernel
 * or says that it is not (TLS-9). */
#include "sync_test.h"

#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>

static long cpus;

static void *thread(void *arg) {
	long wrong = 0, agreed = 0;
	struct rseq *area = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
	for (int i = 0; i < 400; i++) {
		unsigned cpu = 0, before = 0, after = 0;
		syscall(SYS_getcpu, &before, NULL, NULL);
		int said = sched_getcpu();
		EQ(getcpu(&cpu, NULL), 0);
		syscall(SYS_getcpu, &after, NULL, NULL);
		wrong += said < 0 || said >= cpus || (long)cpu >= cpus;
		agreed += before == after && (unsigned)said == before && cpu == before;
		if (__rseq_size) {
			unsigned noted = __atomic_load_n(&area->cpu_id, __ATOMIC_RELAXED);
			syscall(SYS_getcpu, &after, NULL, NULL);
			wrong += (int)noted >= 0 && noted >= cpus;
		}
		if (i % 20 == 0)
			usleep(10);
		else
			sched_yield();
	}
	wrong += agreed < 200; /* a thread that is moved between two calls may disagree, not always */
	(void)arg;
	return (void *)wrong;
}

int main(void) {
	pthread_t t[50];
	test_begin();
	cpus = sysconf(_SC_NPROCESSORS_CONF);
	for (int i = 0; i < 50; i++)
		t[i] = start(thread, NULL);
	for (int i = 0; i < 50; i++)
		EQ(join(t[i]), 0);
	EQ((long)thread(NULL), 0);
	return test_end();
}
