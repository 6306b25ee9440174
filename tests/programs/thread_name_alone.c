/* A thread names itself with no descriptor free and with no /proc, main too, wherever it runs; and a name that ends where its memory does. */
#include "sync_test.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { DESCRIPTORS = 32 };
static volatile int stop;
static char empty[] = "/tmp/thread_name_aloneXXXXXX";

static void named(const char *name) {
	char text[16] = "?";
	EQ(prctl(PR_GET_NAME, text), 0);
	CHECK(strcmp(text, name) == 0);
}

static void names_itself(void) {
	char text[16] = "?";
	EQ(prctl(PR_SET_NAME, "by prctl"), 0);
	named("by prctl");
	usleep(500);
	named("by prctl");
	EQ(pthread_setname_np(pthread_self(), "by pthread"), 0);
	named("by pthread");
	usleep(500);
	EQ(pthread_getname_np(pthread_self(), text, sizeof text), 0);
	CHECK(strcmp(text, "by pthread") == 0);
}

static void *thread(void *arg) {
	names_itself();
	return arg;
}

static void *spins(void *arg) {
	while (!stop)
		;
	return arg;
}

static void all(void) {
	pthread_t t[3];
	stop = 0;
	for (int i = 0; i < 3; i++)
		t[i] = start(spins, NULL);
	for (int i = 0; i < 5; i++)
		names_itself();
	join(start(thread, NULL));
	stop = 1;
	for (int i = 0; i < 3; i++)
		join(t[i]);
}

static void no_descriptor(void) {
	struct rlimit before, few;
	int last = -1;
	getrlimit(RLIMIT_NOFILE, &before);
	few = before;
	few.rlim_cur = DESCRIPTORS;
	setrlimit(RLIMIT_NOFILE, &few);
	for (int fd; (fd = dup(0)) >= 0;)
		last = fd;
	all();
	for (int fd = 3; fd <= last; fd++)
		close(fd);
	setrlimit(RLIMIT_NOFILE, &before);
	EQ(pthread_setname_np(pthread_self(), "seen again"), 0);
	comm_check("seen again");
	step("no descriptor");
}

static void no_proc(void) {
	int status = -1;
	if (geteuid() == 0 && mkdtemp(empty)) {
		pid_t pid = fork();
		if (pid == 0) {
			alarm(20);
			join(start(thread, NULL));
			EQ(chroot(empty), 0);
			all();
			_exit(failures != 0);
		}
		waitpid(pid, &status, 0);
		EQ(status, 0);
		rmdir(empty);
	}
	step("no /proc");
}

static void *bad_names(void *arg) {
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(page + 4096, 4096);
	memset(page, 'n', 4096);
	EQ(prctl(PR_SET_NAME, "good"), 0);
	EQ(prctl(PR_SET_NAME, page + 4090), -1);
	EQ(errno, EFAULT);
	named("good");
	EQ(prctl(PR_SET_NAME, page + 4096), -1);
	EQ(errno, EFAULT);
	EQ(prctl(PR_SET_NAME, page + 4081), 0); /* fifteen bytes: no more are looked at */
	named("nnnnnnnnnnnnnnn");
	page[4095] = '\0';
	EQ(prctl(PR_SET_NAME, page + 4090), 0);
	named("nnnnn");
	munmap(page, 4096);
	return arg;
}

int main(void) {
	test_begin();
	join(start(thread, NULL));
	no_descriptor();
	no_proc();
	join(start(bad_names, NULL));
	bad_names(NULL);
	step("bad names");
	return failures != 0;
}
