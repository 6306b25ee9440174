/* The same where GOSHIM=stack=SIZE says what threads get that ask for nothing: what attributes report is what they get. */
#include "thread_attr.c"
