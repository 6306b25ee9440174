/* Terminals for the programs that test them. */
#ifndef TERMINAL_TEST_H
#define TERMINAL_TEST_H

#include <stdlib.h>
#include <termios.h>

#include "io_test.h"

/* A pair of ends, without echo; *t are its settings. */
static inline void terminal_open(int *master, int *slave, struct termios *t) {
	*master = posix_openpt(O_RDWR | O_NOCTTY);
	EQ(grantpt(*master), 0);
	EQ(unlockpt(*master), 0);
	*slave = open(ptsname(*master), O_RDWR | O_NOCTTY);
	CHECK(*slave >= 0);
	EQ(tcgetattr(*slave, t), 0);
	t->c_lflag &= ~(tcflag_t)ECHO;
	EQ(tcsetattr(*slave, TCSANOW, t), 0);
}

/* No lines: a read waits for `min` bytes, or for `tenths` of a second. */
static inline void terminal_raw(int slave, struct termios *t, cc_t min, cc_t tenths) {
	t->c_lflag &= ~(tcflag_t)ICANON;
	t->c_cc[VMIN] = min;
	t->c_cc[VTIME] = tenths;
	EQ(tcsetattr(slave, TCSANOW, t), 0);
}

#endif
