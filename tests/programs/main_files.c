/* Main's files in /proc, by the process's name and number: state and signal masks are main's, whoever asks, while others run and have masks of their own. */
#include "sleeping.h"

#include <pthread.h>
#include <signal.h>

static _Atomic pid_t main_tid;
static pthread_barrier_t turn;

static void lines_show(const char *text) {
	static const char *const keys[] = {"State:", "SigPnd:", "SigBlk:"};
	for (; *text; text += strcspn(text, "\n"), text += *text == '\n')
		for (int i = 0; i < 3; i++)
			if (strncmp(text, keys[i], strlen(keys[i])) == 0)
				printf("  %.*s\n", (int)strcspn(text, "\n"), text);
}

static void read_show(int fd) {
	char text[4096];
	ssize_t n = lseek(fd, 0, SEEK_SET) == 0 ? read(fd, text, sizeof text - 1) : -1;
	text[n > 0 ? n : 0] = '\0';
	lines_show(text);
}

static void show(const char *who, const char *format) {
	char path[64], text[4096];
	snprintf(path, sizeof path, format, (int)main_tid);
	printf("%s, %s\n", who, strchr(format, '%') ? format : path);
	int fd = open(path, O_RDONLY);
	read_show(fd);
	close(fd);
	FILE *f = fopen(path, "r");
	size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
	text[n] = '\0';
	lines_show(text);
	if (f)
		fclose(f);
}

static void show_all(const char *who) {
	show(who, "/proc/self/status");
	show(who, "/proc/%d/status");
	show(who, "/proc/self/task/%d/status");
}

static void block(int sig) {
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, sig);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void *other(void *arg) {
	block(SIGUSR1);
	block(SIGUSR2);
	pthread_kill(pthread_self(), SIGUSR1);
	pthread_barrier_wait(&turn);
	await_sleeping(&main_tid);
	show_all("another");
	pthread_barrier_wait(&turn);
	return arg;
}

int main(void) {
	pthread_t t;
	main_tid = getpid();
	setvbuf(stdout, NULL, _IONBF, 0);
	pthread_barrier_init(&turn, NULL, 2);
	block(SIGINT);
	pthread_create(&t, NULL, other, NULL);
	raise(SIGINT);
	show_all("main");
	int fd = open("/proc/self/status", O_RDONLY);
	pthread_barrier_wait(&turn);
	pthread_barrier_wait(&turn);
	block(SIGHUP);
	printf("read again\n");
	read_show(fd);
	pthread_join(t, NULL);
	return 0;
}
