/* Ways to end a process that has threads, each in a child: main returns while others run, wait, or are stuck; exit() in a thread, in two at
 * once, in a handler of exit; _exit, quick_exit; pthread_exit of main with others detached; a thread runs on during exit handlers
 * (EXT-1..3). What matters is the status, that handlers ran once, and that it ends at all. */
#include "sync_test.h"

#include <semaphore.h>
#include <signal.h>
#include <sys/wait.h>

static int report; /* where children write what happened, one byte each */
static volatile bool stop;

static void tell(char c) {
	if (write(report, &c, 1) != 1)
		_exit(99);
}

static void handler_a(void) {
	tell('a');
}

static void handler_b(void) {
	tell('b');
}

static void *spins(void *arg) {
	while (!stop)
		;
	return arg;
}

static void *yields(void *arg) {
	while (!stop)
		sched_yield();
	return arg;
}

static void *sleeps(void *arg) {
	sleep(100);
	return arg;
}

static void *stuck(void *fd) {
	char c;
	return (void *)read(*(int *)fd, &c, 1);
}

static void crowd(void) {
	static int fds[2];
	if (pipe(fds) != 0)
		_exit(98);
	for (int i = 0; i < 3; i++) {
		start(yields, NULL);
		start(sleeps, NULL);
		start(stuck, &fds[0]);
	}
	start(spins, NULL);
	usleep(2000);
}

/* For somebody else to end the process. */
static int waits(void) {
	while (pause() < 0)
		;
	return 1;
}

static int returns(void) {
	crowd();
	return 5;
}

static void *exits(void *arg) {
	exit((int)(long)arg);
}

static int thread_exits(void) {
	crowd();
	start(exits, (void *)6);
	return waits();
}

static int thread_exits_while_joined(void) {
	join(start(exits, (void *)7));
	return 1;
}

static pthread_barrier_t both;

static void *exits_together(void *arg) {
	pthread_barrier_wait(&both);
	exit((int)(long)arg);
}

static int two_exit(void) {
	pthread_barrier_init(&both, NULL, 2);
	start(exits_together, (void *)8);
	start(exits_together, (void *)8);
	return waits();
}

static void *ends_at_once(void *arg) {
	_exit((int)(long)arg);
}

static int thread_ends_process(void) {
	crowd();
	start(ends_at_once, (void *)9);
	return waits();
}

static void *quickly(void *arg) {
	quick_exit((int)(long)arg);
}

static void quick_handler(void) {
	tell('q');
}

static int thread_quick_exits(void) {
	at_quick_exit(quick_handler);
	crowd();
	start(quickly, (void *)10);
	return waits();
}

static sem_t first, second;

static void *works_on(void *arg) {
	sem_wait(&first);
	tell('w');
	sem_post(&second);
	return arg;
}

/* An exit handler works with a thread that still runs, and makes another one. */
static void handler_with_thread(void) {
	sem_post(&first);
	sem_wait(&second);
	pthread_t t;
	tell(pthread_create(&t, NULL, works_on, NULL) == 0 ? 'c' : 'n');
	sem_post(&first);
	pthread_join(t, NULL);
}

static int threads_in_handlers(void) {
	atexit(handler_with_thread);
	start(works_on, NULL);
	return 11;
}

static void *last_one(void *arg) {
	usleep(10000);
	tell('l');
	return arg;
}

static int main_leaves(void) {
	for (int i = 0; i < 3; i++)
		pthread_detach(start(last_one, NULL));
	pthread_exit(NULL);
}

static void *leaves_main(void *arg) {
	(void)arg;
	usleep(5000);
	tell('x');
	exit(12);
}

static int main_leaves_thread_exits(void) {
	pthread_detach(start(leaves_main, NULL));
	pthread_exit(NULL);
}

static int only_main_leaves(void) {
	join(start(last_one, NULL));
	pthread_exit(NULL);
}

static void *raises(void *arg) {
	kill(getpid(), SIGTERM);
	return arg;
}

static int killed(void) {
	crowd();
	start(raises, NULL);
	return waits();
}

struct way {
	const char *name;
	int (*f)(void);
};

int main(void) {
	static const struct way ways[] = {
		{"main returns", returns},
		{"thread exits", thread_exits},
		{"thread exits while joined", thread_exits_while_joined},
		{"two exit", two_exit},
		{"_exit", thread_ends_process},
		{"quick_exit", thread_quick_exits},
		{"threads in handlers", threads_in_handlers},
		{"main leaves", main_leaves},
		{"main leaves, thread exits", main_leaves_thread_exits},
		{"only main leaves", only_main_leaves},
		{"killed", killed},
	};
	test_begin();
	start(sleeps, NULL); /* the parent is no stranger to threads */
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
		for (int round = 0; round < 3; round++) {
			int fds[2], status = 0;
			char text[64];
			fflush(stdout);
			if (pipe(fds) != 0)
				return 1;
			pid_t pid = fork();
			if (pid == 0) {
				close(fds[0]);
				report = fds[1];
				alarm(10);
				atexit(handler_a);
				atexit(handler_b);
				exit(ways[i].f());
			}
			close(fds[1]);
			size_t n = 0;
			ssize_t r;
			while (n < sizeof text - 1 && (r = read(fds[0], text + n, sizeof text - 1 - n)) > 0)
				n += (size_t)r;
			text[n] = '\0';
			close(fds[0]);
			EQ(waitpid(pid, &status, 0), pid);
			if (round == 0)
				printf("%s: %s %d \"%s\"\n", ways[i].name, WIFEXITED(status) ? "status" : "signal",
				       WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
				       ways[i].f == two_exit ? "" : text); /* one may end the process while the other is in a handler */
			else if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && ways[i].f != main_leaves && ways[i].f != only_main_leaves)
				printf("FAIL %s: status 0\n", ways[i].name);
		}
	}
	return test_end();
}
