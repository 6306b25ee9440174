/* For the tests of the core: kernel threads that play foreign threads, a child process for what ends or cripples one, a source of
 * reproducible noise. Nothing here sleeps to synchronise: until() polls a condition and gives the CPU away. */
#ifndef GOSHIM_TESTS_CORE_TEST_H
#define GOSHIM_TESTS_CORE_TEST_H

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proc.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define MS ((int64_t)1000000)
#define SECOND ((int64_t)1000000000)
/* Longer than anything takes on a loaded machine; reached only by a hang. */
#define LONG_NS (20 * SECOND)

/* A failed check anywhere, other threads and forked children included: one line, and this process is over. */
#define must(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
			fflush(stderr); \
			_exit(97); \
		} \
	} while (0)

/* Polls until the condition holds. */
#define until(condition) \
	do { \
		int64_t until_end = nanotime() + LONG_NS; \
		while (!(condition)) { \
			must(nanotime() < until_end); \
			sched_yield(); \
		} \
	} while (0)

static inline uint32_t noise(uint32_t *state) { /* xorshift */
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static inline pthread_t thread_start(void *(*fn)(void *), void *arg) {
	pthread_t t;
	must(pthread_create(&t, NULL, fn, arg) == 0);
	return t;
}

static inline void thread_join(pthread_t t) {
	must(pthread_join(t, NULL) == 0);
}

/* Runs fn in a forked child; returns the wait status. */
static inline int child_status(void (*fn)(void)) {
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		alarm(60);
		fn();
		_exit(0);
	}
	int status = -1;
	cr_assert(pid > 0 && waitpid(pid, &status, 0) == pid);
	return status;
}

#define expect_child_ok(fn) \
	do { \
		int child_result = child_status(fn); \
		cr_expect(child_result == 0, "%s: wait status 0x%x", #fn, child_result); \
	} while (0)

/* From here on every new mapping is refused, as at the end of RLIMIT_AS. In a child only. */
static inline void memory_refuse(void) {
	struct rlimit none = {0, 0};
	must(setrlimit(RLIMIT_AS, &none) == 0);
}

/* From here on system call nr fails with `error`; with arg >= 0 only when that argument's lower half equals value. In a child only. */
static inline void syscall_refuse(int nr, int arg, uint32_t value, int error) {
	uint32_t data = arg < 0 ? offsetof(struct seccomp_data, nr) : offsetof(struct seccomp_data, args) + 8 * (uint32_t)arg;
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)nr, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, data),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, arg < 0 ? (uint32_t)nr : value, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {LENGTH(code), code};
	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

#endif
