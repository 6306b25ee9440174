/* Asynchronous I/O from threads: lists that are waited for and lists that tell by a thread or a signal when all is done, waiting for one of several, cancelling, fsync
 * behind them; and a message queue's notice by signal and by a thread with attributes. libc does it all with threads of its own. */
#include "sync_test.h"

#include <aio.h>
#include <fcntl.h>
#include <mqueue.h>
#include <semaphore.h>
#include <signal.h>

enum { BLOCKS = 16, BYTES = 512, THREADS = 4, STACK = 1 << 20, MESSAGE = 8 };

static sem_t told;

static void tells(union sigval value) {
	pthread_attr_t attr;
	size_t size;
	pthread_getattr_np(pthread_self(), &attr);
	pthread_attr_getstacksize(&attr, &size);
	pthread_attr_destroy(&attr);
	EQ(size, STACK);
	__atomic_fetch_add((int *)value.sival_ptr, 1, __ATOMIC_SEQ_CST);
	sem_post(&told);
}

static void fill(struct aiocb *cb, struct aiocb **list, char (*data)[BYTES], int fd, int op) {
	memset(cb, 0, BLOCKS * sizeof *cb);
	for (int i = 0; i < BLOCKS; i++) {
		cb[i] = (struct aiocb){.aio_fildes = fd, .aio_buf = data[i], .aio_nbytes = BYTES, .aio_offset = i * BYTES, .aio_lio_opcode = op};
		cb[i].aio_sigevent.sigev_notify = SIGEV_NONE;
		list[i] = &cb[i];
	}
}

static void returned(struct aiocb *cb) {
	for (int i = 0; i < BLOCKS; i++) {
		EQ(aio_error(&cb[i]), 0);
		EQ(aio_return(&cb[i]), BYTES);
	}
}

static void *lists(void *arg) {
	static __thread char data[BLOCKS][BYTES], back[BLOCKS][BYTES];
	struct aiocb cb[BLOCKS], *list[BLOCKS];
	char name[] = "/tmp/aio.XXXXXX";
	int fd = mkstemp(name), called = 0;
	unlink(name);
	for (int i = 0; i < BLOCKS; i++)
		memset(data[i], 'a' + i, BYTES);
	fill(cb, list, data, fd, LIO_WRITE);
	EQ(lio_listio(LIO_WAIT, list, BLOCKS, NULL), 0);
	returned(cb);
	struct aiocb sync = {.aio_fildes = fd};
	const struct aiocb *one[] = {NULL, &sync};
	EQ(aio_fsync(O_DSYNC, &sync), 0);
	while (aio_error(&sync) == EINPROGRESS)
		EQ(aio_suspend(one, 2, NULL), 0);
	EQ(aio_return(&sync), 0);

	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = tells, .sigev_notify_attributes = &attr,
	                         .sigev_value.sival_ptr = &called};
	fill(cb, list, back, fd, LIO_READ);
	list[3] = NULL; /* is skipped */
	cb[5].aio_lio_opcode = LIO_NOP;
	EQ(lio_listio(LIO_NOWAIT, list, BLOCKS, &event), 0);
	while (!__atomic_load_n(&called, __ATOMIC_SEQ_CST))
		sem_wait(&told);
	EQ(called, 1);
	for (int i = 0; i < BLOCKS; i++)
		EQ(memcmp(data[i], back[i], BYTES) == 0, i != 3 && i != 5);

	/* each by itself */
	fill(cb, list, back, fd, LIO_READ);
	cb[0].aio_sigevent = event;
	called = 0;
	EQ(aio_read(&cb[0]), 0);
	while (!__atomic_load_n(&called, __ATOMIC_SEQ_CST))
		sem_wait(&told);
	EQ(aio_return(&cb[0]), BYTES);
	cb[1].aio_fildes = -1;
	list[1] = &cb[1];
	list[0] = &cb[0];
	EQ(lio_listio(LIO_WAIT, list, 2, NULL), -1);
	EQ(aio_error(&cb[1]), EBADF);
	pthread_attr_destroy(&attr);
	close(fd);
	return NULL;
}

/* Before there are threads of libc's that may take the signal: it is for the process. */
static void *signals(void *arg) {
	static __thread char data[BLOCKS][BYTES], back[BLOCKS][BYTES];
	struct aiocb cb[BLOCKS], *list[BLOCKS];
	char name[] = "/tmp/aio.XXXXXX";
	int fd = mkstemp(name), sig = SIGRTMIN + (int)(long)arg;
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = sig, .sigev_value.sival_int = 5};
	sigset_t set;
	siginfo_t info;
	unlink(name);
	for (int i = 0; i < BLOCKS; i++)
		memset(data[i], 'a' + i, BYTES);
	CHECK(write(fd, data, sizeof data) == sizeof data);
	fill(cb, list, back, fd, LIO_READ);
	EQ(lio_listio(LIO_NOWAIT, list, BLOCKS, &event), 0);
	sigemptyset(&set);
	sigaddset(&set, sig);
	EQ(sigwaitinfo(&set, &info), sig);
	EQ(info.si_code, SI_ASYNCIO);
	EQ(info.si_value.sival_int, 5);
	returned(cb);
	CHECK(memcmp(data, back, sizeof data) == 0);
	fill(cb, list, back, fd, LIO_READ);
	cb[0].aio_sigevent = event;
	cb[0].aio_sigevent.sigev_value.sival_int = 6;
	EQ(aio_read(&cb[0]), 0);
	EQ(sigwaitinfo(&set, &info), sig);
	EQ(info.si_value.sival_int, 6);
	EQ(aio_return(&cb[0]), BYTES);
	close(fd);
	return NULL;
}

/* One of two pipes; then the other is taken back. */
static void *pipes(void *arg) {
	int a[2], b[2];
	char x[4] = "", y[4] = "", z[4] = "";
	CHECK(pipe(a) == 0 && pipe(b) == 0);
	struct aiocb first = {.aio_fildes = a[0], .aio_buf = x, .aio_nbytes = 1}, second = {.aio_fildes = b[0], .aio_buf = y, .aio_nbytes = 1},
	             behind = {.aio_fildes = b[0], .aio_buf = z, .aio_nbytes = 1};
	const struct aiocb *list[] = {&first, &second};
	struct timespec soon = {0, 1000000};
	EQ(aio_read(&first), 0);
	EQ(aio_read(&second), 0);
	EQ(aio_read(&behind), 0);
	EQ(aio_suspend(list, 2, &soon), -1);
	EQ(errno, EAGAIN);
	CHECK(write(a[1], "x", 1) == 1);
	EQ(aio_suspend(list, 2, NULL), 0);
	EQ(aio_error(&first), 0);
	EQ(aio_error(&second), EINPROGRESS);
	EQ(aio_cancel(b[0], &behind), AIO_CANCELED); /* behind another of its descriptor it has not begun */
	EQ(aio_error(&behind), ECANCELED);
	CHECK(write(b[1], "y", 1) == 1);
	list[0] = NULL;
	EQ(aio_suspend(list, 2, NULL), 0);
	EQ(aio_return(&second), 1);
	EQ(aio_cancel(b[0], NULL), AIO_ALLDONE);
	printf("%s", x[0] == 'x' && y[0] == 'y' ? "" : "wrong bytes\n");
	for (int i = 0; i < 2; i++) {
		close(a[i]);
		close(b[i]);
	}
	return arg;
}

static mqd_t queue(void) {
	char name[40];
	struct mq_attr limits = {.mq_maxmsg = 4, .mq_msgsize = MESSAGE};
	snprintf(name, sizeof name, "/aio-lists-%d", (int)getpid());
	mqd_t q = mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0600, &limits);
	mq_unlink(name);
	return q;
}

static void *notice_by_signal(void *arg) {
	char text[MESSAGE];
	sigset_t set;
	siginfo_t info;
	mqd_t q = queue();
	if (q == (mqd_t)-1)
		return arg;
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 9};
	EQ(mq_notify(q, &event), 0);
	EQ(mq_notify(q, &event), -1);
	EQ(errno, EBUSY);
	EQ(mq_send(q, "m", 2, 1), 0);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	EQ(sigwaitinfo(&set, &info), SIGRTMIN);
	EQ(info.si_code, SI_MESGQ);
	EQ(info.si_value.sival_int, 9);
	EQ(info.si_pid, getpid());
	EQ(mq_receive(q, text, sizeof text, NULL), 2);
	mq_close(q);
	return arg;
}

static int called_by_queue;

static void *notices(void *arg) {
	char text[MESSAGE];
	pthread_attr_t attr;
	mqd_t q = queue();
	if (q == (mqd_t)-1)
		return arg; /* none to be had here */
	struct sigevent event;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	event = (struct sigevent){.sigev_notify = SIGEV_THREAD, .sigev_notify_function = tells, .sigev_notify_attributes = &attr,
	                          .sigev_value.sival_ptr = &called_by_queue};
	EQ(mq_notify(q, &event), 0);
	EQ(mq_send(q, "n", 2, 1), 0);
	while (!__atomic_load_n(&called_by_queue, __ATOMIC_SEQ_CST))
		sem_wait(&told);
	EQ(mq_receive(q, text, sizeof text, NULL), 2);
	EQ(mq_notify(q, &event), 0);
	EQ(mq_notify(q, NULL), 0); /* not any more */
	EQ(mq_send(q, "o", 2, 1), 0);
	pthread_attr_destroy(&attr);
	mq_close(q);
	return arg;
}

int main(void) {
	pthread_t t[THREADS];
	sigset_t set;
	test_begin();
	sem_init(&told, 0, 0);
	sigemptyset(&set);
	for (int i = 0; i < THREADS; i++)
		sigaddset(&set, SIGRTMIN + i);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	for (long i = 0; i < THREADS; i++)
		t[i] = start(signals, (void *)i);
	for (int i = 0; i < THREADS; i++)
		join(t[i]);
	step("signals");
	join(start(notice_by_signal, NULL));
	step("notice by signal");
	for (long i = 0; i < THREADS; i++)
		t[i] = start(lists, (void *)i);
	for (int i = 0; i < THREADS; i++)
		join(t[i]);
	step("lists");
	for (int i = 0; i < THREADS; i++)
		t[i] = start(pipes, NULL);
	for (int i = 0; i < THREADS; i++)
		join(t[i]);
	step("pipes");
	join(start(notices, NULL));
	step("notices");
	return test_end();
}
