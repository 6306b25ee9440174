// Exceptions and destructors while threads compete for the CPU; a profiler's signal that walks the stack from wherever it hits.
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <execinfo.h>
#include <stdexcept>
#include <string>
#include <thread>
#include <sys/time.h>
#include <vector>

static std::atomic<int> wrong{0}, walks{0}, alive{0};

struct Counted {
	Counted() { alive++; }
	~Counted() { alive--; }
};

static long deep(int n, long x) {
	Counted c;
	for (int i = 0; i < 300; i++) {
		x += i;
		__asm__ volatile("");
	}
	if (n == 0)
		throw std::runtime_error(std::to_string(x));
	return deep(n - 1, x) + 1;
}

static void thrower() {
	for (int i = 0; i < 600; i++) {
		try {
			deep(12, i);
			wrong++;
		} catch (const std::exception &e) {
			if (std::stol(e.what()) != i + 13L * 300 * 299 / 2)
				wrong++;
		}
	}
}

static void walk(int) {
	void *frames[64];
	int saved = errno;
	if (backtrace(frames, 64) < 1)
		wrong++;
	walks++;
	errno = saved;
}

int main() {
	void *warm[4];
	backtrace(warm, 4); // loads libgcc_s outside of a handler
	struct sigaction sa = {};
	sa.sa_handler = walk;
	sa.sa_flags = SA_RESTART;
	sigaction(SIGPROF, &sa, nullptr);
	itimerval every = {{0, 5000}, {0, 5000}};
	setitimer(ITIMER_PROF, &every, nullptr);
	std::vector<std::thread> threads;
	for (int i = 0; i < 6; i++)
		threads.emplace_back(thrower);
	for (auto &t : threads)
		t.join();
	every = {};
	setitimer(ITIMER_PROF, &every, nullptr);
	std::printf("%d wrong, %d alive\n", wrong.load(), alive.load());
	return 0;
}
