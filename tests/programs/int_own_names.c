/* A program that has functions of its own with the names of libc's: another meaning, another signature. Nobody else may reach them, neither libc,
 * whose calls of write() & co. are its own affair, nor a preloaded library that has functions of these names, too. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>

static int reached;

#define OWN(name) \
	int own_##name(void) __asm__(#name); \
	int own_##name(void) { \
		reached++; \
		fputs("the program's own " #name "()\n", stderr); \
		_Exit(9); \
	}

OWN(read)
OWN(write)
OWN(readv)
OWN(writev)
OWN(poll)
OWN(ppoll)
OWN(select)
OWN(pselect)
OWN(recv)
OWN(recvfrom)
OWN(recvmsg)
OWN(send)
OWN(sendto)
OWN(sendmsg)
OWN(sendmmsg)
OWN(connect)
OWN(accept)
OWN(accept4)
OWN(socket)
OWN(wait4)
OWN(close)
OWN(close_range)
OWN(dup2)
OWN(dup3)
OWN(open)
OWN(open64)
OWN(openat)
OWN(fcntl)
OWN(ioctl)
OWN(pipe2)
OWN(kill)
OWN(pause)
OWN(prctl)
OWN(nanosleep)
OWN(clock_nanosleep)
OWN(clock_gettime)
OWN(sched_yield)
OWN(sigprocmask)
OWN(epoll_wait)
OWN(epoll_pwait)
OWN(syscall)
OWN(pthread_sigmask)
OWN(pthread_cond_wait)
OWN(pthread_cond_signal)
OWN(pthread_mutex_lock)
OWN(pthread_mutex_unlock)
OWN(pthread_mutex_timedlock)

static mtx_t lock;
static cnd_t changed;
static int turn;

/* Lines through a pipe, by stdio: read(), write(), close(), pipe2(), dup2(), wait4() inside libc. */
static void through_a_child(int i) {
	char line[64];
	FILE *p = popen("cat", "w");
	if (!p || fprintf(p, "line %d\n", i) < 0 || pclose(p) != 0)
		fputs("popen failed\n", stderr);
	p = popen("echo again", "r");
	if (!p || !fgets(line, sizeof line, p) || pclose(p) != 0)
		fputs("popen failed\n", stderr);
	else
		printf("%s", line);
	fflush(stdout);
}

static void *worker(void *arg) {
	int i = (int)(long)arg;
	mtx_lock(&lock);
	while (turn != i)
		cnd_wait(&changed, &lock);
	through_a_child(i);
	turn++;
	cnd_broadcast(&changed);
	mtx_unlock(&lock);
	thrd_sleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	thrd_yield();
	return NULL;
}

int main(void) {
	pthread_t threads[4];
	mtx_init(&lock, mtx_plain);
	cnd_init(&changed);
	for (long i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, worker, (void *)i);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	FILE *f = tmpfile();
	if (!f || fputs("file\n", f) < 0 || fclose(f) != 0)
		puts("tmpfile failed");
	printf("reached: %d\n", reached);
	return 0;
}
