/* Files that tell of news by POLLPRI, once for each that asks (/proc/mounts, /proc/sys/kernel/hostname, attributes of sysfs, pressure): poll() and select() that wait for it have it, alone or
 * with a pipe beside them. Without the right to change the name there is less to see. */
#include <sched.h>
#include <sys/select.h>

#include "io_test.h"

static int news, quiet[2];

static void *polls(void *arg) {
	struct pollfd p[2] = {{news, POLLPRI, 0}, {quiet[0], POLLIN, 0}};
	int n = poll(p, (nfds_t)(long)arg, 5000);
	printf("poll %d, %x, %x\n", n, p[0].revents, p[1].revents);
	return arg;
}

static void *selects(void *arg) {
	fd_set set;
	struct timeval time = {5, 0};
	FD_ZERO(&set);
	FD_SET(news, &set);
	int n = select(news + 1, NULL, NULL, &set, &time);
	printf("select %d, %d\n", n, FD_ISSET(news, &set) != 0);
	return arg;
}

static void told(void *(*waits)(void *), void *arg) {
	static int number;
	char text[64];
	news = open("/proc/sys/kernel/hostname", O_RDONLY);
	EQ(read(news, text, sizeof text) > 0, 1);
	pthread_t t = start(waits, arg);
	usleep(100000);
	snprintf(text, sizeof text, "news%d", ++number);
	EQ(sethostname(text, strlen(text)), 0);
	join(t);
	close(news);
}

int main(void) {
	EQ(pipe(quiet), 0);
	if (unshare(CLONE_NEWUTS) < 0) {
		printf("not allowed\n");
		return 0;
	}
	told(polls, (void *)1);
	told(polls, (void *)2);
	told(selects, NULL);
	printf("%d failures\n", failures);
	return failures != 0;
}
