/* The same as io_uring.c and io_uring_tied.c by way of a library whose system calls are its own instructions, as liburing's are: by a module that is linked
 * with it, and by name (SCH-6, SEC-1). The test compiles both. */
#include "uring_test.h"

#include <dlfcn.h>

#define TEXT_OF(...) #__VA_ARGS__
#define TEXT(...) TEXT_OF(__VA_ARGS__)

static const char library[] =
	"#include <linux/io_uring.h>\n"
	"#include <sys/syscall.h>\n"
	TEXT(RAW) "\n"
	"struct io_uring { int fd, number; };\n"
	"int io_uring_setup(unsigned entries, struct io_uring_params *p) { return raw(SYS_io_uring_setup, entries, (long)p, 0, 0, 0, 0); }\n"
	"int io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *p) {\n"
	"	ring->fd = raw(SYS_io_uring_setup, entries, (long)p, 0, 0, 0, 0);\n"
	"	return ring->fd < 0 ? ring->fd : 0;\n"
	"}\n"
	"int io_uring_register_ring_fd(struct io_uring *ring) {\n"
	"	struct io_uring_rsrc_update what = {.offset = -1u, .data = ring->fd};\n"
	"	int r = raw(SYS_io_uring_register, ring->fd, 20, (long)&what, 1, 0, 0);\n"
	"	ring->number = what.offset;\n"
	"	return r;\n"
	"}\n";

static const char user[] =
	"struct io_uring; struct io_uring_params;\n"
	"int io_uring_setup(unsigned, struct io_uring_params *);\n"
	"int io_uring_queue_init_params(unsigned, struct io_uring *, struct io_uring_params *);\n"
	"int io_uring_register_ring_fd(struct io_uring *);\n"
	"int call_setup(unsigned n, void *p) { return io_uring_setup(n, p); }\n"
	"int call_init(unsigned n, void *r, void *p) { return io_uring_queue_init_params(n, r, p); }\n"
	"int call_register(void *r) { return io_uring_register_ring_fd(r); }\n";

static char dir[] = "/tmp/io_uring_library.XXXXXX";

static void *build(const char *name, const char *source, const char *flags) {
	char command[600], path[80];
	snprintf(path, sizeof path, "%s/%s.c", dir, name);
	FILE *file = fopen(path, "w");
	fputs(source, file);
	fclose(file);
	snprintf(command, sizeof command, "cd %s && cc -shared -fPIC -O1 -pthread -o lib%s.so %s.c -L. -Wl,-rpath,%s %s", dir, name, name,
	         dir, flags);
	EQ(system(command), 0);
	snprintf(path, sizeof path, "%s/lib%s.so", dir, name);
	void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!module) {
		printf("FAIL dlopen: %s\n", dlerror());
		exit(1);
	}
	return module;
}

struct io_uring {
	int fd, number;
};

static int (*init)(unsigned, void *, void *), (*register_it)(void *), (*setup)(unsigned, void *);

static bool ring_by_init(struct ring *r) {
	struct io_uring_params p = {0};
	struct io_uring ring;
	r->inlined = true;
	if (init(ENTRIES, &ring, &p) != 0)
		return false;
	ring_map(r, ring.fd, &p);
	return true;
}

static bool ring_by_setup(struct ring *r) {
	struct io_uring_params p = {0};
	int fd = setup(ENTRIES, &p);
	r->inlined = true;
	if (fd < 0)
		return false;
	ring_map(r, fd, &p);
	return true;
}

enum { THREADS = 6, ROUNDS = 30 };

static void *registers(void *arg) {
	struct io_uring_params p = {0};
	struct io_uring ring;
	struct ring r;
	EQ(init(ENTRIES, &ring, &p), 0);
	ring_map(&r, ring.fd, &p);
	long registered = register_it(&ring) == 1, n = -1;
	for (int i = 0, result; registered && i < ROUNDS; i++) {
		ring_queue(&r, IORING_OP_NOP, -1, NULL, 0, i);
		EQ(raw(SYS_io_uring_enter, ring.number, 1, 1, IORING_ENTER_GETEVENTS | ENTER_REGISTERED_RING, 0, 8), 1);
		CHECK(ring_reap(&r, &n, &result));
		EQ(n, i);
		usleep(500);
	}
	close(ring.fd);
	(void)arg;
	return (void *)registered;
}

static void *returns(void *arg) {
	return arg;
}

int main(void) {
	char command[100];
	test_begin();
	if (!mkdtemp(dir))
		return 1;
	join(start(returns, NULL));
	void *ring = build("ring", library, ""), *uses = build("uses", user, "-lring");
	*(void **)&init = dlsym(uses, "call_init");
	*(void **)&setup = dlsym(uses, "call_setup");
	*(void **)&register_it = dlsym(uses, "call_register");
	struct io_uring_params p = {0};
	int probe = (int)raw(SYS_io_uring_setup, ENTRIES, (long)&p, 0, 0, 0, 0);
	if (probe < 0) {
		step("there is no io_uring");
	} else {
		close(probe);
		ring_maker = ring_by_init;
		in_child("linked", many_readers);
		ring_maker = ring_by_setup;
		in_child("linked, its plain call", many_readers);
		int (*linked)(unsigned, void *, void *) = init;
		*(void **)&init = dlsym(ring, "io_uring_queue_init_params");
		ring_maker = ring_by_init;
		in_child("by name", many_readers);
		init = linked;
		pthread_t t[THREADS];
		long count = 0;
		for (int i = 0; i < THREADS; i++)
			t[i] = start(registers, NULL);
		for (int i = 0; i < THREADS; i++)
			count += join(t[i]);
		printf("registered: %ld\n", count);
	}
	dlclose(uses);
	dlclose(ring);
	snprintf(command, sizeof command, "rm -r %s", dir);
	EQ(system(command), 0);
	return test_end();
}
