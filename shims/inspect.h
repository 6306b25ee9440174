/* What reports (core/dump.c) ask of the shims. See inspect.c. */
#ifndef GOSHIM_INSPECT_H
#define GOSHIM_INSPECT_H

/* Sets the core's hooks. Once, before the runtime starts. */
void inspect_init(void);

#endif
