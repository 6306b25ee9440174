// goshim.h from C++17: destructors run when a goroutine panics, exits or is cancelled; exceptions stay what they are.
#include <pthread.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "golib_test.h"

static std::atomic<int> destroyed, caught;

struct counts {
	~counts() { destroyed++; }
};

static void throws(int depth) {
	counts c;
	if (depth == 0)
		throw std::runtime_error("as ever");
	throws(depth - 1);
}

static void panics(int depth, void *payload);
static void (*volatile panics_again)(int, void *) = panics; // or compilers call it an infinite recursion

static void panics(int depth, void *payload) {
	counts c;
	std::string heap(100, 'x');
	if (depth > 0)
		panics_again(depth - 1, payload);
	else
		go_panic(payload);
}

static void *body(void *arg) {
	try {
		throws(3);
	} catch (const std::exception &e) {
		caught += std::string(e.what()) == "as ever";
	}
	panics(4, arg);
	return nullptr;
}

static void *last_payload;

static void destructors_run() {
	static int payload;
	go_wg wg = {{0}};
	go_set_panic_handler([](void *p) { last_payload = p; });
	for (int i = 0; i < 10; i++)
		CHECK(go_spawn_wg(&wg, body, &payload) == 0);
	CHECK(go_wg_wait(&wg) == 0);
	CHECK(caught == 10 && destroyed == 10 * (4 + 5) && last_payload == &payload);
}

/* An exception leaves go_protect() as it leaves a function. */
static void protect_is_left_by_exception() {
	static int payload;
	void *p;
	for (int i = 0; i < 3; i++) {
		CHECK(go_protect([](void *arg) {
			try {
				go_protect([](void *) { throws(1); }, nullptr, nullptr);
				CHECK(!"reached");
			} catch (...) {
				caught++;
			}
			go_panic(arg);
		}, &payload, &p) == 1 && p == &payload && caught == i + 1);
	}
}

static void protect_nests() {
	static int payload;
	void *p;
	for (int i = 0; i < 3; i++) {
		destroyed = 0;
		CHECK(go_protect([](void *arg) { panics(2, arg); }, &payload, &p) == 1 && p == &payload && destroyed == 3);
		try {
			throws(1);
		} catch (...) {
			caught++;
		}
		CHECK(caught == i + 1);
	}
}

static void with_std_thread() {
	go_chan *c = go_chan_make(sizeof(int), 0);
	std::vector<std::thread> threads;
	for (int i = 0; i < 8; i++)
		threads.emplace_back([c, i] { go_send(c, &i); });
	int sum = 0;
	for (int i = 0; i < 8; i++) {
		int x = -1;
		CHECK(go_recv(c, &x) == 0);
		sum += x;
	}
	for (auto &t : threads)
		t.join();
	CHECK(sum == 28);
	go_case k[] = {go_case_recv(c, nullptr), go_case_send(c, &sum)};
	CHECK(go_select(k, 2, 0) == -EAGAIN);
	go_chan_free(c);
}

struct per_thread {
	int n = 0;
	~per_thread() { destroyed++; }
};
static thread_local per_thread mine;

// Whoever waits for a goroutine finds its thread_local objects destroyed.
static void thread_locals() {
	destroyed = 0;
	for (int i = 1; i <= 20; i++) {
		go_task t;
		CHECK(go_spawn_task(&t, [](void *) -> void * { return reinterpret_cast<void *>(static_cast<intptr_t>(++mine.n)); }, nullptr) == 0);
		void *r;
		CHECK(go_join(&t, &r) == 0 && reinterpret_cast<intptr_t>(r) == 1);
		if (!getenv("ASIDE"))
			CHECK(destroyed == i);
	}
}

int main(int argc, char **argv) {
	static const test tests[] = {
		{"destructors_run", destructors_run}, {"protect_nests", protect_nests},
		{"protect_is_left_by_exception", protect_is_left_by_exception},
		{"with_std_thread", with_std_thread}, {"thread_locals", thread_locals}, {nullptr, nullptr},
	};
	return tests_main(tests, argc, argv);
}
