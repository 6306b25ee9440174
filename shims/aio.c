/* Waiting for requests that libc works on by itself: asynchronous I/O and name look-ups. Its waits are futexes of its own that end for any handler on
 * their kernel thread, so a signal for a goroutine that ran there before would end them, too (SIG-1): such a wait goes on. Those without a timeout the kernel
 * restarts after a handler with SA_RESTART.
 *
 * The kernel thread is held meanwhile; sysmon gives the P away. */
#include <aio.h>
#include <mqueue.h>
#include <netdb.h>

#include "io.h"

/* The second name; its prototype has another type of the same layout. */
#define SHIM_64(name) extern __typeof__(name) name##_64 __asm__(#name "64") SHIM_COPY(name) __attribute__((alias(#name), visibility("default")))

SHIM int aio_suspend(const struct aiocb *const list[], int n, const struct timespec *timeout) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(aio_suspend, list, n, timeout);
	REAL_READY();
	struct io_handlers before = io_handlers(g);
	int64_t deadline = timeout ? deadline_rel(timeout) : -1;
	struct timespec left;
	int r = real.aio_suspend(list, n, timeout);
	while (r < 0 && errno == EINTR && io_disturbed(g, before, !timeout))
		r = real.aio_suspend(list, n, time_left(&left, deadline));
	return r;
}

SHIM_64(aio_suspend);

SHIM int gai_suspend(const struct gaicb *const list[], int n, const struct timespec *timeout) {
	struct g *g = io_g();
	if (!g)
		return CALL_REAL(gai_suspend, list, n, timeout);
	REAL_READY();
	struct io_handlers before = io_handlers(g);
	int64_t deadline = timeout ? deadline_rel(timeout) : -1;
	struct timespec left;
	int r = real.gai_suspend(list, n, timeout);
	while (r == EAI_INTR && io_disturbed(g, before, !timeout)) {
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

/* ---- libc makes its threads inside these, with all signals blocked: g_tp_hold() */

/* A call of libc's, on a kernel thread whose thread pointer the kernel knows. */
#define HOLD(name, ...)                              \
	do {                                         \
		struct g *g = g_goroutine();         \
		REAL_READY();                        \
		enum tp_hold hold = g_tp_hold(g);    \
		int r = real.name(__VA_ARGS__);      \
		int saved_errno = errno;             \
		g_tp_release(g, hold);               \
		errno = saved_errno;                 \
		return r;                            \
	} while (0)

SHIM int aio_read(struct aiocb *request) {
	HOLD(aio_read, request);
}

SHIM_64(aio_read);

SHIM int aio_write(struct aiocb *request) {
	HOLD(aio_write, request);
}

SHIM_64(aio_write);

SHIM int aio_fsync(int how, struct aiocb *request) {
	HOLD(aio_fsync, how, request);
}

SHIM_64(aio_fsync);

SHIM int getaddrinfo_a(int mode, struct gaicb *list[], int n, struct sigevent *event) {
	HOLD(getaddrinfo_a, mode, list, n, event);
}

SHIM int mq_notify(mqd_t queue, const struct sigevent *event) {
	if (event && event->sigev_notify == SIGEV_SIGNAL)
		sig_mq_note(event->sigev_signo);
	HOLD(mq_notify, queue, event);
}

static int list_begin(int mode, struct aiocb *const list[], int n, struct sigevent *event) {
	HOLD(lio_listio, mode, list, n, event);
}

/* libc's LIO_WAIT cannot be called again after a handler: it would begin the requests once more, and it leaves the list of who is to be told, which is on
 * its stack, with those that are under way. So the list is begun without waiting, and waited for here. Not a cancellation point. */
SHIM int lio_listio(int mode, struct aiocb *const list[], int n, struct sigevent *event) {
	struct g *g = io_g();
	if (!g || mode != LIO_WAIT)
		return list_begin(mode, list, n, event);
	int error = list_begin(LIO_NOWAIT, list, n, NULL) < 0 ? errno : 0;
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
