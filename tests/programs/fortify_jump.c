/* sig_jump as built with -D_FORTIFY_SOURCE: __longjmp_chk() looks at the stacks (SIG-11, CAN-9). */
#include "sig_jump.c"
