/* Addresses where nothing may be read, or nothing written, and objects that end beyond what may be: EFAULT, as the kernel says it, also where something else than the
 * kernel reads it (SEC-4). What libc itself reads or writes would be a crash natively, too, and is not asked. */
#include "bad_address_test.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>

enum { PAGE = 4096 };

/* Of what is read. */
static void others(void *bad) {
	struct iovec vector = {bad, 8}, two[2] = {{(char[8]){0}, 8}, {bad, 8}};
	struct msghdr by_vector = {.msg_iov = bad, .msg_iovlen = 1}, of_bytes = {.msg_iov = &vector, .msg_iovlen = 1},
		      named = {.msg_name = bad, .msg_namelen = 16}, controlled = {.msg_control = bad, .msg_controllen = 32};
	struct mmsghdr many = {.msg_hdr = by_vector};
	int tcp = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0), pipes[2];
	if (pipe(pipes) != 0)
		_exit(1);
	TELL(connect(tcp, bad, 16));
	TELL(connect(udp, bad, 16));
	TELL(sendto(udp, "a", 1, 0, bad, 16));
	TELL(sendmsg(sv[0], bad, 0));
	TELL(sendmsg(sv[0], &by_vector, 0));
	TELL(sendmsg(sv[0], &of_bytes, 0));
	TELL(sendmsg(udp, &named, 0));
	TELL(sendmsg(sv[0], &controlled, 0));
	TELL(sendmmsg(sv[0], bad, 1, 0));
	TELL(sendmmsg(sv[0], &many, 1, 0));
	TELL(recvmsg(sv[0], bad, 0));
	TELL(recvmmsg(-1, bad, 1, 0, NULL));
	TELL(write(sv[0], bad, 8));
	TELL(write(pipes[1], bad, 8));
	TELL(writev(sv[0], bad, 1));
	TELL(writev(sv[0], two, 2));
	TELL(writev(pipes[1], bad, 2));
	TELL(writev(pipes[1], two, 2));
	TELL(poll(bad, 1, 1));
	TELL(poll(bad, 20, 1));
	TELL(nanosleep(bad, NULL));
	TELL(clock_nanosleep(CLOCK_MONOTONIC, 0, bad, NULL));
	TELL(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, bad, NULL));
	TELL(open(bad, O_RDONLY));
	TELL(access(bad, R_OK));
	TELL(fcntl(pipes[0], F_SETOWN_EX, bad));
	TELL(setsockopt(tcp, SOL_SOCKET, SO_RCVTIMEO, bad, 16));
	TELL(syscall(SYS_capget, bad, NULL));
	TELL(syscall(SYS_nanosleep, bad, NULL));
	TELL(syscall(SYS_sched_setattr, 0, bad, 0));
	close(tcp);
	close(udp);
	close(pipes[0]);
	close(pipes[1]);
}

/* Of what is written. The memory can be read. */
static void results(void *bad) {
	struct timespec now = {0, 0};
	TELL(clock_gettime(CLOCK_THREAD_CPUTIME_ID, bad));
	TELL(getrusage(RUSAGE_THREAD, bad));
	TELL(sched_getaffinity(0, 128, bad));
	TELL(sched_getparam(0, bad) == -1);
	TELL(prctl(PR_GET_NAME, bad));
	TELL(sigaltstack(NULL, bad));
	TELL(sigprocmask(SIG_BLOCK, &set, bad));
	pthread_kill(pthread_self(), SIGUSR1);
	TELL(sigtimedwait(&set, bad, &now));
	TELL(sigtimedwait(&set, NULL, &now));
	TELL(select(1, bad, NULL, NULL, (struct timeval[]){{0, 1}}));
	TELL(syscall(SYS_ppoll, &pf, 1, bad, NULL, 8)); /* a time that cannot be written back */
	TELL(syscall(SYS_timer_create, CLOCK_MONOTONIC, NULL, bad));
	TELL(syscall(SYS_futex, &word, FUTEX_WAKE_OP_PRIVATE, 1, 1, bad, 0));
	TELL(pipe(bad));
	TELL(socketpair(AF_UNIX, SOCK_STREAM, 0, bad));
}

static void *body(void *arg) {
	char *memory = arg;
	for (int round = 0; round < 2; round++) { /* what was found good before */
		for (size_t bytes = 0; bytes < 64; bytes += 8)
			memory[bytes] = 0;
		TELL(nanosleep((void *)memory, NULL));
		optional(memory + PAGE + 64);
		for_ever(memory + PAGE + 64);
		required(memory + PAGE + 64);
		others(memory + PAGE + 64);
		optional(memory + PAGE - 4);
		for_ever(memory + PAGE - 4);
		results(memory + 2 * PAGE);
		required((void *)-PAGE);
		others((void *)-PAGE);
	}
	return arg;
}

int main(void) {
	pthread_t t;
	bad_address_begin();
	char *memory = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED || mprotect(memory + PAGE, PAGE, PROT_NONE) != 0 || mprotect(memory + 2 * PAGE, PAGE, PROT_READ) != 0)
		return 1;
	pthread_create(&t, NULL, body, memory);
	pthread_join(t, NULL);
	body(memory);
	return 0;
}
