// std::call_once and pthread_once: a routine that throws is run again, also for those that wait meanwhile.
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <pthread.h>
#include <shared_mutex>
#include <stdexcept>
#include <thread>
#include <unistd.h>
#include <vector>

static int failures;
#define EQ(expr, want)                                                                                   \
	do {                                                                                             \
		long got_ = (long)(expr), want_ = (long)(want);                                          \
		if (got_ != want_) {                                                                     \
			std::printf("FAIL line %d: %s is %ld, not %ld\n", __LINE__, #expr, got_, want_); \
			failures++;                                                                      \
		}                                                                                        \
	} while (0)

static pthread_once_t control = PTHREAD_ONCE_INIT;
static int attempts;

static void throwing() {
	if (++attempts < 4)
		throw std::runtime_error("not yet");
}

static void plain() {
	for (int i = 1; i < 4; i++) {
		bool caught = false;
		try {
			pthread_once(&control, throwing);
		} catch (const std::runtime_error &) {
			caught = true;
		}
		EQ(caught, 1);
		EQ(control, 0);
		EQ(attempts, i);
	}
	EQ(pthread_once(&control, throwing), 0);
	EQ(pthread_once(&control, throwing), 0);
	EQ(attempts, 4);
	EQ(control, 2);
}

// Eight threads on one flag; the first five attempts fail.
static void contended(int round) {
	std::once_flag flag;
	std::atomic<int> tries{0}, done{0}, caught{0};
	std::vector<std::thread> threads;
	for (int i = 0; i < 8; i++)
		threads.emplace_back([&] {
			for (;;) {
				try {
					std::call_once(flag, [&] {
						int n = ++tries;
						if (round & 1)
							std::this_thread::yield();
						if (n <= 5)
							throw n;
						done++;
					});
					EQ(done, 1);
					return;
				} catch (int) {
					caught++;
				}
			}
		});
	for (auto &t : threads)
		t.join();
	EQ(tries, 6);
	EQ(caught, 5);
	EQ(done, 1);
}

// The other C++ objects on top of the same calls.
static void others() {
	std::mutex m;
	std::condition_variable cv;
	std::shared_mutex sm;
	std::timed_mutex tm;
	std::recursive_timed_mutex rm;
	int turn = 0, shared = 0;
	auto play = [&](int me) {
		for (int i = 0; i < 500; i++) {
			std::unique_lock<std::mutex> l(m);
			cv.wait(l, [&] { return turn == me; });
			turn = !me;
			cv.notify_one();
			l.unlock();
			std::unique_lock<std::shared_mutex> w(sm);
			shared++;
		}
	};
	std::thread a(play, 0), b(play, 1);
	a.join();
	b.join();
	std::shared_lock<std::shared_mutex> r(sm);
	EQ(shared, 1000);
	tm.lock();
	std::thread([&] { EQ(tm.try_lock_for(std::chrono::milliseconds(5)), 0); }).join();
	tm.unlock();
	EQ(rm.try_lock_for(std::chrono::milliseconds(5)), 1);
	EQ(rm.try_lock_until(std::chrono::system_clock::now()), 1);
	std::unique_lock<std::mutex> l(m);
	EQ(cv.wait_for(l, std::chrono::milliseconds(5)) == std::cv_status::timeout, 1);
	EQ(cv.wait_until(l, std::chrono::system_clock::now()) == std::cv_status::timeout, 1);
}

int main() {
	alarm(30);
	plain();
	for (int i = 0; i < 50; i++)
		contended(i);
	others();
	std::printf(failures ? "%d failures\n" : "ok\n", failures);
	return failures != 0;
}
