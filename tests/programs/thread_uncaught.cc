// An exception that leaves a thread ends the process by SIGABRT, with the thread's stack not unwound.
#include <csignal>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <thread>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

struct Loud {
	~Loud() {
		std::puts("destroyed");
		std::fflush(stdout);
	}
};

static void throws() {
	throw std::runtime_error("nobody catches");
}

static int child(bool nothrow) {
	pid_t pid = fork();
	if (pid == 0) {
		rlimit none = {0, 0};
		setrlimit(RLIMIT_CORE, &none);
		close(2);
		std::thread([nothrow] {
			Loud loud;
			std::this_thread::yield();
			if (nothrow)
				[]() noexcept { throws(); }();
			throws();
		}).join();
		_exit(0);
	}
	int status = 0;
	waitpid(pid, &status, 0);
	return status;
}

int main() {
	std::thread([] {}).join();
	for (bool nothrow : {false, true}) {
		int status = child(nothrow);
		std::printf("%s\n", WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT ? "aborted" : "not aborted");
	}
	std::fflush(stdout);
	rlimit none = {0, 0};
	setrlimit(RLIMIT_CORE, &none);
	std::set_terminate([] {
		std::puts("terminate handler");
		std::fflush(stdout);
		std::abort();
	});
	std::thread([] { throw 1; }).join();
}
