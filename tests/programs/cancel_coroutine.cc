// A thread ends by pthread_exit() or a cancellation on a stack that is not its own, a coroutine's or that of a handler, above its own in memory or below: the destructors
// of what is on it run as on its own, also in the child of a fork. And on its own, however small, from deep down.
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <pthread.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

enum { STACK = 256 << 10, SMALL = 64 << 10 };
enum end { EXIT, TESTCANCEL, SETSTATE, SETTYPE, WAIT, ENDS };

static std::atomic<int> destroyed;
static bool in_child;
static char *stack;
static sem_t ready, never;
static int failures;

struct counted {
	~counted() {
		if (++destroyed == 2 && in_child)
			_exit(42);
	}
};

static void ends_by(enum end end) {
	counted here;
	int old;
	switch (end) {
	case EXIT: pthread_exit(reinterpret_cast<void *>(7));
	case TESTCANCEL:
		pthread_cancel(pthread_self());
		pthread_testcancel();
		break;
	case SETSTATE:
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
		pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
		pthread_cancel(pthread_self());
		pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old);
		break;
	case SETTYPE:
		pthread_cancel(pthread_self());
		pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
		break;
	default:
		sem_post(&ready);
		sem_wait(&never);
	}
	std::printf("FAIL it has not ended\n");
}

static __thread ucontext_t thread_context, coroutine_context;

static void in_coroutine(int end) {
	counted here;
	ends_by(static_cast<enum end>(end));
}

static void *has_coroutine(void *arg) {
	getcontext(&coroutine_context);
	coroutine_context.uc_stack.ss_sp = stack;
	coroutine_context.uc_stack.ss_size = STACK;
	coroutine_context.uc_link = &thread_context;
	makecontext(&coroutine_context, reinterpret_cast<void (*)()>(in_coroutine), 1, static_cast<int>(reinterpret_cast<long>(arg)));
	swapcontext(&thread_context, &coroutine_context);
	return nullptr;
}

static void *forks(void *arg) {
	int status = 0;
	pid_t pid = fork();
	if (pid == 0) {
		in_child = true;
		return has_coroutine(arg);
	}
	waitpid(pid, &status, 0);
	destroyed = WIFEXITED(status) && WEXITSTATUS(status) == 42 ? 2 : 0;
	return reinterpret_cast<long>(arg) == EXIT ? reinterpret_cast<void *>(7) : PTHREAD_CANCELED;
}

static volatile enum end handler_end;

static void handler(int) {
	counted here;
	ends_by(handler_end);
}

static void *has_handler(void *arg) {
	counted here;
	sigset_t set;
	stack_t alternate = {};
	alternate.ss_sp = stack;
	alternate.ss_size = STACK;
	sigaltstack(&alternate, nullptr);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, nullptr);
	pthread_kill(pthread_self(), SIGUSR1);
	sigemptyset(&set);
	handler_end = static_cast<enum end>(reinterpret_cast<long>(arg));
	sigsuspend(&set);
	return nullptr;
}

static void deep(enum end end, int levels) {
	counted here;
	char frame[4096];
	__asm__ volatile("" : : "r"(frame) : "memory");
	if (levels == 0)
		ends_by(end);
	else
		deep(end, levels - 1);
	__asm__ volatile("" : : "r"(frame) : "memory"); // no tail call
}

static void *goes_deep(void *arg) {
	deep(static_cast<enum end>(reinterpret_cast<long>(arg)), 9);
	return nullptr;
}

static void check(const char *what, void *(*run)(void *), long end, size_t bytes, int want) {
	pthread_t t;
	pthread_attr_t attr;
	void *result = nullptr;
	destroyed = 0;
	pthread_attr_init(&attr);
	if (bytes)
		pthread_attr_setstacksize(&attr, bytes);
	if (pthread_create(&t, &attr, run, reinterpret_cast<void *>(end)) != 0)
		std::abort();
	pthread_attr_destroy(&attr);
	if (end == WAIT) {
		while (sem_wait(&ready) != 0)
			continue;
		pthread_cancel(t);
	}
	pthread_join(t, &result);
	if (destroyed != want || result != (end == EXIT ? reinterpret_cast<void *>(7) : PTHREAD_CANCELED)) {
		std::printf("FAIL %s, end %ld: %d destroyed, result %ld\n", what, end, destroyed.load(), reinterpret_cast<long>(result));
		std::fflush(stdout);
		failures++;
	}
}

int main() {
	char above[STACK];
	struct sigaction sa = {};
	alarm(30);
	sem_init(&ready, 0, 0);
	sem_init(&never, 0, 0);
	sa.sa_handler = handler;
	sa.sa_flags = SA_ONSTACK;
	sigaction(SIGUSR1, &sa, nullptr);
	for (long end = 0; end < ENDS; end++)
		check("small stack", goes_deep, end, SMALL, 11);
	char *below = static_cast<char *>(mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	for (char *which : {above, below}) {
		stack = which;
		for (long end = 0; end < ENDS; end++) {
			check(which == above ? "coroutine above" : "coroutine", has_coroutine, end, 0, 2);
			check(which == above ? "handler above" : "handler", has_handler, end, 0, 3);
			if (end != WAIT)
				check(which == above ? "child above" : "child", forks, end, 0, 2);
		}
	}
	std::printf(failures ? "%d failures\n" : "ok\n", failures);
	return failures != 0;
}
