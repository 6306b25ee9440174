// Exceptions that nobody catches, under GOSHIM=panic=isolate: the thread ends alone, its stack is not unwound, so a guard's mutex stays locked.
#include <cstdio>
#include <mutex>
#include <pthread.h>
#include <stdexcept>

static std::mutex mutex;

struct Loud {
	~Loud() {
		std::puts("FAILED: a destructor ran");
	}
};

static thread_local Loud per_thread;

static void *throws(void *) {
	std::lock_guard<std::mutex> guard(mutex);
	Loud local;
	(void)&per_thread;
	throw std::runtime_error("nobody catches");
}

static void *leaves_noexcept(void *) {
	[]() noexcept { throw 1; }();
	return nullptr;
}

static void *catches(void *) {
	try {
		throw 2;
	} catch (int n) {
		return reinterpret_cast<void *>(static_cast<long>(n));
	}
}

static void run(const char *what, void *(*fn)(void *)) {
	pthread_t thread;
	void *result;
	pthread_create(&thread, nullptr, fn, nullptr);
	pthread_join(thread, &result);
	std::printf("%s: %s\n", what, result == PTHREAD_CANCELED ? "ended alone" : result == reinterpret_cast<void *>(2L) ? "caught" : "FAILED");
}

int main() {
	run("thrown", throws);
	std::printf("its mutex: %s\n", mutex.try_lock() ? "free" : "locked");
	run("noexcept", leaves_noexcept);
	run("caught", catches); // on a stack, and with the thread-local state, of one that ended so
	std::fflush(stdout);
}
