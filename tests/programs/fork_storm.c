/* Many threads fork at once, while a timer's signals come in and threads come and go (FRK-1, FRK-16). */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FORKERS = 6, FORKS = 40 };
static volatile int stop, ticks;

static void on_alarm(int sig) {
	(void)sig;
	ticks++;
}

static void *short_lived(void *arg) {
	usleep(500);
	return arg;
}

static void *churn(void *arg) {
	while (!stop) {
		pthread_t t;
		if (pthread_create(&t, NULL, short_lived, NULL) == 0)
			pthread_join(t, NULL);
	}
	return arg;
}

static void *forks(void *arg) {
	long good = 0;
	for (int i = 0; i < FORKS; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			pthread_t t;
			void *r = NULL;
			if (i % 3 == 0) {
				if (pthread_create(&t, NULL, short_lived, &good) != 0)
					_exit(2);
				pthread_join(t, &r);
				_exit(r == &good ? 0 : 3);
			}
			_exit(0);
		}
		int status = 0;
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		good += WIFEXITED(status) && WEXITSTATUS(status) == 0;
	}
	return (void *)(good + 0 * (long)arg);
}

int main(void) {
	pthread_t t[FORKERS], c;
	struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
	struct itimerval it = {{0, 1000}, {0, 1000}}, none = {{0, 0}, {0, 0}};
	long good = 0;
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &it, NULL);
	pthread_create(&c, NULL, churn, NULL);
	for (int i = 0; i < FORKERS; i++)
		pthread_create(&t[i], NULL, forks, NULL);
	for (int i = 0; i < FORKERS; i++) {
		void *r;
		pthread_join(t[i], &r);
		good += (long)r;
	}
	stop = 1;
	pthread_join(c, NULL);
	setitimer(ITIMER_REAL, &none, NULL);
	printf("good children: %ld, ticks: %s\n", good, ticks > 10 ? "many" : "few");
	return 0;
}
