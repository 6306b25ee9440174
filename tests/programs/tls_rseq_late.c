/* Restartable sequences (TLS-9), looked for when threads are there already, in each way that a program has: by dlsym() or dlvsym(), by a module that is linked
 * against __rseq_offset, by one that is opened so that libc's sched_getcpu() comes before any other. In all threads, old ones, used ones and new ones, the area then is
 * either the kernel's to keep or says that it is not, and sched_getcpu() names the CPU that the thread is bound to. A process for each way: nothing is left
 * over from the one before. The modules are compiled by the test. */
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "module_test.h"
#include "sync_test.h"

static const char source[] =
	"#define _GNU_SOURCE\n"
	"#include <sched.h>\n"
	"#include <stddef.h>\n"
	"#ifdef LINKED\n"
	"extern const ptrdiff_t __rseq_offset;\n"
	"ptrdiff_t get(void) { return __rseq_offset; }\n"
	"#else\n"
	"ptrdiff_t get(void) { return sched_getcpu(); }\n"
	"#endif\n";

enum { OLD = 12, NEW = 12, CPUS_MAX = 4 };
enum way { NO_WAY, DLSYM, DLVSYM, MODULE, DEEPBIND, WAYS };

static char dir[] = "/tmp/tls_rseq_late.XXXXXX", modules[WAYS][MODULE_PATH_BYTES];
static int cpu_of[CPUS_MAX], cpus;
static ptrdiff_t rseq_offset; /* 0: nobody asked */
static int (*getcpu_deep)(void);
static sem_t asked;

static void bind_to(int cpu) {
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	EQ(pthread_setaffinity_np(pthread_self(), sizeof set, &set), 0);
}

static void look(int cpu) {
	EQ(sched_getcpu(), cpu);
	if (getcpu_deep)
		EQ(getcpu_deep(), cpu);
	if (!rseq_offset)
		return;
	struct rseq *area = (struct rseq *)((char *)__builtin_thread_pointer() + rseq_offset);
	int noted = (int)__atomic_load_n(&area->cpu_id, __ATOMIC_RELAXED);
	CHECK(noted < 0 || noted == cpu);
}

static void *thread(void *arg) {
	int cpu = cpu_of[(long)arg % cpus];
	bind_to(cpu);
	look(cpu);
	return NULL;
}

/* In its child it is the only thread. */
static void *forks(void *arg) {
	int status = -1;
	pid_t pid = fork();
	if (pid == 0) {
		for (int i = 0; i < cpus; i++)
			thread((void *)(long)i);
		_exit(failures != 0);
	}
	EQ(waitpid(pid, &status, 0), pid);
	EQ(status, 0);
	return arg;
}

static void *old(void *arg) {
	int cpu = cpu_of[(long)arg % cpus];
	/* One in three is bound before: it has a kernel thread of its own already. */
	if ((long)arg % 3 == 0) {
		bind_to(cpu);
		EQ(sched_getcpu(), cpu);
	}
	sem_take(&asked);
	return thread(arg);
}

static void ask(enum way way) {
	const ptrdiff_t *at = NULL;
	void *module = way >= MODULE ? dlopen(modules[way], RTLD_NOW | (way == DEEPBIND ? RTLD_DEEPBIND : 0)) : NULL;
	if (way >= MODULE && !module) {
		printf("FAIL dlopen: %s\n", dlerror());
		exit(1);
	}
	if (way == DLSYM)
		at = dlsym(RTLD_DEFAULT, "__rseq_offset");
	else if (way == DLVSYM)
		at = dlvsym(RTLD_DEFAULT, "__rseq_offset", "GLIBC_2.35");
	else if (way == MODULE)
		rseq_offset = ((ptrdiff_t(*)(void))dlsym(module, "get"))();
	else if (way == DEEPBIND)
		getcpu_deep = (int (*)(void))dlsym(module, "get");
	if (at)
		rseq_offset = *at;
}

static int child(enum way way) {
	pthread_t t[OLD + NEW];
	sem_init(&asked, 0, 0);
	for (long i = 0; i < 5; i++) /* whose stacks others get */
		EQ(join(start(thread, (void *)i)), 0);
	for (long i = 0; i < OLD; i++)
		t[i] = start(old, (void *)i);
	usleep(2000); /* most of them wait by then */
	ask(way);
	for (long i = 0; i < OLD; i++)
		sem_post(&asked);
	for (long i = OLD; i < OLD + NEW; i++)
		t[i] = start(thread, (void *)i);
	for (int i = 0; i < OLD + NEW; i++)
		EQ(join(t[i]), 0);
	for (long i = 0; i < OLD; i++) /* on stacks that were others' when nobody had asked */
		t[i] = start(thread, (void *)i);
	for (int i = 0; i < OLD; i++)
		EQ(join(t[i]), 0);
	EQ(join(start(forks, NULL)), 0);
	thread(NULL);
	return failures != 0;
}

static bool compile(enum way way, const char *text, const char *flag) {
	char command[300];
	snprintf(modules[way], sizeof modules[way], "%s/%d.so", dir, way);
	snprintf(command, sizeof command, "cc -shared -fPIC -O1 %s -o %s %s", flag, modules[way], text);
	return system(command) == 0;
}

int main(void) {
	char text[MODULE_PATH_BYTES];
	cpu_set_t set;
	test_begin();
	CHECK(sched_getaffinity(0, sizeof set, &set) == 0);
	for (int i = 0; i < CPU_SETSIZE && cpus < CPUS_MAX; i++) {
		if (CPU_ISSET(i, &set))
			cpu_of[cpus++] = i;
	}
	if (!module_write(dir, text, source) || !compile(MODULE, text, "-DLINKED") || !compile(DEEPBIND, text, ""))
		return 1;
	for (enum way way = NO_WAY; way < WAYS; way++) {
		int status = -1;
		pid_t pid = fork();
		if (pid == 0)
			exit(child(way));
		EQ(waitpid(pid, &status, 0), pid);
		printf("way %d: %d\n", way, status);
		fflush(stdout);
	}
	unlink(modules[MODULE]);
	unlink(modules[DEEPBIND]);
	unlink(text);
	rmdir(dir);
	return test_end();
}
