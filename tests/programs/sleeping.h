/* Shared by programs whose next step must not come before a thread waits. Plain Linux; nothing of goshim. */
#ifndef SLEEPING_H
#define SLEEPING_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* Until thread *tid waits, or has ended: what it was to wait for may have come. 0: it has not said its number yet. */
static inline void await_sleeping(_Atomic pid_t *tid) {
	char path[64], text[256];
	for (char *state = NULL; !state || state[2] != 'S'; usleep(1000)) {
		snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)*tid);
		int fd = *tid ? open(path, O_RDONLY) : -1;
		if (*tid && fd < 0 && errno == ENOENT)
			return;
		ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
		if (fd >= 0)
			close(fd);
		text[n > 0 ? n : 0] = '\0';
		state = strrchr(text, ')');
	}
}

#endif
