// main() ends by pthread_exit(): its thread-specific data is destroyed, the objects of its thread_local variables are not, unless it is the last thread and
// exit() does that, after. (In children, so that both ways are seen.)
#include <cstdio>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

struct object {
	const char *whose;
	~object() {
		printf("object of %s\n", whose);
		fflush(stdout);
	}
};

static thread_local object local{"nobody"};
static pthread_key_t key;
static pthread_t main_thread;

static void destroy(void *text) {
	printf("data of %s\n", static_cast<const char *>(text));
	fflush(stdout);
}

static void *thread(void *arg) {
	local.whose = "the thread";
	pthread_setspecific(key, "the thread");
	if (arg) {
		pthread_join(main_thread, nullptr);
		puts("main is gone");
		fflush(stdout);
	}
	return nullptr;
}

static void child(bool last) {
	pthread_t t;
	alarm(10);
	main_thread = pthread_self();
	pthread_setspecific(key, "main");
	local.whose = "main";
	if (pthread_create(&t, nullptr, thread, last ? nullptr : &t) != 0)
		_exit(1);
	if (last)
		pthread_join(t, nullptr);
	else
		pthread_detach(t);
	pthread_exit(nullptr);
}

int main() {
	pthread_key_create(&key, destroy);
	for (int i = 0; i < 2; i++) {
		bool last = i == 0;
		int status = -1;
		printf("main is %s\n", last ? "the last thread" : "not the last thread");
		fflush(stdout);
		if (fork() == 0)
			child(last);
		wait(&status);
		printf("status %d\n", status);
	}
}
