// INT-1: threads before main, from constructors, and the same threads still there in main and in destructors.
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <thread>

struct Worker {
	std::mutex mutex;
	std::condition_variable changed;
	int asked = 0, answered = 0;
	bool stop = false;
	std::thread thread;

	Worker() : thread([this] { run(); }) {
		ask();
		std::puts("constructor: answered");
	}

	~Worker() {
		ask();
		{
			std::lock_guard<std::mutex> guard(mutex);
			stop = true;
			changed.notify_all();
		}
		thread.join();
		std::printf("destructor: %d answers\n", answered);
	}

	void run() {
		std::unique_lock<std::mutex> guard(mutex);
		while (!stop) {
			while (answered < asked) {
				answered++;
				changed.notify_all();
			}
			changed.wait(guard);
		}
	}

	void ask() {
		std::unique_lock<std::mutex> guard(mutex);
		int mine = ++asked;
		changed.notify_all();
		changed.wait(guard, [&] { return answered >= mine; });
	}
};

static Worker worker;

int main() {
	worker.ask();
	std::puts("main: answered");
	return 0;
}
