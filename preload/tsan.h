/* How an object is told that has ThreadSanitizer's runtime inside: symbols.c asks those in memory, check.c and the launcher files. */
#ifndef GOSHIM_TSAN_H
#define GOSHIM_TSAN_H

/* What libraries may call of the compiler's calls. clang exports it; gcc, whose libraries call none of it, only the functions of libc that the runtime
 * stands in front of. Nobody else has functions of his own for these three together, two of which cannot be handed on as calls. */
#define TSAN_INIT "__tsan_init"
#define TSAN_FRONTS {"pthread_create", "__sigsetjmp", "_setjmp"}
enum { TSAN_FRONT_COUNT = 3 };

#endif
