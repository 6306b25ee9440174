/* The program's malloc() waits with its lock held, in a thread that is inside a call of libc's which makes a thread or a process (timer_create, aio_read, popen, posix_spawn), while kernel threads
 * are needed that cannot be made meanwhile, because making one takes the same malloc(). Everybody goes on. */
#include <aio.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);

extern char **environ;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local int waits; /* so many allocations */
static _Atomic int waited;

static void take_turns(void) {
	if (pthread_mutex_lock(&lock) != 0)
		abort();
	if (waits > 0) {
		waits--;
		waited++;
		usleep(20000);
	}
	pthread_mutex_unlock(&lock);
}

void *malloc(size_t size) {
	take_turns();
	return __libc_malloc(size);
}

void *calloc(size_t n, size_t size) {
	take_turns();
	return __libc_calloc(n, size);
}

static void told(union sigval value) {
	(void)value;
}

static void make_timer(void) {
	struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = told};
	timer_t timer;
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) == 0)
		timer_delete(timer);
}

static void read_aside(void) {
	char c;
	struct aiocb request = {.aio_fildes = open("/dev/zero", O_RDONLY), .aio_buf = &c, .aio_nbytes = 1};
	const struct aiocb *all[] = {&request};
	if (aio_read(&request) == 0)
		aio_suspend(all, 1, NULL);
	close(request.aio_fildes);
}

static void run_command(void) {
	FILE *f = popen("true", "r");
	if (f)
		pclose(f);
}

static void spawn(void) {
	char *argv[] = {"true", NULL};
	posix_spawn_file_actions_t actions;
	pid_t pid;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	if (posix_spawnp(&pid, "true", &actions, NULL, argv, environ) == 0)
		waitpid(pid, NULL, 0);
	posix_spawn_file_actions_destroy(&actions);
}

static void (*const calls[])(void) = {make_timer, read_aside, run_command, spawn};

static void *run(void *arg) {
	waits = 2;
	calls[(long)arg]();
	waits = 0;
	return arg;
}

int main(void) {
	pthread_t t;
	setvbuf(stdout, NULL, _IONBF, 0);
	alarm(60);
	for (long i = 0; i < 4; i++) {
		waited = 0;
		pthread_create(&t, NULL, run, (void *)i);
		pthread_join(t, NULL);
		printf("call %ld: %s\n", i, waited ? "waited" : "did not wait");
	}
	return 0;
}
