/* For tests that compile a module of their own. */
#ifndef MODULE_TEST_H
#define MODULE_TEST_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { MODULE_PATH_BYTES = 80 };

/* Makes the directory that the template `dir` names, and in it m.c, whose path is then in `path`, with this source. */
static inline bool module_write(char *dir, char path[MODULE_PATH_BYTES], const char *source) {
	if (!mkdtemp(dir))
		return false;
	snprintf(path, MODULE_PATH_BYTES, "%s/m.c", dir);
	FILE *file = fopen(path, "w");
	return file && fputs(source, file) >= 0 && fclose(file) == 0;
}

#endif
