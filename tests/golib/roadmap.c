/* Properties of the scheduler that the library promises: preemption, stacks, netpoll. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "golib_test.h"

/* ---- stacks grow in place ------------------------------------------------------------------------------------------- */

static __attribute__((noinline)) long recurse(volatile long *above, int depth) {
	volatile long here = *above + 1;
	return depth == 0 ? here : recurse(&here, depth - 1) + (here != *above + 1);
}

static void *deep(void *arg) {
	volatile long zero = 0;
	return (void *)(intptr_t)recurse(&zero, (int)(intptr_t)arg);
}

/* 100,000 levels, with pointers into the stack on each. */
static void stack_deep_recursion(void) {
	go_options o = {.stack = 64u << 20};
	go_task t[4];
	void *r;
	for (int i = 0; i < 4; i++) {
		o.task = &t[i];
		CHECK(go_spawn_with(&o, deep, (void *)100000) == 0);
	}
	for (int i = 0; i < 4; i++)
		CHECK(go_join(&t[i], &r) == 0 && (intptr_t)r == 100001);
}

static size_t resident(char *lo, size_t bytes) {
	static unsigned char page[(16u << 20) / 4096];
	size_t n = 0;
	CHECK(bytes / 4096 <= sizeof page && mincore(lo, bytes, page) == 0);
	for (size_t i = 0; i < bytes / 4096; i++)
		n += page[i] & 1;
	return n;
}

/* The window that has memory grows with the depth, and only with it; what was written keeps its address. */
static void *window(void *arg) {
	pthread_attr_t attr;
	void *lo;
	size_t size;
	CHECK(pthread_getattr_np(pthread_self(), &attr) == 0 && pthread_attr_getstack(&attr, &lo, &size) == 0);
	pthread_attr_destroy(&attr);
	lo = (void *)(((uintptr_t)lo + 4095) & ~(uintptr_t)4095);
	size_t bytes = ((uintptr_t)&attr & ~(uintptr_t)4095) - (uintptr_t)lo;
	size_t before = resident(lo, bytes);
	CHECK(bytes > (7u << 20) && before < 16);
	deep((void *)1000);
	size_t some = resident(lo, bytes);
	deep((void *)30000);
	size_t more = resident(lo, bytes);
	CHECK(some > before && more > some + 100 && more < bytes / 4096);
	return arg;
}

static void stack_window_grows(void) {
	go_task t;
	go_options o = {.stack = 8u << 20, .task = &t};
	if (getenv("ASIDE"))
		return;
	CHECK(go_spawn_with(&o, window, NULL) == 0 && go_join(&t, NULL) == 0);
}

/* Memory that a deep call used comes back while its goroutine waits (GOSHIM=trim=SECONDS); what is in use stays as it was. */
static struct {
	char *lo;
	size_t bytes, used;
	int deep;
	go_chan *go_on;
} waiter;

static void *deep_then_wait(void *arg) {
	pthread_attr_t attr;
	void *lo;
	size_t size;
	volatile long canary = 42;
	CHECK(pthread_getattr_np(pthread_self(), &attr) == 0 && pthread_attr_getstack(&attr, &lo, &size) == 0);
	pthread_attr_destroy(&attr);
	waiter.lo = (char *)(((uintptr_t)lo + 4095) & ~(uintptr_t)4095);
	waiter.bytes = ((uintptr_t)&attr & ~(uintptr_t)4095) - (uintptr_t)waiter.lo;
	deep((void *)30000);
	waiter.used = resident(waiter.lo, waiter.bytes);
	add(&waiter.deep, 1);
	CHECK(go_recv(waiter.go_on, NULL) == 0 && canary == 42);
	deep((void *)30000);
	CHECK(resident(waiter.lo, waiter.bytes) > 200);
	return arg;
}

static void stack_is_given_back(void) {
	go_task t;
	go_options o = {.stack = 8u << 20, .task = &t};
	waiter.go_on = go_chan_make(0, 0);
	CHECK(go_spawn_with(&o, deep_then_wait, NULL) == 0);
	until(&waiter.deep, 1);
	CHECK(waiter.used > 200);
	while (resident(waiter.lo, waiter.bytes) > 32) /* or the watchdog */
		go_sleep(10 * GO_MILLISECOND);
	CHECK(go_send(waiter.go_on, NULL) == 0 && go_join(&t, NULL) == 0);
}

/* ---- preemption --------------------------------------------------------------------------------------------------------- */

static int stop, spinning, switches;

static void *spin(void *arg) {
	add(&spinning, 1);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		;
	return arg;
}

/* Goroutines that compute without a call do not keep others from running. */
static void preempt_hogs(void) {
	go_wg wg = {{0}};
	for (int i = 0; i < 10; i++)
		CHECK(go_spawn_wg(&wg, spin, NULL) == 0);
	until(&spinning, 10); /* all of them, on however few Ps */
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	CHECK(go_wg_wait(&wg) == 0);
}

static go_mutex m;
static go_cond c;

static void *wait_once(void *arg) {
	go_mutex_lock(&m);
	add(&switches, 1);
	CHECK(go_cond_wait(&c, &m) == 0);
	CHECK(__atomic_load_n(&stop, __ATOMIC_RELAXED) == 1);
	go_mutex_unlock(&m);
	return arg;
}

/* Who is parked does not notice that others are preempted. */
static void preempt_parked_undisturbed(void) {
	go_wg wg = {{0}}, hogs = {{0}};
	for (int i = 0; i < 20; i++)
		CHECK(go_spawn_wg(&wg, wait_once, NULL) == 0);
	until(&switches, 20);
	for (int i = 0; i < 4; i++)
		CHECK(go_spawn_wg(&hogs, spin, NULL) == 0);
	until(&spinning, 4);
	go_sleep(50 * GO_MILLISECOND); /* several time slices: a chance to go wrong, nothing depends on it */
	go_mutex_lock(&m);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	go_cond_notify_all(&c);
	go_mutex_unlock(&m);
	CHECK(go_wg_wait(&wg) == 0 && go_wg_wait(&hogs) == 0);
}

/* ---- netpoll -------------------------------------------------------------------------------------------------------------- */

static int pairs[20][2];

static int kernel_threads(void) {
	DIR *d = opendir("/proc/self/task");
	int n = 0;
	struct dirent *e;
	while ((e = readdir(d)))
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static void *echo(void *arg) {
	char b[16];
	ssize_t n;
	while ((n = read(pairs[(intptr_t)arg][0], b, sizeof b)) > 0)
		CHECK(write(pairs[(intptr_t)arg][0], b, (size_t)n) == n);
	return NULL;
}

static void *echo_client(void *arg) {
	int fd = pairs[(intptr_t)arg][1], x = 0;
	for (int i = 0; i < 500; i++) {
		CHECK(write(fd, &i, sizeof i) == sizeof i && read(fd, &x, sizeof x) == sizeof x && x == i);
	}
	shutdown(fd, SHUT_RDWR);
	return NULL;
}

/* 10,000 messages there and back between 40 goroutines, on no more kernel threads than Ms. */
static void netpoll_echo(void) {
	go_wg wg = {{0}};
	for (intptr_t i = 0; i < 20; i++) {
		CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[i]) == 0);
		CHECK(go_spawn_wg(&wg, echo, (void *)i) == 0 && go_spawn_wg(&wg, echo_client, (void *)i) == 0);
	}
	CHECK(go_wg_wait(&wg) == 0);
	const char *procs = getenv("GOMAXPROCS");
	CHECK(getenv("ASIDE") || kernel_threads() <= 4 + 2 * (procs ? atoi(procs) : 2) + 4);
}

static void *read_one(void *arg) {
	char b;
	add(&switches, 1);
	CHECK(read(pairs[0][0], &b, 1) == 1 && b == 'x');
	return arg;
}

static void *progress(void *arg) {
	for (int i = 0; i < 1000; i++)
		go_yield();
	CHECK(write(pairs[0][1], "x", 1) == 1);
	return arg;
}

/* A reader that waits holds no P: what it waits for is done by another on the same one. */
static void netpoll_frees_p(void) {
	go_wg wg = {{0}};
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[0]) == 0);
	CHECK(go_spawn_wg(&wg, read_one, NULL) == 0);
	until(&switches, 1);
	CHECK(go_spawn_wg(&wg, progress, NULL) == 0 && go_wg_wait(&wg) == 0);
}

static void *write_later(void *arg) {
	go_sleep(GO_MILLISECOND);
	CHECK(write((int)(intptr_t)arg, "x", 1) == 1);
	return NULL;
}

static void *wait_ctx(void *arg) {
	return (void *)(intptr_t)go_wait_fd_ctx(arg, pairs[1][0], GO_READ, GO_FOREVER);
}

static void netpoll_wait(void) {
	go_wg wg = {{0}};
	go_task t;
	void *r;
	char b;
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pairs[0]) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[1]) == 0);
	CHECK(go_wait_fd(pairs[0][0], GO_READ | GO_WRITE, GO_FOREVER) == GO_WRITE);
	for (int i = 0; i < 20; i++) {
		CHECK(go_wait_fd(pairs[0][0], GO_READ, 10000) == -ETIMEDOUT);
		CHECK(go_spawn_wg(&wg, write_later, (void *)(intptr_t)pairs[0][1]) == 0);
		CHECK(go_wait_fd(pairs[0][0], GO_READ, GO_FOREVER) == GO_READ && read(pairs[0][0], &b, 1) == 1);
	}
	go_ctx *ctx = go_ctx_with_cancel(go_ctx_background());
	CHECK(go_spawn_task(&t, wait_ctx, ctx) == 0);
	go_sleep(GO_MILLISECOND); /* so that it probably waits already; right either way */
	go_ctx_cancel(ctx);
	CHECK(go_join(&t, &r) == 0 && (intptr_t)r == -ECANCELED && go_wg_wait(&wg) == 0);
	close(pairs[0][1]);
	CHECK(go_wait_fd(pairs[0][0], GO_READ, GO_FOREVER) == GO_READ);
	CHECK(go_wait_fd(999, GO_READ, 0) == -EBADF && go_wait_fd(pairs[0][0], 0, 0) == -EINVAL);
	CHECK(go_wait_fd(-1, GO_READ, GO_FOREVER) == -EBADF && go_wait_fd_ctx(go_ctx_background(), -1, GO_WRITE, GO_FOREVER) == -EBADF);
	int null = open("/dev/null", O_RDWR);
	CHECK(go_wait_fd(null, GO_WRITE, GO_FOREVER) == GO_WRITE);
	go_ctx_release(ctx);
}

/* ---- GOMAXPROCS at run time ---------------------------------------------------------------------------------------------- */

/* False: the library stands aside, and says so. */
static bool procs_change(int from, int to) {
	int before = go_gomaxprocs(0);
	if (getenv("ASIDE")) {
		CHECK(go_gomaxprocs(from) == -ENOTSUP && go_gomaxprocs(to) == -ENOTSUP && go_gomaxprocs(0) == before && before >= 1);
		return false;
	}
	CHECK(before >= 1 && go_gomaxprocs(from) == before && go_gomaxprocs(0) == from);
	CHECK(go_gomaxprocs(to) == from && go_gomaxprocs(-1) == to);
	return true;
}

static void procs_increase(void) {
	if (procs_change(1, 5))
		preempt_hogs();
}

static void procs_decrease(void) {
	if (procs_change(6, 2))
		preempt_hogs(); /* nobody is left behind on a P that is gone */
}

static int toggled;

static void *toggle_worker(void *arg) {
	for (int i = 0; i < 200; i++) {
		go_mutex_lock(&m);
		toggled++;
		go_mutex_unlock(&m);
		go_yield();
		if (i % 50 == 0)
			go_sleep(1000);
	}
	return arg;
}

/* 64 goroutines while the number goes up and down between 1 and 8. */
static void procs_toggle(void) {
	go_wg wg = {{0}};
	for (int i = 0; i < 64; i++)
		CHECK(go_spawn_wg(&wg, toggle_worker, NULL) == 0);
	for (int i = 0; i < 40; i++) {
		int r = go_gomaxprocs(i % 2 ? 1 : 8);
		CHECK(getenv("ASIDE") ? r == -ENOTSUP : i ? r == (i % 2 ? 8 : 1) : r >= 1);
		go_sleep(100000);
	}
	CHECK(go_wg_wait(&wg) == 0 && toggled == 64 * 200);
}

/* ---- wired goroutines ------------------------------------------------------------------------------------------------------ */

static go_chan *ring[2];

static pid_t kernel_thread(void) {
	char text[64];
	ssize_t n = readlink("/proc/thread-self", text, sizeof text - 1);
	CHECK(n > 0);
	text[n] = '\0';
	return (pid_t)atoi(strrchr(text, '/') + 1);
}

/* Through parks, yields, sleeps and blocking calls it stays where it is. */
static void *wired(void *arg) {
	CHECK(go_wired(true) == (getenv("ASIDE") != NULL) && go_wired(true));
	pid_t here = kernel_thread();
	for (int i = 0, x; i < 200; i++) {
		CHECK(go_recv(ring[0], &x) == 0 && kernel_thread() == here);
		go_yield();
		CHECK(kernel_thread() == here);
		if (i % 50 == 0)
			go_sleep(GO_MILLISECOND);
		CHECK(go_send(ring[1], &x) == 0 && kernel_thread() == here);
	}
	if (arg)
		CHECK(go_wired(false));
	return NULL;
}

static int not_alone;
static pid_t wired_thread;

static void *stranger(void *arg) {
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		if (kernel_thread() == __atomic_load_n(&wired_thread, __ATOMIC_RELAXED))
			add(&not_alone, 1);
		go_yield();
	}
	return arg;
}

static void *keeps_to_itself(void *arg) {
	go_wired(true);
	__atomic_store_n(&wired_thread, kernel_thread(), __ATOMIC_RELAXED);
	for (int i = 0; i < 100; i++)
		go_yield();
	__atomic_store_n(&wired_thread, 0, __ATOMIC_RELAXED);
	return arg; /* still wired: the kernel thread is everybody's again */
}

static void wired_goroutines(void) {
	go_wg wg = {{0}}, others = {{0}};
	ring[0] = go_chan_make(sizeof(int), 0);
	ring[1] = go_chan_make(sizeof(int), 0);
	for (intptr_t i = 0; i < 3; i++)
		CHECK(go_spawn_wg(&wg, wired, (void *)i) == 0);
	for (int i = 0; i < 600; i++)
		CHECK(go_send(ring[0], &i) == 0 && go_recv(ring[1], NULL) == 0);
	CHECK(go_wg_wait(&wg) == 0);
	CHECK(go_wired(true) == (getenv("ASIDE") != NULL));
	for (int i = 0; i < 4; i++)
		CHECK(go_spawn_wg(&others, stranger, NULL) == 0);
	for (int i = 0; i < 5; i++)
		CHECK(go_spawn_wg(&wg, keeps_to_itself, NULL) == 0 && go_wg_wait(&wg) == 0);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	CHECK(go_wg_wait(&others) == 0 && not_alone == 0 && go_wired(false));
}

/* A goroutine that waits takes 8 KiB at the most, page tables included, and still has all that a pthread has. */
enum { PARKED = 20000, KEYS = 100 };
static go_chan *gate;
static int parked;
static pthread_key_t keys[KEYS];

static void *waits(void *arg) {
	add(&parked, 1);
	CHECK(go_recv(gate, NULL) == -EPIPE);
	return arg;
}

static long memory_kib(void) {
	char line[200];
	long sum = 0, kib;
	FILE *f = fopen("/proc/self/status", "r");
	CHECK(f);
	while (fgets(line, sizeof line, f)) {
		if (sscanf(line, "VmRSS: %ld", &kib) == 1 || sscanf(line, "VmPTE: %ld", &kib) == 1)
			sum += kib;
	}
	fclose(f);
	return sum;
}

static void stack_is_small(void) {
	go_wg wg = {{0}};
	gate = go_chan_make(0, 0);
	long before = memory_kib();
	for (int i = 0; i < (getenv("ASIDE") ? 100 : PARKED); i++)
		CHECK(go_spawn_wg(&wg, waits, NULL) == 0);
	until(&parked, getenv("ASIDE") ? 100 : PARKED);
	long bytes = (memory_kib() - before) * 1024 / PARKED;
	if (bytes > 8192)
		printf("%ld bytes each\n", bytes);
	CHECK(bytes <= 8192);
	go_close(gate);
	CHECK(go_wg_wait(&wg) == 0);
}

/* Every other one leaves values behind, in each of the places that libc has for them; the next one on that stack finds none. */
static void *has_values(void *arg) {
	for (int i = 0; i < KEYS; i++)
		CHECK(pthread_getspecific(keys[i]) == NULL);
	int first = (intptr_t)arg % 4 == 0 ? 0 : (intptr_t)arg % 4 == 1 ? 10 : (intptr_t)arg % 4 == 2 ? 40 : KEYS;
	for (int i = first; i < KEYS; i += 3)
		CHECK(pthread_setspecific(keys[i], arg) == 0);
	for (int i = first; i < KEYS; i += 3)
		CHECK(pthread_getspecific(keys[i]) == arg);
	return arg;
}

static void stack_values_are_gone(void) {
	go_wg wg = {{0}};
	for (int i = 0; i < KEYS; i++)
		CHECK(pthread_key_create(&keys[i], NULL) == 0);
	for (intptr_t i = 1; i <= 4000; i++) {
		CHECK(go_spawn_wg(&wg, has_values, (void *)i) == 0);
		if (i % 10 == 0)
			CHECK(go_wg_wait(&wg) == 0);
	}
	CHECK(go_wg_wait(&wg) == 0);
}

int main(int argc, char **argv) {
	static const struct test tests[] = {
		{"stack_deep_recursion", stack_deep_recursion}, {"stack_window_grows", stack_window_grows},
		{"stack_is_given_back", stack_is_given_back}, {"stack_is_small", stack_is_small},
		{"stack_values_are_gone", stack_values_are_gone},
		{"preempt_hogs", preempt_hogs}, {"preempt_parked_undisturbed", preempt_parked_undisturbed},
		{"netpoll_echo", netpoll_echo}, {"netpoll_frees_p", netpoll_frees_p}, {"netpoll_wait", netpoll_wait},
		{"wired_goroutines", wired_goroutines}, {"procs_increase", procs_increase},
		{"procs_decrease", procs_decrease}, {"procs_toggle", procs_toggle},
		{NULL, NULL},
	};
	return tests_main(tests, argc, argv);
}
