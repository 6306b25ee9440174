/* Main has ended by pthread_exit(): nobody gets what is sent to it, by its handle or its number; what is sent to the process, others do. While main is in a
 * destructor of its data, it is still there. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_t main_thread;
static pthread_key_t key;
static pthread_barrier_t in_destructor, sent;
static volatile int handled, by_main;

static void handler(int sig) {
	by_main += pthread_equal(pthread_self(), main_thread);
	handled++;
}

static void destructor(void *arg) {
	pthread_barrier_wait(&in_destructor);
	pthread_barrier_wait(&sent);
}

static void show(const char *what, int r) {
	for (int i = 0; i < 20; i++)
		usleep(200);
	printf("%s: %d, handled %d, by main %d\n", what, r, handled, by_main);
	fflush(stdout);
	handled = by_main = 0;
}

static void *idle(void *arg) {
	for (;;)
		usleep(500);
	return arg;
}

static void *thread(void *arg) {
	pthread_t t;
	for (int i = 0; i < 3; i++)
		pthread_create(&t, NULL, idle, NULL);
	pthread_barrier_wait(&in_destructor);
	int r = pthread_kill(main_thread, SIGUSR1);
	while (!handled)
		usleep(500);
	show("pthread_kill in destructor", r);
	pthread_barrier_wait(&sent);
	printf("join: %d\n", pthread_join(main_thread, NULL));
	show("pthread_kill", pthread_kill(main_thread, SIGUSR1));
	show("pthread_kill 0", pthread_kill(main_thread, 0));
	show("pthread_sigqueue", pthread_sigqueue(main_thread, SIGUSR1, (union sigval){0}));
	show("tgkill", tgkill(getpid(), getpid(), SIGUSR1));
	show("raw tgkill", (int)syscall(SYS_tgkill, getpid(), getpid(), SIGUSR1));
	show("raw tkill", (int)syscall(SYS_tkill, getpid(), SIGUSR1));
	show("tgkill 0", tgkill(getpid(), getpid(), 0));
	errno = 0;
	int bad = tgkill(getpid(), getpid(), 99);
	show("tgkill 99", bad < 0 ? errno : 0);
	show("kill", kill(getpid(), SIGUSR1));
	exit(0);
	return arg;
}

int main(void) {
	pthread_t t;
	alarm(20);
	main_thread = pthread_self();
	signal(SIGUSR1, handler);
	pthread_barrier_init(&in_destructor, NULL, 2);
	pthread_barrier_init(&sent, NULL, 2);
	pthread_key_create(&key, destructor);
	pthread_setspecific(key, &key);
	pthread_create(&t, NULL, thread, NULL);
	pthread_exit(NULL);
}
