/* The default stack size is what RLIMIT_STACK was when the process started; 2 MiB if that is unlimited (RES-5). Runs itself under limits. */
#include "sync_test.h"

#include <sys/resource.h>
#include <sys/wait.h>

__attribute__((noinline)) static int use_stack(size_t bytes) {
	volatile char frame[1024];
	frame[0] = 1;
	int r = bytes > 2048 ? use_stack(bytes - sizeof frame - 64) : 0;
	return r + frame[0];
}

static void *thread(void *arg) {
	pthread_attr_t attr;
	size_t size = 0;
	pthread_getattr_np(pthread_self(), &attr);
	pthread_attr_getstacksize(&attr, &size);
	pthread_attr_destroy(&attr);
	CHECK(size >= (size_t)arg && size <= (size_t)arg + (64 << 10));
	CHECK(use_stack((size_t)arg - (16 << 10)) > 0);
	return NULL;
}

static void *returns(void *arg) {
	return arg;
}

static int child(void) {
	pthread_attr_t attr;
	size_t size = 0;
	pthread_attr_init(&attr);
	pthread_attr_getstacksize(&attr, &size);
	pthread_attr_destroy(&attr);
	printf("default: %zu KiB\n", size >> 10);
	for (int i = 0; i < 3; i++)
		join(start(thread, (void *)size));
	return failures;
}

int main(int argc, char **argv) {
	static const rlim_t limits[] = {RLIM_INFINITY, 128 << 10, 256 << 10, 1 << 20, 16 << 20};
	test_begin();
	if (argc > 1)
		return child();
	join(start(returns, NULL));
	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
		int status = 0;
		fflush(stdout);
		pid_t pid = fork();
		if (pid == 0) {
			struct rlimit rl = {limits[i], RLIM_INFINITY};
			if (setrlimit(RLIMIT_STACK, &rl) != 0)
				_exit(77);
			execl("/proc/self/exe", argv[0], "child", NULL);
			_exit(98);
		}
		EQ(waitpid(pid, &status, 0), pid);
		CHECK(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77));
	}
	return test_end();
}
