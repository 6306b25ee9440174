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

/* What a deferred function calls may panic, too, and end that in a go_protect() of its own: the unwinding outside goes on as it was. */
static int how_inner_ends;
static char buffer_order[8];

int buffer_setjmp(void *, int) __asm__("__sigsetjmp") __attribute__((returns_twice));
void __pthread_register_cancel(__pthread_unwind_buf_t *);
void __pthread_unregister_cancel(__pthread_unwind_buf_t *);
void __pthread_unwind_next(__pthread_unwind_buf_t *) __attribute__((noreturn));

/* As C code without exceptions has its cleanup handlers. */
static void with_buffer(void *arg) {
	__pthread_unwind_buf_t buf;
	if (buffer_setjmp(buf.__cancel_jmp_buf, 0)) {
		strcat(buffer_order, "h");
		__pthread_unwind_next(&buf);
	}
	__pthread_register_cancel(&buf);
	GO_DEFER(note, "i");
	protected(arg);
	__pthread_unregister_cancel(&buf);
}

static void defer_protects(void *arg) {
	void *p = arg;
	CHECK(go_recover() == NULL || how_inner_ends == 2);
	CHECK(go_protect(protected, NULL, &p) == 0 && p == NULL);
	CHECK(go_protect(protected, &two, &p) == 1 && p == &two);
	CHECK(go_protect(with_buffer, &two, &p) == 1 && p == &two && strcmp(buffer_order, "h") == 0);
	CHECK(go_protect(nested, &two, &p) == 1 && p == &two);
	CHECK(go_protect(protected_recovers, NULL, &p) == 1 && p == NULL && recovered == &two);
	buffer_order[0] = '\0';
	go_yield();
	CHECK(go_sleep(1000) == 0); /* no cancellation point: it is on its way out */
}

static void outer_exits(void *arg) {
	GO_DEFER(note, "e");
	GO_DEFER(defer_protects, arg);
	if (how_inner_ends == 0)
		pthread_exit(arg);
	else
		for (;;)
			pause();
}

static void outer_panics(void *arg) {
	GO_DEFER(note, "o");
	GO_DEFER(defer_protects, arg);
	GO_DEFER(recovers, NULL);
	go_panic(arg);
}

static void outer_panics_on(void *arg) {
	GO_DEFER(note, "o");
	GO_DEFER(defer_protects, arg);
	GO_DEFER(note, "p");
	go_panic(arg);
}

static void *unwinds_around(void *arg) {
	void *p = arg;
	how_inner_ends = 1;
	CHECK(go_protect(outer_panics, &one, &p) == 1 && p == NULL);
	how_inner_ends = 2;
	outer_exits(arg);
	return NULL;
}

static void *panics_around(void *arg) {
	outer_panics_on(arg);
	return NULL;
}

static void *exits_around(void *arg) {
	how_inner_ends = 0;
	outer_exits(arg);
	return NULL;
}

static void protect_while_unwinding(void) {
	pthread_t t;
	void *r;
	go_set_panic_handler(on_panic);
	how_inner_ends = 2;
	CHECK(pthread_create(&t, NULL, panics_around, &one) == 0 && pthread_join(t, &r) == 0 && r == NULL);
	CHECK(handled == NULL && handled_count == 0); /* taken by the deferred function, before it began another */
	CHECK(pthread_create(&t, NULL, exits_around, &one) == 0 && pthread_join(t, &r) == 0 && r == &one);
	CHECK(pthread_create(&t, NULL, unwinds_around, &one) == 0);
	CHECK(pthread_cancel(t) == 0 && pthread_join(t, &r) == 0 && r == PTHREAD_CANCELED);
	CHECK(handled_count == 0);
}

/* Not taken by anybody: its handler, and its payload, after all that. */
static void defer_panics_inside(void *arg) {
	void *p;
	(void)arg;
	CHECK(go_protect(protected, &two, &p) == 1 && p == &two);
}

static void *panic_goes_on(void *arg) {
	GO_DEFER(note, "1");
	GO_DEFER(defer_panics_inside, NULL);
	GO_DEFER(note, "2");
	go_panic(arg);
}

#define NOTE_TWICE(a, b) GO_DEFER(note, a); GO_DEFER(note, b)

static void notes_twice(void *arg) {
	NOTE_TWICE("4", "3");
	if (arg)
		go_panic(arg);
}

static void protect_and_go_on(void) {
	go_task t;
	void *p;
	go_set_panic_handler(on_panic);
	CHECK(go_spawn_task(&t, panic_goes_on, &one) == 0 && go_join(&t, NULL) == 0);
	CHECK(handled == &one && handled_count == 1 && strcmp(order, "2x1") == 0);
	CHECK(go_protect((void (*)(void *))(void (*)(void))panic_goes_on, &one, &p) == 1 && p == &one);
	CHECK(handled_count == 1);
	order[0] = '\0';
	notes_twice(NULL);
	CHECK(go_protect(notes_twice, &one, &p) == 1 && strcmp(order, "3434") == 0);
}

/* pthread_exit() is no panic's end, and a panic none of its: the last one counts. */
static void defer_exits(void *arg) {
	pthread_exit(arg);
}

static void panics_then_exits(void *arg) {
	GO_DEFER(note, "d");
	GO_DEFER(defer_exits, arg);
	go_panic(&two);
}

static void *protects_exit(void *arg) {
	void *p;
	GO_DEFER(note, "f");
	go_protect(panics_then_exits, arg, &p);
	CHECK(!"reached");
	return NULL;
}

static void *exits_during_panic(void *arg) {
	GO_DEFER(note, "f");
	panics_then_exits(arg);
	return NULL;
}

static void exit_in_deferred(void) {
	pthread_t t;
	void *r;
	go_set_panic_handler(on_panic);
	CHECK(pthread_create(&t, NULL, protects_exit, &one) == 0 && pthread_join(t, &r) == 0 && r == &one);
	CHECK(pthread_create(&t, NULL, exits_during_panic, &one) == 0 && pthread_join(t, &r) == 0 && r == &one);
	CHECK(handled_count == 0 && strcmp(order, "dfdf") == 0);
}

/* The runtime starts inside of one, and inside of what a panic runs. */
static void defer_spawns(void *arg) {
	go_task t;
	(void)arg;
	CHECK(go_spawn_task(&t, works, NULL) == 0 && go_join(&t, NULL) == 0);
	recovers(NULL);
}

static void spawns_in_defer(void *arg) {
	GO_DEFER(defer_spawns, NULL);
	go_panic(arg);
}

static void spawns_and_panics(void *arg) {
	defer_spawns(NULL);
	CHECK(recovered == NULL);
	go_panic(arg);
}

static void start_inside(void) {
	for (int i = 0; i < 2; i++) {
		pid_t child = fork();
		if (child == 0) {
			void *p;
			if (i == 0)
				CHECK(go_protect(spawns_and_panics, &one, &p) == 1 && p == &one);
			else
				CHECK(go_protect(spawns_in_defer, &one, &p) == 1 && p == NULL && recovered == &one);
			CHECK(go_protect(protected, &two, &p) == 1 && p == &two && go_recover() == NULL);
			_exit(0);
		}
		int status;
		CHECK(waitpid(child, &status, 0) == child && status == 0);
	}
}

/* The only thread of a fork's child is its main thread. */
static void *forks(void *arg) {
	for (int i = 0; i < 3; i++) {
		pid_t child = fork();
		if (child == 0) {
			void *p;
			signal(SIGABRT, SIG_DFL);
			if (i == 0)
				_exit(go_protect(protected, &one, &p) == 1 && p == &one ? 0 : 1);
			if (i == 2) {
				go_task t;
				CHECK(go_spawn_task(&t, works, NULL) == 0 && go_join(&t, NULL) == 0);
			}
			go_panic(arg);
		}
		int status;
		CHECK(waitpid(child, &status, 0) == child);
		CHECK(i == 0 ? status == 0 : WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	}
	return NULL;
}

static void child_panics(void) {
	go_task t;
	CHECK(freopen("/dev/null", "w", stderr) != NULL);
	CHECK(go_spawn_task(&t, forks, &one) == 0 && go_join(&t, NULL) == 0);
	forks(&one);
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
		{"protect_while_unwinding", protect_while_unwinding}, {"protect_and_go_on", protect_and_go_on},
		{"exit_in_deferred", exit_in_deferred}, {"child_panics", child_panics},
		{"start_inside", start_inside},
		{"main_panics", main_panics}, {NULL, NULL},
	};
	if (argc > 1 && (strncmp(argv[1], "panic", 5) == 0 || strcmp(argv[1], "recover") == 0))
		return panic_in_main(argv[1]);
	return tests_main(tests, argc, argv);
}
