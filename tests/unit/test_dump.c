/* Unwinding and text, which must survive whatever they are given: they look at memory that others are changing. What they say about
 * real goroutines is tested from outside (test_ctl.c). */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dump.h"

Test(dump, peek_does_not_fault) {
	char from[16] = "fifteen letters", to[16];
	cr_expect(peek(to, (uintptr_t)from, sizeof from));
	cr_expect_str_eq(to, from);
	cr_expect(!peek(to, 0, 1));
	cr_expect(!peek(to, 8, 8));
	cr_expect(!peek(to, UINTPTR_MAX - 3, 16));
	char *two = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert(two != MAP_FAILED && munmap(two + 4096, 4096) == 0);
	cr_expect(peek(to, (uintptr_t)two + 4092, 4));
	cr_expect(!peek(to, (uintptr_t)two + 4092, 5), "half of it does not exist");
}

static unsigned char tables[4096] __attribute__((aligned(8)));

/* Any pc is in an object whose tables are noise. */
static bool noise_object(uintptr_t pc, struct unwind_object *out) {
	(void)pc;
	*out = (struct unwind_object){.eh_frame_hdr = (uintptr_t)tables + (rand() % 64) * 8};
	return true;
}

Test(dump, unwinding_noise_ends) {
	unwind_object_hook = noise_object;
	srand(1);
	for (int round = 0; round < 3000; round++) {
		for (size_t i = 0; i < sizeof tables; i++)
			tables[i] = (unsigned char)(rand() % (round % 2 ? 256 : 32));
		/* A head that is believed, and a table with few entries that point into the noise. */
		static const unsigned char head[] = {1, 0x1b, 0x03, 0x3b, 0, 0,    0,  0, 2, 0,
						     0, 0,    0,    0,    0, 0x80, 64, 0, 0, 0};
		for (size_t i = 0; i < 64; i++) {
			if (i % 4 == 0)
				memcpy(tables + i * 8, head, sizeof head);
		}
		struct unwind_frame f = {.known = UINT64_MAX};
		for (int r = 0; r < ARCH_DWARF_REGS; r++)
			f.reg[r] = rand() % 2 ? (uintptr_t)tables + rand() % sizeof tables : (uint64_t)rand() << 20;
		if (round % 50 == 0) {
			struct unwind_frame in_kernel = f;
			in_kernel.known = 1ull << ARCH_DWARF_PC | 1ull << ARCH_DWARF_SP;
			unwind_find_base(&in_kernel, NULL, 0);
		}
		for (int step = 0; step < 64 && unwind_step(&f, NULL); step++)
			continue;
	}
	cr_assert(true, "it got here");
}

static char *text_of(void (*write_it)(struct text *t)) {
	static char result[8192];
	struct text t = {.fd = memfd_create("text", MFD_CLOEXEC)};
	write_it(&t);
	text_flush(&t);
	ssize_t n = pread(t.fd, result, sizeof result - 1, 0);
	result[n > 0 ? n : 0] = '\0';
	close(t.fd);
	return result;
}

static void numbers(struct text *t) {
	text_dec(t, INT64_MIN);
	text_str(t, " ");
	text_hex(t, 0xdeadbeef);
	text_str(t, " ");
	text_time(t, 1550000000);
	text_str(t, " ");
	text_time(t, 999);
	text_str(t, " ");
	text_size(t, 1025);
	text_str(t, " ");
	text_name(t, "a\033[1m\"b", 5);
}

static void much(struct text *t) {
	for (int i = 0; i < 1000; i++)
		text_str(t, "seven. ");
}

Test(dump, text) {
	cr_expect_str_eq(text_of(numbers), "-9223372036854775808 0xdeadbeef 1.5 s 0 us 2 KiB a?[1m");
	const char *all = text_of(much);
	cr_expect(strlen(all) == 7000 && strncmp(all + 6993, "seven. ", 7) == 0);
}

Test(dump, text_to_nobody) {
	int fd[2];
	cr_assert(pipe2(fd, O_CLOEXEC) == 0);
	struct text t = {.fd = open("/dev/full", O_WRONLY | O_CLOEXEC)};
	much(&t);
	text_flush(&t);
	cr_expect(t.failed);
}
