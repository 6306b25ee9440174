/* A process whose threads all wait, one of them for a child's end, for which no descriptor can be watched, does not wake to look after that (SCH-2). The child looks. */
#include "sync_test.h"

#include <dirent.h>
#include <sys/wait.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void *waits_for_main(void *arg) {
	EQ(pthread_mutex_lock(&mutex), 0);
	return arg;
}

/* How often the parent's kernel threads have gone to sleep. */
static long switches(void) {
	char name[300], line[200];
	long sum = 0, n;
	snprintf(name, sizeof name, "/proc/%d/task", getppid());
	DIR *tasks = opendir(name);
	for (struct dirent *e; (e = readdir(tasks));) {
		snprintf(name, sizeof name, "/proc/%d/task/%s/status", getppid(), e->d_name);
		FILE *f = fopen(name, "r");
		while (f && fgets(line, sizeof line, f))
			sum += sscanf(line, "voluntary_ctxt_switches: %ld", &n) == 1 ? n : 0;
		if (f)
			fclose(f);
	}
	closedir(tasks);
	return sum;
}

int main(void) {
	struct timespec long_enough_to_fall_idle = {0, 500000000}, watched = {1, 0}, for_the_other = {0, 100000000};
	int status;
	test_begin();
	EQ(pthread_mutex_lock(&mutex), 0);
	pid_t child = fork();
	if (!child) {
		nanosleep(&long_enough_to_fall_idle, NULL);
		long before = switches();
		nanosleep(&watched, NULL);
		long n = switches() - before;
		fprintf(stderr, "%ld switches in a second\n", n);
		_exit(n > 40); /* some 400, where somebody looks */
	}
	pthread_t t = start(waits_for_main, NULL);
	nanosleep(&for_the_other, NULL); /* nobody wants main's P when it begins to wait */
	EQ(waitpid(child, &status, 0), child);
	EQ(status, 0);
	step("idle");
	EQ(pthread_mutex_unlock(&mutex), 0);
	EQ(join(t), 0);
	return test_end();
}
