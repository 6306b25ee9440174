/* The control socket, GOSHIM=ctl=1. The library's side is ctl.c, the launcher's ctl_client.c. */
#ifndef GOSHIM_CTL_H
#define GOSHIM_CTL_H

/* Both sides: where the socket of a process is. */
#define CTL_FOLDER "goshim" /* below XDG_RUNTIME_DIR; else /tmp/goshim-UID */
#define CTL_REQUEST_MAX 128 /* a request is one line: words separated by single spaces */
/* A reply is text, then a NUL byte, then one of these: an end that was not sent is a connection that broke. */
#define CTL_DONE '0'
#define CTL_FAILED '1'

/* Starts what the settings ask for, once the runtime is up: the server's thread, the tracer's. One line on stderr when that fails; the
 * program goes on without. */
void ctl_start(void);

/* `goshim ctl PID COMMAND...`; returns the exit status. */
int ctl_client(int argc, char **argv);

#endif
