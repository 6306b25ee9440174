/* setuid() changes each kernel thread once: with a saved id of root it gives back the effective id; done again, as root, it would change all three.
 * Threads that exist and one that is made afterwards agree. Without privileges there is nothing to see. SEC-2 */
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534

static pthread_barrier_t before, after;
static int wrong;

static void look(void) {
	uid_t r = 0, e = 0, s = 0;
	getresuid(&r, &e, &s);
	if (r != NOBODY || e != 0 || s != 0)
		__atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
}

static void *there(void *arg) {
	pthread_barrier_wait(&before);
	pthread_barrier_wait(&after);
	look();
	return arg;
}

static void *new(void *arg) {
	look();
	return arg;
}

static void *caller(void *arg) {
	if (setuid(0) != 0)
		__atomic_add_fetch(&wrong, 100, __ATOMIC_RELAXED);
	look();
	return arg;
}

static int child(int by_main) {
	pthread_t threads[3], setter, late;
	if (setresuid(NOBODY, NOBODY, -1) != 0)
		return 0;
	pthread_barrier_init(&before, NULL, 4);
	pthread_barrier_init(&after, NULL, 4);
	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, there, NULL);
	pthread_barrier_wait(&before);
	if (by_main) {
		caller(NULL);
	} else {
		pthread_create(&setter, NULL, caller, NULL);
		pthread_join(setter, NULL);
	}
	pthread_create(&late, NULL, new, NULL);
	pthread_join(late, NULL);
	pthread_barrier_wait(&after);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	look();
	return wrong;
}

int main(void) {
	for (int i = 0; i < 20; i++) {
		int status = -1;
		pid_t pid = geteuid() == 0 ? fork() : -1;
		if (pid == 0)
			_exit(child(i % 2));
		if (pid > 0)
			waitpid(pid, &status, 0);
		if (pid > 0 && status != 0)
			printf("round %d: %#x\n", i, status);
	}
	puts("end");
	return 0;
}
