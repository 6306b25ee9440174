/* A signal to the process goes to main unless main blocks it, whatever the other threads do: servers wait in pause() or join for it.
 * (The kernel makes an exception while main has another one pending, hence "most"; on a busy machine it makes many, hence the .out file.) */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int stop, left, here, elsewhere;
static pthread_t main_thread;

static void on_signal(int sig) {
	(void)sig;
	if (pthread_equal(pthread_self(), main_thread))
		here++;
	else
		elsewhere++;
}

static void *busy(void *arg) {
	while (!stop)
		;
	return arg;
}

static void *calls(void *arg) {
	while (!stop)
		usleep(200);
	return arg;
}

static void *sends(void *arg) {
	for (int i = 0; i < 200; i++) {
		int before = here, sent = elsewhere;
		kill(getpid(), SIGUSR1);
		while (here == before && elsewhere == sent)
			usleep(100);
	}
	stop = 1;
	while (!left) { /* it may just have looked at `stop` and be on its way into pause() */
		kill(getpid(), SIGUSR1);
		usleep(1000);
	}
	return arg;
}

static void *later(void *arg) {
	usleep(20000);
	kill(getpid(), SIGUSR1);
	usleep(20000);
	return arg;
}

int main(void) {
	/* NODEFER: who has counted one and lost its CPU before it returned must not look as if it blocked the next */
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_NODEFER};
	pthread_t t[4];
	main_thread = pthread_self();
	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGALRM, &sa, NULL);
	sigaction(SIGCHLD, &sa, NULL);
	pthread_create(&t[0], NULL, busy, NULL);
	pthread_create(&t[1], NULL, calls, NULL);
	pthread_create(&t[2], NULL, sends, NULL);
	while (!stop)
		pause();
	left = 1;
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	printf("on main: %s\n", here >= 180 ? "most" : "some");

	/* While main joins: the handler runs, the join goes on. */
	here = 0;
	pthread_create(&t[0], NULL, later, NULL);
	printf("join: %d", pthread_join(t[0], NULL));
	printf(", handler ran %d\n", here);

	here = 0;
	stop = 0;
	pthread_create(&t[0], NULL, calls, NULL);
	struct itimerval it = {{0, 5000}, {0, 5000}};
	setitimer(ITIMER_REAL, &it, NULL);
	while (here < 20)
		pause();
	it = (struct itimerval){{0, 0}, {0, 0}};
	setitimer(ITIMER_REAL, &it, NULL);
	printf("timer: %s\n", here >= 20 ? "ran" : "late");

	here = 0;
	pid_t pid = fork();
	if (pid == 0)
		_exit(3);
	while (!here)
		usleep(1000);
	int status;
	while (waitpid(pid, &status, 0) < 0)
		;
	printf("child: exit %d, SIGCHLD %s\n", WEXITSTATUS(status), here ? "seen" : "lost");
	stop = 1;
	pthread_join(t[0], NULL);
	return 0;
}
