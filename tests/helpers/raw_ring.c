/* Makes an io_uring with an instruction of its own, as a program that liburing was linked into; never run. */
int main(int argc, char **argv) {
	(void)argv;
	if (argc > 100) {
		long r;
#if defined(__x86_64__)
		__asm__ volatile("movl $425, %%eax\n\tsyscall" : "=a"(r) : : "rcx", "r11", "memory");
#elif defined(__aarch64__)
		__asm__ volatile("mov x8, #425\n\tsvc #0\n\tmov %0, x0" : "=r"(r) : : "x0", "x8", "memory");
#else
		r = 0;
#endif
		return (int)r;
	}
	return 0;
}
