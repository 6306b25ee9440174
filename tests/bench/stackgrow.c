/*
 * How a stack should grow: what one 4 KiB page of new depth costs, by three ways. core/README.md tells what follows from it.
 *
 *	touch       the slot is readable and writable as a whole; the kernel supplies each page on its first touch
 *	mprotect    only a window at the top is accessible (64 KiB at first); a SIGSEGV handler on an alternate stack doubles it with
 *	            mprotect, then the page is touched as above
 *	marker      the same with guard markers: MADV_GUARD_INSTALL over all but the window, MADV_GUARD_REMOVE in the handler
 *
 * A slot is 8 MiB, the usual default of a thread, with a guard below; slots lie side by side, as the runtime's do. For each way and depth a
 * child process makes fresh slots and descends into each from the top, one write per page, as calls do. Times are CPU time. Output,
 * a line each:
 *
 *	WAY  DEPTH in KiB  ns per page of the descent  ns to make a slot  KiB resident and KiB of page tables per slot  mappings per slot
 *
 *	gcc -O2 -o stackgrow tests/bench/stackgrow.c && ./stackgrow
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

#define KIB ((size_t)1024)
#define PAGE (4 * KIB)
#define SLOT (8192 * KIB)
#define STRIDE (SLOT + 4 * PAGE) /* not a multiple of 2 MiB: the guard shares a page-table page with the top of the slot below */
#define WINDOW (64 * KIB)
#define TOTAL (65536 * KIB) /* touched by each measurement, so that every depth averages over as many pages */
#define SLOTS_MAX 4096

enum way { TOUCH, MPROTECT, MARKER };
static const char *const names[] = {"touch", "mprotect", "marker"};

static enum way way;
static char *volatile slot;    /* the one that is being descended into */
static volatile size_t window; /* accessible bytes at its top */
static long growths;

static void die(const char *what) {
	perror(what);
	exit(1);
}

static int64_t now(void) {
	struct timespec ts;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void grow(int sig, siginfo_t *info, void *context) {
	(void)sig;
	(void)context;
	char *at = info->si_addr;
	if (at < slot || at >= slot + SLOT - window)
		_exit(3);
	size_t old = window;
	while (at < slot + SLOT - window)
		window = window * 2 < SLOT ? window * 2 : SLOT - PAGE;
	char *lo = slot + SLOT - window;
	if (way == MPROTECT ? mprotect(lo, window - old, PROT_READ | PROT_WRITE) : madvise(lo, window - old, MADV_GUARD_REMOVE))
		_exit(4);
	growths++;
}

static void handler_install(void) {
	static char alternate[65536];
	stack_t ss = {.ss_sp = alternate, .ss_size = sizeof alternate};
	struct sigaction sa = {.sa_sigaction = grow, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	memset(alternate, 1, sizeof alternate);
	if (sigaltstack(&ss, NULL) || sigaction(SIGSEGV, &sa, NULL))
		die("sigaction");
}

static void slot_make(char *s) {
	switch (way) {
	case TOUCH: /* the guard only, as the runtime makes it */
		if (madvise(s, PAGE, MADV_GUARD_INSTALL))
			die("MADV_GUARD_INSTALL");
		break;
	case MPROTECT:
		if (mprotect(s + SLOT - WINDOW, WINDOW, PROT_READ | PROT_WRITE))
			die("mprotect");
		break;
	case MARKER:
		if (madvise(s, SLOT - WINDOW, MADV_GUARD_INSTALL))
			die("MADV_GUARD_INSTALL");
		break;
	}
}

/* A field of /proc/self/status in KiB. */
static long status_kib(const char *field) {
	char line[256];
	long kib = 0;
	FILE *f = fopen("/proc/self/status", "r");
	while (f && fgets(line, sizeof line, f)) {
		if (!strncmp(line, field, strlen(field)))
			kib = atol(line + strlen(field) + 1);
	}
	if (f)
		fclose(f);
	return kib;
}

static long mappings(void) {
	long n = 0;
	FILE *f = fopen("/proc/self/maps", "r");
	for (int c; f && (c = fgetc(f)) != EOF;)
		n += c == '\n';
	if (f)
		fclose(f);
	return n;
}

static void measure(size_t depth) {
	int count = (int)(TOTAL / depth);
	if (count > SLOTS_MAX)
		count = SLOTS_MAX;
	handler_install();
	char *slots = mmap(NULL, (size_t)count * STRIDE, way == MPROTECT ? PROT_NONE : PROT_READ | PROT_WRITE,
	                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (slots == MAP_FAILED || madvise(slots, (size_t)count * STRIDE, MADV_NOHUGEPAGE))
		die("mmap");
	long rss = status_kib("VmRSS:"), pte = status_kib("VmPTE:"), maps = mappings();
	rss = status_kib("VmRSS:"); /* again: the first look touched pages of its own */
	int64_t start = now();
	for (int i = 0; i < count; i++)
		slot_make(slots + (size_t)i * STRIDE);
	int64_t setup = now() - start;
	start = now();
	for (int i = 0; i < count; i++) {
		slot = slots + (size_t)i * STRIDE;
		window = WINDOW;
		for (size_t at = PAGE; at <= depth; at += PAGE)
			*(volatile char *)(slot + SLOT - at) = 1;
	}
	int64_t descent = now() - start;
	rss = status_kib("VmRSS:") - rss;
	pte = status_kib("VmPTE:") - pte;
	maps = mappings() - maps;
	long expected = 0;
	for (size_t w = WINDOW; way != TOUCH && w < depth; w *= 2)
		expected++;
	if (growths != expected * count) {
		fprintf(stderr, "%ld growths, expected %ld\n", growths, expected * count);
		exit(1);
	}
	printf("%-9s %5zu %8.0f %9.0f %9.1f %8.1f %6.2f\n", names[way], depth / KIB,
	       (double)descent / ((double)count * (double)(depth / PAGE)), (double)setup / count, (double)rss / count, (double)pte / count,
	       (double)maps / count);
}

int main(void) {
	static const size_t depths[] = {16 * KIB, 64 * KIB, 128 * KIB, 512 * KIB, 4096 * KIB};
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t d = 0; d < sizeof depths / sizeof *depths; d++) {
		for (way = TOUCH; way <= MARKER; way++) {
			pid_t pid = fork();
			int status = 0;
			if (pid == 0) {
				measure(depths[d]);
				exit(0);
			}
			if (pid < 0 || waitpid(pid, &status, 0) != pid)
				die("fork");
			if (status)
				printf("%-9s %5zu not on this kernel (status 0x%x)\n", names[way], depths[d] / KIB, status);
		}
	}
	return 0;
}
