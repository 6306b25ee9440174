// C++: exceptions in threads, thread_local constructors and destructors, std::thread, jthread, async, condition_variable, atomic wait,
// latch, barrier, semaphore, call_once.
#include <atomic>
#include <barrier>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <future>
#include <latch>
#include <memory>
#include <mutex>
#include <queue>
#include <semaphore>
#include <shared_mutex>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <pthread.h>
#include <unistd.h>

using namespace std::chrono_literals;

static std::mutex log_mutex;
static std::string log_text;

static void log(const std::string &text) {
	std::lock_guard<std::mutex> guard(log_mutex);
	log_text += text + " ";
}

static void step(const char *name) {
	std::printf("%s: %s\n", name, log_text.c_str());
	std::fflush(stdout);
	log_text.clear();
}

struct Local {
	const char *name;
	pthread_t owner;
	explicit Local(const char *n) : name(n), owner(pthread_self()) {
		log(std::string("+") + name);
	}
	~Local() {
		usleep(200); // a destructor may wait
		log(std::string("-") + name + (pthread_equal(owner, pthread_self()) ? "" : "(wrong thread)"));
	}
};

static thread_local Local first("first"), second("second");
static thread_local std::string text = "initial";

static void locals() {
	std::thread([] {
		Local frame("frame");
		log(first.name);
		text += " changed by a thread whose text is long enough to be on the heap";
		thread_local Local inner("inner");
		log(inner.name);
	}).join();
	std::thread([] { log(text); }).join();
	step("thread_local");
	// Through pthread_exit: frames are unwound, then the thread's locals.
	pthread_t t;
	pthread_create(&t, nullptr, [](void *) -> void * {
		Local frame("frame");
		log(second.name);
		try {
			Local inside("inside");
			pthread_exit(nullptr);
		} catch (...) {
			log("caught");
			throw;
		}
	}, nullptr);
	pthread_join(t, nullptr);
	step("pthread_exit");
}

static int thrower(int depth) {
	std::string local(40, 'x');
	if (depth == 0)
		throw std::runtime_error("from the deep");
	return thrower(depth - 1) + (int)local.size();
}

static void exceptions() {
	std::vector<std::thread> threads;
	std::atomic<int> caught{0};
	for (int i = 0; i < 50; i++)
		threads.emplace_back([&] {
			for (int k = 0; k < 20; k++) {
				try {
					thrower(10);
				} catch (const std::runtime_error &e) {
					std::this_thread::yield(); // inside the handler: the exception belongs to this thread
					if (k % 5 == 0)
						std::this_thread::sleep_for(100us);
					try {
						throw 17;
					} catch (int n) {
						std::this_thread::yield();
						if (n == 17 && std::uncaught_exceptions() == 0 && std::string(e.what()) == "from the deep")
							caught++;
					}
				}
			}
		});
	for (auto &t : threads)
		t.join();
	log(std::to_string(caught));
	step("exceptions");
}

static void futures() {
	auto f = std::async(std::launch::async, [] { return 42; });
	log(std::to_string(f.get()));
	auto g = std::async(std::launch::async, []() -> int { throw std::logic_error("in async"); });
	try {
		g.get();
	} catch (const std::logic_error &e) {
		log(e.what());
	}
	std::promise<std::string> promise;
	auto h = promise.get_future();
	log(h.wait_for(5ms) == std::future_status::timeout ? "timeout" : "?");
	std::jthread t([&] { promise.set_value_at_thread_exit("value at exit"); });
	log(h.get());
	std::packaged_task<int(int)> task([](int n) { return n * 2; });
	auto result = task.get_future();
	std::thread(std::move(task), 21).join();
	log(std::to_string(result.get()));
	std::vector<std::future<long>> many;
	for (long i = 0; i < 200; i++)
		many.push_back(std::async(std::launch::async, [i] { return i; }));
	long sum = 0;
	for (auto &m : many)
		sum += m.get();
	log(std::to_string(sum));
	step("futures");
}

static void stop() {
	std::atomic<int> rounds{0};
	{
		std::jthread worker([&](std::stop_token token) {
			std::mutex m;
			std::condition_variable_any cv;
			std::unique_lock<std::mutex> lock(m);
			while (!token.stop_requested()) {
				rounds++;
				cv.wait(lock, token, [] { return false; });
			}
			log("stopped");
		});
		while (rounds == 0)
			std::this_thread::yield();
	}
	step("jthread");
}

static void queue() {
	std::mutex m;
	std::condition_variable not_empty, not_full;
	std::queue<int> q;
	long sum = 0;
	int left = 4000;
	std::vector<std::thread> threads;
	for (int i = 0; i < 4; i++)
		threads.emplace_back([&] {
			for (int k = 1; k <= 1000; k++) {
				std::unique_lock<std::mutex> lock(m);
				not_full.wait(lock, [&] { return q.size() < 10; });
				q.push(k);
				not_empty.notify_one();
			}
		});
	for (int i = 0; i < 4; i++)
		threads.emplace_back([&] {
			std::unique_lock<std::mutex> lock(m);
			while (left > 0) {
				if (!not_empty.wait_for(lock, 5ms, [&] { return !q.empty(); }))
					continue;
				sum += q.front();
				q.pop();
				left--;
				not_full.notify_one();
			}
		});
	for (auto &t : threads)
		t.join();
	log(std::to_string(sum));
	step("condition_variable");
}

static void atomics() {
	std::atomic<int> turn{0};
	std::thread a([&] {
		for (int i = 0; i < 2000; i++) {
			turn.wait(0);
			turn = 0;
			turn.notify_all();
		}
	});
	for (int i = 0; i < 2000; i++) {
		turn.wait(1);
		turn = 1;
		turn.notify_all();
	}
	a.join();
	std::atomic_flag flag;
	std::thread b([&] { flag.wait(false); });
	flag.test_and_set();
	flag.notify_one();
	b.join();
	// Three tokens go round. Each semaphore has one thread that acquires it: with several, libstdc++ 12 may put one to sleep on a count that is not 0 (it
	// looks at the count before it spins, and the kernel compares with that), and nobody wakes it any more; on kernel threads, too.
	std::latch latch(20);
	std::barrier<> barrier(20);
	std::vector<std::unique_ptr<std::counting_semaphore<3>>> sem;
	for (int i = 0; i < 20; i++)
		sem.push_back(std::make_unique<std::counting_semaphore<3>>(i % 7 == 0));
	std::atomic<int> inside{0}, most{0};
	std::vector<std::jthread> threads;
	for (int i = 0; i < 20; i++)
		threads.emplace_back([&, i] {
			latch.arrive_and_wait();
			for (int k = 0; k < 5; k++) {
				sem[i]->acquire();
				int n = ++inside, was = most;
				while (was < n && !most.compare_exchange_weak(was, n))
					;
				std::this_thread::yield();
				--inside;
				sem[(i + 1) % 20]->release();
				barrier.arrive_and_wait();
			}
		});
	threads.clear();
	log(most <= 3 ? "bounded" : "too many");
	step("atomics");
}

static void locks() {
	std::shared_mutex shared;
	std::recursive_timed_mutex timed;
	std::once_flag once;
	std::atomic<int> calls{0};
	long value = 0;
	std::vector<std::thread> threads;
	for (int i = 0; i < 8; i++)
		threads.emplace_back([&] {
			for (int k = 0; k < 500; k++) {
				if (k % 10 == 0) {
					std::unique_lock lock(shared);
					value++;
				} else {
					std::shared_lock lock(shared);
					if (value < 0)
						std::abort();
				}
			}
			try {
				std::call_once(once, [&] {
					if (++calls < 3)
						throw 1; // the next one tries again
				});
			} catch (int) {
			}
		});
	for (auto &t : threads)
		t.join();
	timed.lock();
	std::thread([&] { log(timed.try_lock_for(5ms) ? "got it" : "timed out"); }).join();
	timed.unlock();
	log(std::to_string(value) + " " + std::to_string(calls));
	step("locks");
}

static void ids() {
	std::thread::id mine = std::this_thread::get_id(), other;
	std::thread t([&] { other = std::this_thread::get_id(); });
	auto id = t.get_id();
	t.join();
	log(id == other && mine != other && std::thread::hardware_concurrency() > 0 ? "right" : "wrong");
	try {
		t.join();
	} catch (const std::system_error &e) {
		log(e.code() == std::errc::invalid_argument ? "not joinable" : "?");
	}
	step("ids");
}

int main() {
	alarm(30);
	log(first.name); // main's own
	log_text.clear();
	locals();
	exceptions();
	futures();
	stop();
	queue();
	atomics();
	locks();
	ids();
	std::puts("ok");
}
