/* A request to end and a signal come to a thread at once, which waits in the kernel: whichever the kernel lets it see first, and wherever in the other's handling, on
 * an alternate stack or not, with everything blocked: the thread ends, and the next threads hear of their own signals (SIG-6). Every other time a process that
 * traces the thread holds it until both are there, so that the kernel delivers both before it goes on; where nobody may trace, it is left to chance. */
#include "sync_test.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { ROUNDS = 600, OTHERS = 4 };

struct message {
	long type;
	char text[8];
};

static int queue;
static pid_t child;
static _Atomic int waits;
static sem_t go, done, heard;
static pthread_t other[OTHERS];

static void handler(int sig) {
	char frame[512];
	memset(frame, sig, sizeof frame);
	__asm__ volatile("" : : "r"(frame) : "memory");
}

static void hears(int sig) {
	(void)sig;
	sem_post(&heard);
}

/* ---- the tracer ---------------------------------------------------------------------------------------------------------- */

static int ask[2], answer[2];
static pid_t tracer;

/* The kernel thread of `pid` that waits in system call `number`; 0: none does. */
static pid_t in_call(pid_t pid, long number) {
	char path[80], text[64];
	pid_t found = 0;
	snprintf(path, sizeof path, "/proc/%d/task", pid);
	DIR *d = opendir(path);
	for (struct dirent *e; d && !found && (e = readdir(d));) {
		snprintf(path, sizeof path, "/proc/%d/task/%.20s/syscall", pid, e->d_name);
		int fd = open(path, O_RDONLY);
		ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
		close(fd);
		text[n > 0 ? n : 0] = '\0';
		char *end;
		if (strtol(text, &end, 10) == number && end != text && *end == ' ')
			found = (pid_t)atol(e->d_name);
	}
	closedir(d);
	return found;
}

/* Holds, and at the next word lets go. Says 0: none held. */
static void trace(pid_t pid) {
	long number;
	char c;
	while (read(ask[0], &number, sizeof number) == sizeof number) {
		pid_t t = 0;
		for (int i = 0; i < 1000 && !(t = in_call(pid, number)); i++)
			sched_yield();
		if (t && (ptrace(PTRACE_SEIZE, t, 0, 0) < 0 || ptrace(PTRACE_INTERRUPT, t, 0, 0) < 0 || waitpid(t, NULL, __WALL) != t))
			t = 0;
		write(answer[1], &t, sizeof t);
		if (read(ask[0], &c, 1) == 1 && t)
			ptrace(PTRACE_DETACH, t, 0, 0);
	}
	_exit(0);
}

static void tracer_start(void) {
	pid_t pid = getpid();
	pipe(ask);
	pipe(answer);
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	tracer = fork();
	if (tracer == 0) {
		close(ask[1]);
		trace(pid);
	}
}

static void hold(long number) {
	pid_t t = 0;
	write(ask[1], &number, sizeof number);
	EQ(read(answer[0], &t, sizeof t), sizeof t);
}

static void let_go(void) {
	write(ask[1], "", 1);
}

/* ---- the threads ----------------------------------------------------------------------------------------------------------- */

static void freed(void *stack) {
	stack_t none = {.ss_flags = SS_DISABLE};
	sigaltstack(&none, NULL);
	free(stack);
}

static void *ends(void *arg) {
	struct message m;
	stack_t ss = {.ss_sp = malloc(1 << 16), .ss_size = 1 << 16};
	pthread_cleanup_push(freed, ss.ss_sp);
	sigaltstack(&ss, NULL);
	waits = 1;
	for (;;) {
		if (arg)
			CHECK(waitpid(child, NULL, 0) < 0);
		else
			CHECK(msgrcv(queue, &m, sizeof m.text, 1, 0) < 0);
	}
	pthread_cleanup_pop(1);
	return NULL;
}

/* There all the time: it comes to a kernel thread that another one has left. */
static void *told(void *arg) {
	struct message m = {.text = ""};
	(void)arg;
	while (m.text[0] != 'e') {
		sem_wait(&go);
		waits++;
		while (msgrcv(queue, &m, sizeof m.text, 2, 0) < 0)
			;
		sem_post(&done);
	}
	return NULL;
}

static void meet(int round) {
	struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_RESTART | (round & 16 ? SA_ONSTACK : 0)};
	sigfillset(&sa.sa_mask);
	sigaction(SIGUSR1, &sa, NULL);
	waits = 0;
	pthread_t t = start(ends, (void *)(long)(round % 2));
	while (!waits)
		sched_yield();
	bool traced = round & 8;
	if (traced)
		hold(round % 2 ? SYS_wait4 : SYS_msgrcv);
	else
		usleep(round % 7 * 20);
	if (round & 4)
		pthread_kill(t, SIGUSR1);
	pthread_cancel(t);
	if (!(round & 4))
		pthread_kill(t, SIGUSR1);
	if (traced)
		let_go();
	EQ(join(t), (long)PTHREAD_CANCELED);
	waits = 0;
	for (int i = 0; i < OTHERS; i++)
		sem_post(&go);
	while (waits < OTHERS)
		sched_yield();
	usleep(100); /* mostly they wait in the kernel now */
	for (int i = 0; i < OTHERS; i++)
		pthread_kill(other[i], SIGUSR2);
	for (int i = 0; i < OTHERS; i++) {
		struct timespec late = in_ms(CLOCK_REALTIME, 20000);
		EQ(sem_timedwait(&heard, &late), 0);
	}
	struct message m = {.type = 2};
	m.text[0] = round == ROUNDS - 1 ? 'e' : 'g';
	for (int i = 0; i < OTHERS; i++)
		CHECK(msgsnd(queue, &m, sizeof m.text, 0) == 0);
	for (int i = 0; i < OTHERS; i++)
		sem_wait(&done);
}

/* ---- one that joins ------------------------------------------------------------------------------------------------------ */

static void *joins(void *arg) {
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	waits = 1;
	pthread_join((pthread_t)arg, NULL);
	return NULL;
}

static void *waits_for_go(void *arg) {
	while (sem_wait(&go) < 0)
		;
	return arg;
}

/* It leaves the other one to be joined by somebody else. */
static void joiner_ends(void) {
	for (int i = 0; i < 200; i++) {
		waits = 0;
		pthread_t t = start(waits_for_go, (void *)7), joiner = start(joins, (void *)t);
		while (!waits)
			sched_yield();
		usleep(i % 5 * 20);
		pthread_kill(joiner, SIGUSR1);
		pthread_cancel(joiner);
		EQ(join(joiner), (long)PTHREAD_CANCELED);
		sem_post(&go);
		EQ(join(t), 7);
	}
}

int main(void) {
	struct sigaction sa = {.sa_handler = hears};
	sigaction(SIGUSR2, &sa, NULL);
	sem_init(&heard, 0, 0);
	sem_init(&go, 0, 0);
	sem_init(&done, 0, 0);
	queue = msgget(IPC_PRIVATE, 0600);
	child = fork();
	if (child == 0) {
		alarm(120);
		for (;;)
			pause();
	}
	tracer_start();
	for (int i = 0; i < OTHERS; i++)
		other[i] = start(told, NULL);
	for (int i = 0; i < ROUNDS && !failures; i++)
		meet(i);
	kill(child, SIGKILL);
	EQ(waitpid(child, NULL, 0), child);
	for (int i = 0; i < OTHERS && !failures; i++)
		join(other[i]);
	if (!failures) /* else they take its words to go */
		joiner_ends();
	close(ask[1]);
	EQ(waitpid(tracer, NULL, 0), tracer);
	msgctl(queue, IPC_RMID, NULL);
	return test_end();
}
