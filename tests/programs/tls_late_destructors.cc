// thread_local objects whose first user is a destructor of thread-specific data: when those run, those of the objects have run already.
// Nobody destroys such an object, and no later thread is disturbed by it (TLS-7); only the process's last thread, which ends by exit(), has
// it destroyed there. What a thread uses before is destroyed as ever.
#pragma GCC diagnostic ignored "-Wvolatile" // of a loop that C++ has nothing else for
#include "sync_test.h"

#include <string>

#include <sys/mman.h>

#include "process_test.h"

struct Counts {
	int made, ended, strays;
};

static Counts *counts; // that children have, too
static int serial;
static thread_local int mine; // differs in all threads, whatever memory they have
static pthread_key_t key;

static void add(int *n) {
	__atomic_fetch_add(n, 1, __ATOMIC_RELAXED);
}

struct Named {
	int owner = mine;
	Named *self = this;
	Named() {
		add(&counts->made);
	}
	~Named() {
		add(&counts->ended);
		if (owner != mine || self != this || mine == 0)
			add(&counts->strays);
	}
};

// Each is made at its own first use.
static std::string &text() {
	static thread_local std::string object("a string that is longer than the small buffer of it");
	return object;
}

static Named &early() {
	static thread_local Named object;
	return object;
}

static Named &late() {
	static thread_local Named object;
	return object;
}

static void begins() {
	mine = __atomic_add_fetch(&serial, 1, __ATOMIC_RELAXED);
}

static void uses_late(void *) {
	EQ((text() += " ends").size(), 56);
	EQ(late().owner, mine);
}

static void *ends_late(void *) {
	begins();
	pthread_setspecific(key, &key);
	return nullptr;
}

static void *ends_early(void *arg) {
	begins();
	EQ((text() += " other").size(), 57);
	EQ(early().owner, mine);
	return arg;
}

static void *uses_none(void *) {
	begins();
	return nullptr;
}

static void expect(int made, int ended) {
	EQ(counts->made, made);
	EQ(counts->ended, ended);
	EQ(counts->strays, 0);
	*counts = Counts();
}

static void one_after_the_other() {
	for (int i = 0; i < 4; i++) {
		join(start(ends_late, nullptr));
		expect(1, 0);
		join(start(uses_none, nullptr));
		expect(0, 0);
		join(start(ends_late, nullptr));
		expect(1, 0);
		join(start(ends_early, nullptr));
		expect(1, 1);
	}
	step("one after the other");
}

static void together() {
	enum { N = 60 };
	static void *(*const kinds[])(void *) = {ends_late, uses_none, ends_early};
	pthread_t t[N];
	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < N; i++)
			t[i] = start(kinds[(i + round) % 3], nullptr);
		for (int i = 0; i < N; i++)
			join(t[i]);
		expect(2 * N / 3, N / 3);
	}
	step("together");
}

// ---- the last thread ----------------------------------------------------------------------------------------------------

static void *outlives_main(void *main_thread) {
	EQ(pthread_join(*static_cast<pthread_t *>(main_thread), nullptr), 0);
	return ends_late(nullptr);
}

static void last(bool is_main) {
	static pthread_t self;
	pid_t pid = fork();
	if (pid == 0) {
		self = pthread_self();
		if (!is_main)
			start(outlives_main, &self);
		else
			join(start(ends_late, nullptr)); // its object is not destroyed by that
		if (is_main)
			pthread_setspecific(key, &key);
		begins();
		pthread_exit(nullptr);
	}
	EQ(reap(pid), 0);
	expect(is_main ? 2 : 1, 1);
	step(is_main ? "main is the last" : "main leaves first");
}

int main() {
	test_begin();
	counts = static_cast<Counts *>(mmap(nullptr, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	EQ(pthread_key_create(&key, uses_late), 0);
	one_after_the_other();
	last(false);
	last(true);
	together();
	return test_end();
}
