/* Priority ceilings of mutexes: what raises a thread's priority while it holds them. See ceiling.c. */
#ifndef GOSHIM_CEILING_H
#define GOSHIM_CEILING_H

struct ceilings;
struct g;

/* The caller is about to take a mutex with this ceiling, 1 and up: 0 or an error number. */
int ceiling_enter(int ceiling);
/* It has let go of it, or did not get it. 0, or what libc's unlock would return. */
int ceiling_leave(int ceiling);
/* What ceilings make of g's `priority`; 0 is none that can be raised. */
int ceiling_raises(struct g *g, int priority);
/* libc has set main's own priority. */
void ceiling_again(void);
/* For the next thread on that G; may be NULL. */
void ceilings_reset(struct ceilings *c);
/* In the child of g, which forked with what it holds; NULL: no goroutine did. Before g is main there. */
void ceiling_fork_child(struct g *g);
/* The runtime starts; g is main, whose priority is what the kernel says. */
void ceiling_start(struct g *g);

#endif
