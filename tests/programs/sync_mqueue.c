/* Message queues, asynchronous I/O and timers that call a function (TIM-4): what libc does with threads of its own. */
#include "sync_test.h"

#include <aio.h>
#include <fcntl.h>
#include <mqueue.h>
#include <signal.h>
#include <stdatomic.h>

enum { N = 50 };
static mqd_t q;
static _Atomic long notified, ticks;

static void *receives(void *arg) {
	char text[64];
	unsigned priority;
	(void)arg;
	ssize_t n = mq_receive(q, text, sizeof text, &priority);
	return (void *)(n > 0 ? atol(text) : -1);
}

static void *sends(void *arg) {
	char text[64];
	snprintf(text, sizeof text, "%ld", (long)arg);
	return (void *)(long)mq_send(q, text, strlen(text) + 1, (unsigned)(long)arg % 5);
}

static void notify(union sigval v) {
	pthread_mutex_t *m = v.sival_ptr;
	pthread_mutex_lock(m); /* the whole pthread API works there */
	atomic_fetch_add(&notified, 1);
	pthread_mutex_unlock(m);
}

static void queues(void) {
	char name[40], text[64];
	struct mq_attr attr = {.mq_maxmsg = 5, .mq_msgsize = 64};
	static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	struct sigevent ev = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = notify, .sigev_value.sival_ptr = &mutex};
	struct timespec soon;
	pthread_t in[N], out[N];
	long sum = 0, sent = 0;
	snprintf(name, sizeof name, "/goshim-mq-%d", (int)getpid());
	q = mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0600, &attr);
	if (q == (mqd_t)-1) {
		printf("no queues: %s\n", strerror(errno));
		return;
	}
	mq_unlink(name);
	for (long i = 0; i < N; i++)
		in[i] = start(receives, NULL);
	for (long i = 0; i < N; i++)
		out[i] = start(sends, (void *)i);
	for (int i = 0; i < N; i++) {
		sent += join(out[i]);
		sum += join(in[i]);
	}
	printf("queue: %ld %ld\n", sum, sent);
	soon = in_ms(CLOCK_REALTIME, 20);
	EQ(mq_timedreceive(q, text, sizeof text, NULL, &soon), -1);
	EQ(errno, ETIMEDOUT);
	EQ(mq_notify(q, &ev), 0);
	EQ(mq_send(q, "x", 2, 0), 0);
	while (!notified)
		usleep(1000);
	EQ(mq_receive(q, text, sizeof text, NULL), 2);
	EQ(mq_close(q), 0);
	printf("notified %ld\n", notified);
}

static void tick(union sigval v) {
	pthread_mutex_lock(v.sival_ptr);
	atomic_fetch_add(&ticks, 1);
	pthread_mutex_unlock(v.sival_ptr);
}

static void timers(void) {
	static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	struct sigevent ev = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = tick, .sigev_value.sival_ptr = &mutex};
	struct itimerspec when = {{0, 5000000}, {0, 1000000}};
	timer_t t;
	EQ(timer_create(CLOCK_MONOTONIC, &ev, &t), 0);
	EQ(timer_settime(t, 0, &when, NULL), 0);
	while (ticks < 5)
		usleep(1000);
	EQ(timer_delete(t), 0);
}

static void *aio_thread(void *arg) {
	int p[2];
	char text[20] = "";
	CHECK(pipe(p) == 0);
	struct aiocb cb = {.aio_fildes = p[0], .aio_buf = text, .aio_nbytes = sizeof text};
	const struct aiocb *list[] = {&cb};
	(void)arg;
	EQ(aio_read(&cb), 0);
	CHECK(write(p[1], "hello", 6) == 6);
	while (aio_error(&cb) == EINPROGRESS)
		aio_suspend(list, 1, NULL);
	EQ(aio_return(&cb), 6);
	CHECK(strcmp(text, "hello") == 0);
	close(p[0]);
	close(p[1]);
	return NULL;
}

int main(void) {
	pthread_t t[10];
	queues();
	timers();
	for (int i = 0; i < 10; i++)
		t[i] = start(aio_thread, NULL);
	for (int i = 0; i < 10; i++)
		join(t[i]);
	printf("%s\n", failures ? "failed" : "done");
	return failures != 0;
}
