/* Waiting for requests that libc works on by itself: asynchronous I/O and name look-ups. Its waits are futexes of its own that end for any handler on
 * their kernel thread, so a signal for a goroutine that ran there before would end them, too (SIG-1): such a wait goes on.
 *
 * The kernel thread is held meanwhile; sysmon gives the P away. */
#include <aio.h>

#include "io.h"

/* The second name; its prototype has another type of the same layout. */
#define SHIM_64(name) extern __typeof__(name) name##_64 __asm__(#name "64") SHIM_COPY(name) __attribute__((alias(#name), visibility("default")))

SHIM int aio_suspend(const struct aiocb *const list[], int n, const struct timespec *timeout) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(aio_suspend, list, n, timeout);
	REAL_READY();
	uint32_t handlers = io_handlers(g);
	int64_t deadline = timeout ? deadline_rel(timeout) : -1;
	struct timespec left;
	int r = real.aio_suspend(list, n, timeout);
	while (r < 0 && io_disturbed(g, -errno, handlers))
		r = real.aio_suspend(list, n, time_left(&left, deadline));
	return r;
}

SHIM_64(aio_suspend);

SHIM int gai_suspend(const struct gaicb *const list[], int n, const struct timespec *timeout) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(gai_suspend, list, n, timeout);
	REAL_READY();
	uint32_t handlers = io_handlers(g);
	int64_t deadline = timeout ? deadline_rel(timeout) : -1;
	struct timespec left;
	int r = real.gai_suspend(list, n, timeout);
	while (r == EAI_INTR && io_disturbed(g, -EINTR, handlers)) {
		r = real.gai_suspend(list, n, time_left(&left, deadline));
		if (r == EAI_ALLDONE) /* they were not when the wait began */
			r = 0;
	}
	return r;
}

/* ---- lists ------------------------------------------------------------------------------------------------------------ */

static bool is_request(const struct aiocb *cb) {
	return cb && cb->aio_lio_opcode != LIO_NOP;
}

/* Until none is under way any more. 0 or EINTR. */
static int wait_for_all(struct aiocb *const list[], int n) {
	for (int i = 0; i < n; i++)
		while (is_request(list[i]) && aio_error(list[i]) == EINPROGRESS)
			if (aio_suspend((const struct aiocb *const *)&list[i], 1, NULL) < 0 && errno == EINTR)
				return EINTR;
	return 0;
}

/* No request has another result than `error`. */
static bool all_failed(struct aiocb *const list[], int n, int error) {
	for (int i = 0; i < n; i++)
		if (is_request(list[i]) && aio_error(list[i]) != error)
			return false;
	return true;
}

static bool any_failed(struct aiocb *const list[], int n) {
	for (int i = 0; i < n; i++)
		if (is_request(list[i]) && aio_error(list[i]) != 0)
			return true;
	return false;
}

/* libc's LIO_WAIT cannot be called again after a handler: it would begin the requests once more, and it leaves the list of who is to be told, which is on
 * its stack, with those that are under way. So the list is begun without waiting, and waited for here. Not a cancellation point. */
SHIM int lio_listio(int mode, struct aiocb *const list[], int n, struct sigevent *event) {
	struct g *g = io_g();
	if (!g || mode != LIO_WAIT)
		return CALL_REAL(lio_listio, mode, list, n, event);
	REAL_READY();
	int error = real.lio_listio(LIO_NOWAIT, list, n, NULL) < 0 ? errno : 0;
	if (error && all_failed(list, n, error)) /* none was begun: its reason, not EIO */
		return (int)sys_ret(-error);
	int state;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	error = wait_for_all(list, n);
	pthread_setcancelstate(state, NULL);
	if (error == 0 && any_failed(list, n))
		error = EIO;
	return (int)sys_ret(-error);
}

SHIM_64(lio_listio);
