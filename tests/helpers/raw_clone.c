/* Makes a system call that makes threads, and one that waits, past libc; never run. */
int main(int argc, char **argv) {
	(void)argv;
	if (argc > 100) {
		long r;
#if defined(__x86_64__)
		__asm__ volatile("movl $435, %%eax\n\tsyscall" : "=a"(r) : : "rcx", "r11", "memory");
		__asm__ volatile("movl $202, %%eax\n\tsyscall" : "=a"(r) : : "rcx", "r11", "memory");
#else
		r = 0;
#endif
		return (int)r;
	}
	return 0;
}
