/* The panic boundary in C. */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "golib_test.h"

static int one, two;
static char order[16];
static void *volatile handled;
static int handled_count, others;

static void note(void *arg) {
	strncat(order, arg, sizeof order - strlen(order) - 1);
}

static void on_panic(void *payload) {
	handled = payload;
	add(&handled_count, 1);
}

static void inner(void) {
	GO_DEFER(note, "a");
	go_panic(&one);
}

static void *panics(void *arg) {
	(void)arg;
	GO_DEFER(note, "c");
	pthread_cleanup_push(note, "b");
	inner();
	pthread_cleanup_pop(0);
	CHECK(!"reached");
	return NULL;
}

static void unwinds_and_handler(void) {
	go_task t;
	void *r = &two;
	CHECK(go_set_panic_handler(on_panic) == NULL);
	CHECK(go_spawn_task(&t, panics, NULL) == 0 && go_join(&t, &r) == 0);
	CHECK(r == NULL && handled == &one && handled_count == 1 && strcmp(order, "abc") == 0);
	CHECK(go_set_panic_handler(NULL) == on_panic);
}

static void *works(void *arg) {
	for (int i = 0; i < 100; i++)
		go_yield();
	add(&others, 1);
	return arg;
}

/* Without a handler: one line, and everybody else goes on. */
static void others_go_on(void) {
	go_wg wg = {{0}};
	CHECK(freopen("/dev/null", "w", stderr) != NULL);
	for (int i = 0; i < 20; i++) {
		CHECK(go_spawn_wg(&wg, works, NULL) == 0);
		CHECK(go_spawn_wg(&wg, panics, NULL) == 0);
	}
	CHECK(go_wg_wait(&wg) == 0 && others == 20);
}

/* A thread of pthread_create() has a boundary, too. */
static void pthread_panics(void) {
	pthread_t t;
	void *r = &two;
	go_set_panic_handler(on_panic);
	for (int i = 1; i <= 3; i++) {
		CHECK(pthread_create(&t, NULL, panics, NULL) == 0 && pthread_join(t, &r) == 0);
		CHECK(r == NULL && handled == &one && handled_count == i);
	}
	CHECK(strcmp(order, "abcabcabc") == 0);
}

static void *volatile recovered;

static void recovers(void *arg) {
	(void)arg;
	recovered = go_recover();
	CHECK(go_recover() == NULL);
}

static void *panics_and_recovers(void *arg) {
	(void)arg;
	GO_DEFER(recovers, NULL);
	inner();
	return NULL;
}

static void recover_payload(void) {
	go_task t;
	go_set_panic_handler(on_panic);
	CHECK(go_recover() == NULL);
	CHECK(go_spawn_task(&t, panics_and_recovers, NULL) == 0 && go_join(&t, NULL) == 0);
	CHECK(recovered == &one && handled_count == 0);
}

static void protected(void *arg) {
	GO_DEFER(note, "x");
	if (arg)
		go_panic(arg);
}

static void protected_recovers(void *arg) {
	(void)arg;
	GO_DEFER(recovers, NULL);
	go_panic(&two);
}

static void nested(void *arg) {
	void *p;
	CHECK(go_protect(protected, &one, &p) == 1 && p == &one);
	go_panic(arg);
}

static void *protects(void *arg) {
	void *p = &one;
	for (int i = 0; i < 3; i++) { /* the thread is as good as new after each */
		CHECK(go_protect(protected, NULL, &p) == 0 && p == NULL);
		CHECK(go_protect(protected, &two, &p) == 1 && p == &two);
		CHECK(go_protect(protected_recovers, NULL, &p) == 1 && p == NULL && recovered == &two);
		CHECK(go_protect(nested, &two, &p) == 1 && p == &two);
	}
	CHECK(go_sleep(1000) == 0);
	return arg;
}

static void *protects_then_exits(void *arg) {
	protects(NULL);
	pthread_exit(arg);
}

static void *cancelled_later(void *arg) {
	protects(NULL);
	add(&others, 1);
	for (;;)
		pause();
	return arg;
}

/* On a goroutine, the main thread, a pthread; a thread that was taken back can still exit and be cancelled. */
static void protect(void) {
	go_task t;
	pthread_t p;
	void *r;
	protects(NULL);
	CHECK(go_spawn_task(&t, protects, &one) == 0 && go_join(&t, &r) == 0 && r == &one);
	CHECK(pthread_create(&p, NULL, protects_then_exits, &two) == 0 && pthread_join(p, &r) == 0 && r == &two);
	CHECK(pthread_create(&p, NULL, cancelled_later, NULL) == 0);
	until(&others, 1);
	CHECK(pthread_cancel(p) == 0 && pthread_join(p, &r) == 0 && r == PTHREAD_CANCELED);
	protects(NULL);
}

static void defer_panics(void *arg) {
	go_panic(arg);
}

static void *panics_twice(void *arg) {
	(void)arg;
	GO_DEFER(note, "z");
	GO_DEFER(defer_panics, &two);
	go_panic(&one);
}

static void last_panic_counts(void) {
	go_task t;
	go_set_panic_handler(on_panic);
	CHECK(go_spawn_task(&t, panics_twice, NULL) == 0 && go_join(&t, NULL) == 0);
	CHECK(handled == &two && handled_count == 1 && strcmp(order, "z") == 0);
}

/* See main(): the panic must come from there. The parent runs this program again. */
static void main_panics(void) {
	char command[600], self[500];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	CHECK(n > 0);
	self[n] = '\0';
	for (int i = 0; i < 2; i++) {
		snprintf(command, sizeof command, "exec %s %s 2>/dev/null", self, i ? "panic_spawned" : "panic");
		int status = system(command);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	}
	snprintf(command, sizeof command, "exec %s recover", self);
	CHECK(system(command) == 0);
}

static int panic_in_main(const char *what) {
	signal(SIGABRT, SIG_DFL);
	if (strcmp(what, "panic_spawned") == 0) {
		go_wg wg = {{0}};
		go_spawn_wg(&wg, works, NULL);
		go_wg_wait(&wg);
	}
	if (strcmp(what, "recover") == 0) {
		GO_DEFER(recovers, NULL);
		go_panic(&one);
	}
	go_panic(&one);
}

int main(int argc, char **argv) {
	static const struct test tests[] = {
		{"unwinds_and_handler", unwinds_and_handler}, {"others_go_on", others_go_on}, {"pthread_panics", pthread_panics},
		{"recover_payload", recover_payload}, {"protect", protect}, {"last_panic_counts", last_panic_counts},
		{"main_panics", main_panics}, {NULL, NULL},
	};
	if (argc > 1 && (strncmp(argv[1], "panic", 5) == 0 || strcmp(argv[1], "recover") == 0))
		return panic_in_main(argv[1]);
	return tests_main(tests, argc, argv);
}
