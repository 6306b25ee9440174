/* What `goshim --list` says of an exported symbol. See surface.c. */
#ifndef GOSHIM_SURFACE_H
#define GOSHIM_SURFACE_H

/* Its family: a section of real.def, "goshim" for our own, "other". */
const char *surface_family(const char *symbol);

/* How it waits, in words; NULL: the table below has forgotten it. */
const char *surface_how(const char *symbol);

#endif
