/* The small interface between netpoll.c and what the kernel offers. netpoll_epoll.c is the one back end. */
#ifndef GOSHIM_NETPOLL_BACKEND_H
#define GOSHIM_NETPOLL_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

#define BACKEND_EVENTS 128

struct backend_event {
	uint64_t data;
	uint8_t ready; /* PD_* */
};

int backend_init(void);                                       /* 0 or negative error */
int backend_arm(int fd, uint8_t modes, uint64_t data, int add); /* edge-triggered; modes = PD_READ|PD_WRITE; add: first registration */
void backend_disarm(int fd);
/* Up to BACKEND_EVENTS events; waits timeout_ns (0 none, -1 for ever). Wake-ups by backend_break() are swallowed. */
int backend_wait(struct backend_event *events, int64_t timeout_ns);
/* Sleeps until backend_wait(..., 0) may find something, break included; takes nothing. False: timed out. */
bool backend_await(int64_t timeout_ns);
void backend_break(void);
int backend_owns(int fd);
int backend_own_from(int from); /* the lowest that it owns that is not below; INT_MAX: none */
int backend_evade(unsigned first, unsigned last);
int backend_spare(int first);                                 /* a new descriptor of no consequence, at `first` or above; negative error */
void backend_fork_child(void);
void backend_forget(void);                                    /* before it, in a child whose descriptors are the parent's, too: they stay open */

#endif
