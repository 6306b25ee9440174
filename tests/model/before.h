/* Included before everything else in core/ files that are checked, and in the scenarios: takes the places of core/lock.h and of the CPU's arch_syscall.h. */
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "lock_rank.h"
#include "model.h"

#ifndef MODEL_REAL_LOCK
#define GOSHIM_LOCK_H
struct lock {
	_Atomic uint32_t word;
};
static inline void lock_acquire(struct lock *l, enum lock_rank rank) {
	(void)rank;
	model_lock(&l->word);
}
static inline void lock_release(struct lock *l) {
	model_unlock(&l->word);
}
static inline void lock_none_held(void) {
}
#endif

/* sched.c's switches are a wait for one's turn (stand_ins.c); the real ones are the checker's own. */
#define arch_switch stand_in_switch

#define GOSHIM_ARCH_SYSCALL_H
#define SYS0(n) model_syscall((n), 0, 0, 0, 0)
#define SYS1(n, a) model_syscall((n), (long)(a), 0, 0, 0)
#define SYS2(n, a, b) model_syscall((n), (long)(a), (long)(b), 0, 0)
#define SYS3(n, a, b, c) model_syscall((n), (long)(a), (long)(b), (long)(c), 0)
#define SYS4(n, a, b, c, d) model_syscall((n), (long)(a), (long)(b), (long)(c), (long)(d))
#define SYS5(n, a, b, c, d, e) ((void)(e), model_syscall((n), (long)(a), (long)(b), (long)(c), (long)(d)))
#define SYS6(n, a, b, c, d, e, f) ((void)(e), (void)(f), model_syscall((n), (long)(a), (long)(b), (long)(c), (long)(d)))
