/* exec of a setuid program by a thread, beside threads that wait in the kernel: it runs with its owner's rights, as it does when no thread is
 * being made at that moment (FRK-9). Programs that nothing can be preloaded into run as children as they do without goshim: static ones, 32-bit
 * ones, ones without the variable (FRK-12). As another user than root there is no setuid program to execute, and that line says so. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXECS = 15, WAITERS = 12, NOBODY = 65534 };
static char dir[] = "/tmp/fork_exec.XXXXXX", path[64], lock_path[64];

static int reap(pid_t pid) {
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void file_write(const char *name, const void *bytes, size_t n, mode_t mode) {
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
	if (fd < 0 || write(fd, bytes, n) != (ssize_t)n || fchmod(fd, mode) != 0)
		exit(3);
	close(fd);
}

/* ---- setuid ---------------------------------------------------------------------------------------------------- */

/* One after the other in the kernel: whoever runs such threads on few kernel threads makes and ends some all the time. */
static void *waits(void *arg) {
	int fd = open(lock_path, O_RDWR | O_CLOEXEC);
	for (;;) {
		flock(fd, LOCK_EX);
		usleep(50);
		flock(fd, LOCK_UN);
	}
	return arg;
}

static void *executes(void *arg) {
	char *argv[] = {path, "rights", NULL};
	usleep(2000 + 100 * (unsigned)(long)arg); /* anywhere in what the others do */
	execv(path, argv);
	_exit(9);
}

static int execute_one(int i) {
	pid_t pid = fork();
	if (pid == 0) {
		pthread_t t;
		if (setuid(NOBODY) != 0)
			_exit(8);
		for (int j = 0; j < WAITERS; j++)
			pthread_create(&t, NULL, waits, NULL);
		pthread_create(&t, NULL, executes, (void *)(long)i);
		pthread_join(t, NULL);
	}
	return reap(pid);
}

static void setuid_programs(void) {
	int lost = 0, failed = 0;
	if (getuid() != 0) {
		puts("setuid: not root");
		return;
	}
	static char self[1 << 20];
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, self, sizeof self);
	close(fd);
	file_write(path, self, (size_t)n, 04755);
	file_write(lock_path, "", 0, 0666);
	for (int i = 0; i < EXECS; i++) {
		int r = execute_one(i);
		lost += r == 1;
		failed += r != 0 && r != 1;
	}
	printf("setuid: %s lost, %s failed\n", lost ? "some" : "none", failed ? "some" : "none");
}

/* ---- nothing to preload into -------------------------------------------------------------------------------------- */


/* A program that ends with a status of its own: name, word size, where it is loaded, machine, its instructions. */
#define ELF_PROGRAM(name, bits, address, machine, ...) \
	static const struct { \
		Elf##bits##_Ehdr e; \
		Elf##bits##_Phdr p; \
		unsigned char text[12]; \
	} name = { \
		.e = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS##bits, ELFDATA2LSB, EV_CURRENT}, \
		      .e_type = ET_EXEC, .e_machine = machine, .e_version = EV_CURRENT, .e_entry = (address) + sizeof name.e + sizeof name.p, \
		      .e_phoff = sizeof name.e, .e_ehsize = sizeof name.e, .e_phentsize = sizeof name.p, .e_phnum = 1}, \
		.p = {.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = address, .p_paddr = address, \
		      .p_filesz = sizeof name, .p_memsz = sizeof name, .p_align = 0x1000}, \
		.text = {__VA_ARGS__}}
ELF_PROGRAM(exits_64, 64, 0x400000, EM_X86_64, 0xb8, 60, 0, 0, 0, 0xbf, 43, 0, 0, 0, 0x0f, 0x05); /* _exit(43) */
ELF_PROGRAM(exits_32, 32, 0x8048000, EM_386, 0xb8, 1, 0, 0, 0, 0xbb, 42, 0, 0, 0, 0xcd, 0x80);    /* _exit(42) */

static int run(const void *image, size_t bytes) {
	char *argv[] = {path, NULL};
	file_write(path, image, bytes, 0755);
	pid_t pid = vfork();
	if (pid == 0) {
		execv(path, argv);
		_exit(errno == ENOEXEC ? 100 : 101);
	}
	return reap(pid);
}

static void says(const char *command) {
	char line[200] = "";
	FILE *f = popen(command, "r");
	while (f && fgets(line, sizeof line, f))
		printf("%s: %s", command, line);
	if (f)
		printf("ended with %d\n", pclose(f));
}

static void *children(void *arg) {
	printf("static: %d\n", run(&exits_64, sizeof exits_64));
	printf("32-bit: %d\n", run(&exits_32, sizeof exits_32));
	says("/sbin/ldconfig --version 2>&1 >/dev/null");
	says("env -u LD_PRELOAD sh -c 'echo \"alone $LD_PRELOAD\"' 2>&1");
	fflush(stdout);
	return arg;
}

int main(int argc, char **argv) {
	pthread_t t;
	if (argc > 1)
		return strcmp(argv[1], "rights") == 0 && geteuid() == 0 ? 0 : 1;
	if (!mkdtemp(dir))
		return 2;
	chmod(dir, 0755);
	snprintf(path, sizeof path, "%s/program", dir);
	snprintf(lock_path, sizeof lock_path, "%s/lock", dir);
	children(NULL);
	pthread_create(&t, NULL, children, NULL);
	pthread_join(t, NULL);
	setuid_programs();
	unlink(path);
	unlink(lock_path);
	rmdir(dir);
	return 0;
}
