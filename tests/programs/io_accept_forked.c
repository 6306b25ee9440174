/* Forked processes with one to three threads each in accept() on the listener they inherited: each connection is answered, once, and wakes few: not a thread
 * of every process. None is lost when all but one thread wait for something else, nor when a process is killed as it comes. */
#include "io_test.h"

#include <dirent.h>
#include <limits.h>
#include <sys/mman.h>

enum { PROCESSES = 16, THREADS = (PROCESSES + 2) / 3 * 6 - 5, BATCHES = 40, BATCH = 50, AGAIN = 60, KILLS = 40, SWITCHES = 8, PATIENCE_S = 30 };
_Static_assert(PROCESSES % 3 == 1, "THREADS is the sum of 1, 2, 3, 1, 2, 3, ..., 1");

static int l;
static struct sockaddr_in at;
static pid_t pids[PROCESSES];
static int *answered; /* by all processes, how often which connection was */

/* Answers each number that a client sends; the connection is the client's as long as it likes. */
static void *acceptor(void *arg) {
	for (;;) {
		int number, fd = accept(l, NULL, NULL);
		if (fd < 0)
			_exit(3);
		while (read(fd, &number, sizeof number) == sizeof number) {
			__atomic_fetch_add(&answered[number], 1, __ATOMIC_RELAXED);
			if (write(fd, &number, sizeof number) < 0)
				break;
		}
		close(fd);
	}
	return arg;
}

static void worker(int i) {
	pid_t pid = fork();
	if (pid == 0) {
		for (int n = 0; n < i % 3; n++)
			start(acceptor, NULL);
		join(start(acceptor, NULL));
	}
	pids[i] = pid;
}

/* How often the kernel threads of all processes have gone to sleep. */
static long switches(void) {
	long sum = 0;
	for (int i = 0; i < PROCESSES; i++) {
		char path[300], line[200];
		snprintf(path, sizeof path, "/proc/%d/task", pids[i]);
		DIR *tasks = opendir(path);
		for (struct dirent *e; tasks && (e = readdir(tasks));) {
			long n;
			snprintf(path, sizeof path, "/proc/%d/task/%s/status", pids[i], e->d_name);
			FILE *f = fopen(path, "r");
			while (f && fgets(line, sizeof line, f))
				sum += sscanf(line, "voluntary_ctxt_switches: %ld", &n) == 1 ? n : 0;
			if (f)
				fclose(f);
		}
		if (tasks)
			closedir(tasks);
	}
	return sum;
}

static int call(void) {
	int fd = dial(&at);
	struct timeval patience = {PATIENCE_S, 0};
	EQ(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
	return fd;
}

/* False: whoever took it is dead. */
static bool ask(int fd, int number) {
	int back = -1;
	ssize_t n = send(fd, &number, sizeof number, MSG_NOSIGNAL);
	if (n == sizeof number)
		n = read(fd, &back, sizeof back);
	if (n > 0) {
		EQ(back, number);
		return true;
	}
	if (n < 0 && errno == EAGAIN) {
		printf("FAIL connection %d is lost\n", number);
		exit(1);
	}
	return false;
}

int main(void) {
	int next = 0, held[THREADS];
	alarm(120);
	answered = mmap(NULL, (BATCHES * BATCH + THREADS + AGAIN + KILLS) * sizeof *answered, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	l = listener(128, &at);
	for (int i = 0; i < PROCESSES; i++)
		worker(i);
	/* The batch with the fewest: on a machine that is busy otherwise, what is done each millisecond counts in every one. */
	long fewest = LONG_MAX;
	for (int batch = 0; batch < BATCHES; batch++) {
		long before = switches();
		for (int i = 0; i < BATCH; i++) {
			int fd = call();
			CHECK(ask(fd, next++));
			close(fd);
		}
		long n = switches() - before;
		fewest = n < fewest ? n : fewest;
	}
	/* Forced bad luck puts threads to sleep that had something to do, 250 to 400 times a batch: then it tells nothing. */
	const char *settings = getenv("GOSHIM");
	if (fewest >= SWITCHES * BATCH && !(settings && strstr(settings, "chaos="))) {
		printf("FAIL %ld switches for %d connections\n", fewest, BATCH);
		failures++;
	}
	done("all are answered, and few are woken");
	for (int i = 0; i < THREADS - 1; i++) {
		held[i] = call();
		CHECK(ask(held[i], next++));
	}
	for (int i = 0; i < AGAIN; i++) {
		int fd = call();
		CHECK(ask(fd, next++));
		close(fd);
	}
	for (int i = 0; i < THREADS - 1; i++)
		close(held[i]);
	for (int i = 0; i < next; i++)
		EQ(answered[i], 1);
	done("one thread is left");
	for (int i = 0; i < KILLS; i++) {
		int fd, victim = i % PROCESSES;
		kill(pids[victim], SIGKILL);
		fd = call();
		while (!ask(fd, next)) {
			close(fd);
			fd = call();
		}
		close(fd);
		next++;
		EQ(waitpid(pids[victim], NULL, 0), pids[victim]);
		worker(victim);
	}
	done("one process is killed");
	for (int i = 0; i < PROCESSES; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
	return failures != 0;
}
