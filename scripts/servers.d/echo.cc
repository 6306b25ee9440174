// A line echo server with a std::jthread for each connection: echo PORT. A line goes to one of four workers through a
// queue (mutex and condition_variable_any with a stop token) and its thread waits for the answer with std::atomic::wait;
// every 16th line travels by an exception. SIGTERM stops it in order: all threads joined, thread_local destructors counted.
#include <arpa/inet.h>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <list>
#include <mutex>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

namespace {

struct Job {
	std::string line;
	std::string answer;
	std::atomic<int> done{0};
};

std::mutex queue_mutex;
std::condition_variable_any queue_filled;
std::deque<Job *> queue;
std::shared_mutex totals_mutex;
long total;
std::atomic<int> born, gone;

struct Counter {
	long lines = 0;
	Counter() { born++; }
	~Counter() {
		std::unique_lock lock(totals_mutex);
		total += lines;
		gone++;
	}
};
thread_local Counter counter;

struct Sixteenth : std::runtime_error {
	using std::runtime_error::runtime_error;
};

void work(std::stop_token stop) {
	for (;;) {
		Job *job;
		{
			std::unique_lock lock(queue_mutex);
			if (!queue_filled.wait(lock, stop, [] { return !queue.empty(); }))
				return;
			job = queue.front();
			queue.pop_front();
		}
		job->answer = job->line;
		job->done.store(1, std::memory_order_release);
		job->done.notify_one();
	}
}

std::string ask(const std::string &line) {
	static thread_local Job job; // lives longer than the notify that comes after the answer
	job.line = line;
	job.done.store(0, std::memory_order_relaxed);
	{
		std::lock_guard lock(queue_mutex);
		queue.push_back(&job);
	}
	queue_filled.notify_one();
	job.done.wait(0, std::memory_order_acquire);
	if (++counter.lines % 16 == 0)
		throw Sixteenth(job.answer);
	return job.answer;
}

void serve(std::stop_token stop, int fd) {
	std::stop_callback hang_up(stop, [fd] { shutdown(fd, SHUT_RDWR); });
	std::string have;
	char buf[4096];
	for (ssize_t n; (n = read(fd, buf, sizeof buf)) > 0;) {
		have.append(buf, static_cast<size_t>(n));
		for (size_t end; (end = have.find('\n')) != std::string::npos; have.erase(0, end + 1)) {
			std::string answer;
			try {
				answer = ask(have.substr(0, end + 1));
			} catch (const Sixteenth &thrown) {
				answer = thrown.what();
			}
			if (send(fd, answer.data(), answer.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(answer.size()))
				return;
		}
	}
	shutdown(fd, SHUT_RDWR); // closed by whoever joins: the number must not be reused under the callback
}

struct Connection {
	int fd;
	std::jthread thread;
};

} // namespace

int main(int argc, char **argv) {
	sigset_t term;
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &term, nullptr);
	if (argc != 2)
		return 2;

	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
	sockaddr_in address{};
	address.sin_family = AF_INET;
	address.sin_port = htons(static_cast<uint16_t>(atoi(argv[1])));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(listener, reinterpret_cast<sockaddr *>(&address), sizeof address) < 0 || listen(listener, 4096) < 0)
		return 1;

	std::list<std::jthread> workers;
	for (int i = 0; i < 4; i++)
		workers.emplace_back(work);
	std::list<Connection> connections;
	{
		std::jthread acceptor([&](std::stop_token stop) {
			for (int fd; (fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC)) >= 0 && !stop.stop_requested();) {
				setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
				connections.push_back({fd, std::jthread(serve, fd)});
			}
		});
		int number;
		sigwait(&term, &number);
		acceptor.request_stop();
		shutdown(listener, SHUT_RDWR);
	}
	for (auto &c : connections)
		c.thread.request_stop();
	for (auto &c : connections) {
		c.thread.join();
		close(c.fd);
	}
	workers.clear();
	std::shared_lock lock(totals_mutex);
	if (born != gone || (born == 0) != (total == 0)) {
		fprintf(stderr, "%d thread_locals made, %d destroyed\n", born.load(), gone.load());
		return 3;
	}
	return 0;
}
