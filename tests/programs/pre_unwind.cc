// Exceptions and destructors while threads compete for the CPU; a profiler's signal that walks the stack from wherever it hits: where that is the program's own
// code, it must find the place that it hit, and who called that.
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

static std::atomic<int> wrong{0}, walks{0}, hits{0}, alive{0};

struct Counted {
	Counted() { alive++; }
	~Counted() { alive--; }
};

// Sections of their own: what is theirs is told by the address.
extern "C" const char __start_walked[], __stop_walked[], __start_outer[], __stop_outer[];
enum { LOOPS = 3000 };

__attribute__((noinline, section("walked"))) static long deep(int n, long x) {
	Counted c;
	for (int i = 0; i < LOOPS; i++) {
		x += i;
		__asm__ volatile("");
	}
	if (n == 0)
		throw std::runtime_error(std::to_string(x));
	return deep(n - 1, x) + 1;
}

__attribute__((noinline, section("outer"))) static void thrower() {
	for (int i = 0; i < 600 || hits < 20; i++) {
		try {
			deep(12, i);
			wrong++;
		} catch (const std::exception &e) {
			if (std::stol(e.what()) != i + 13L * LOOPS * (LOOPS - 1) / 2)
				wrong++;
		}
	}
}

static const char *interrupted_pc(void *context) {
	const auto &mc = static_cast<ucontext_t *>(context)->uc_mcontext;
#if defined __x86_64__
	return reinterpret_cast<const char *>(mc.gregs[REG_RIP]);
#else
	return reinterpret_cast<const char *>(mc.pc);
#endif
}

static void walk(int, siginfo_t *, void *context) {
	void *frames[64];
	int saved = errno, n = backtrace(frames, 64);
	const char *pc = interrupted_pc(context);
	bool place = false, outer = false, own = pc >= __start_walked && pc < __stop_walked;
	for (int i = 0; i < n; i++) {
		const char *at = static_cast<const char *>(frames[i]);
		place |= at == pc;
		outer |= at > __start_outer && at <= __stop_outer;
	}
	// A signal that came while a library could not be interrupted is handled a little later: where is that library's affair.
	if (own ? !place || !outer : n < 2)
		wrong++;
	hits += own;
	walks++;
	errno = saved;
}

int main() {
	void *warm[4];
	backtrace(warm, 4); // loads libgcc_s outside of a handler
	struct sigaction sa = {};
	sa.sa_sigaction = walk;
	sa.sa_flags = SA_RESTART | SA_SIGINFO;
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
