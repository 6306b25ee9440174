/* setuid and its family reach all other threads when main has ended, or is about to: in a cleanup handler, in a destructor of its data. So in the child
 * of a fork, where the thread that forked takes main's place. Without privileges there is nothing to see. SEC-2 */
#include <grp.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 6, LOOKS = 15, NOBODY = 65534 };
enum { STAYS, GONE, IN_HANDLER, IN_DESTRUCTOR, FORKER_GONE, WAYS };
static const char *const ways[] = {"main stays", "main has ended", "main is in a cleanup handler", "main is in a destructor", "the thread that forked has ended"};

struct ids {
	uid_t r, e, s, gr, ge, gs;
	gid_t group;
};

static pthread_barrier_t before, after;
static pthread_key_t key;
static volatile int stop, wrong;
static struct ids want;

/* Of the kernel thread that runs the caller. */
static int looks_wrong(void) {
	struct ids is = {0};
	gid_t group[8] = {0};
	syscall(SYS_getresuid, &is.r, &is.e, &is.s);
	syscall(SYS_getresgid, &is.gr, &is.ge, &is.gs);
	long n = syscall(SYS_getgroups, 8, group);
	return n != 1 || group[0] != want.group || is.r != want.r || is.e != want.e || is.s != want.s || is.gr != want.gr || is.ge != want.ge || is.gs != want.gs;
}

static void *there(void *arg) {
	for (;;) {
		pthread_barrier_wait(&before);
		if (stop)
			return arg;
		for (int i = 0; i < LOOKS; i++) {
			for (volatile int k = 0; k < 20000; k++)
				;
			if (looks_wrong())
				__atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
			usleep(50);
		}
		pthread_barrier_wait(&after);
	}
}

static void round_of(const char *call, int r) {
	wrong = 0;
	pthread_barrier_wait(&before);
	pthread_barrier_wait(&after);
	if (r != 0 || looks_wrong() || wrong)
		printf("%s: %d, wrong here: %d, elsewhere: %s\n", call, r, looks_wrong(), wrong ? "some" : "none");
}

static void *changes(void *arg) {
	pthread_t t[THREADS];
	gid_t group = 4242;
	for (int i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, there, NULL);
	usleep(10000); /* main is where it is to be */
	want.group = group;
	round_of("setgroups", setgroups(1, &group));
	want.ge = NOBODY;
	round_of("setegid", setegid(NOBODY));
	want.gr = want.gs = NOBODY;
	round_of("setgid", setgid(NOBODY));
	want.e = NOBODY;
	round_of("seteuid", seteuid(NOBODY));
	want.e = 0;
	round_of("seteuid back", seteuid(0));
	want.r = NOBODY;
	round_of("setreuid", setreuid(NOBODY, -1));
	want.e = want.s = NOBODY - 1;
	want.r = NOBODY - 2;
	want.s = 0;
	round_of("setresuid", setresuid(NOBODY - 2, NOBODY - 1, 0));
	want.e = 0;
	round_of("setresuid back", setresuid(-1, 0, -1));
	want.r = want.e = want.s = NOBODY;
	round_of("setuid", setuid(NOBODY));
	stop = 1;
	pthread_barrier_wait(&before);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	puts("all changed");
	fflush(stdout);
	_exit(0);
	return arg;
}

static void waits(void *arg) {
	for (;;)
		pause();
}

static void *forks(void *arg) {
	int status;
	pthread_t t;
	pid_t pid = fork();
	if (pid == 0) {
		pthread_create(&t, NULL, changes, NULL);
		return arg;
	}
	waitpid(pid, &status, 0);
	_exit(status != 0);
}

static int child(int way) {
	pthread_t t;
	alarm(20);
	pthread_barrier_init(&before, NULL, THREADS + 1);
	pthread_barrier_init(&after, NULL, THREADS + 1);
	pthread_key_create(&key, waits);
	pthread_create(&t, NULL, way == FORKER_GONE ? forks : changes, NULL);
	if (way == STAYS || way == FORKER_GONE)
		pthread_join(t, NULL);
	if (way == IN_DESTRUCTOR)
		pthread_setspecific(key, &key);
	if (way != IN_HANDLER)
		pthread_exit(NULL);
	pthread_cleanup_push(waits, NULL);
	pthread_exit(NULL);
	pthread_cleanup_pop(0);
}

int main(void) {
	for (int way = 0; way < WAYS && geteuid() == 0; way++) {
		int status = -1;
		puts(ways[way]);
		fflush(stdout);
		pid_t pid = fork();
		if (pid == 0)
			_exit(child(way));
		waitpid(pid, &status, 0);
		if (status != 0)
			printf("ended with %#x\n", status);
	}
	puts("end");
	return 0;
}
