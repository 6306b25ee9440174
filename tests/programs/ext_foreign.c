/* Threads nobody created by pthread_create: libc's own for timers, name lookups and message queues. What they call works beside all others:
 * locks, conditions, semaphores, creation and joining, thread-local data (SCH-11, TIM-4). */
#include "sync_test.h"

#include <mqueue.h>
#include <netdb.h>
#include <aio.h>
#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static sem_t sem;
static int count;
static __thread int own = 7;
static pthread_key_t key;
static _Atomic int destroyed;

static void destroy(void *value) {
	(void)value;
	destroyed++;
}

static void *returns(void *arg) {
	return arg;
}

static void *counts(void *arg) {
	for (int i = 0; i < 100; i++) {
		pthread_mutex_lock(&mutex);
		count++;
		pthread_mutex_unlock(&mutex);
		if (i % 10 == 0)
			usleep(50);
	}
	return arg;
}

/* On whatever thread this is. */
static void work(void) {
	CHECK(own == 7);
	own++;
	CHECK(pthread_getspecific(key) == NULL);
	pthread_setspecific(key, &key);
	CHECK(pthread_equal(pthread_self(), pthread_self()));
	CHECK(gettid() > 0);
	pthread_t t = start(returns, (void *)9);
	EQ(join(t), 9);
	t = start(counts, NULL);
	counts(NULL);
	join(t);
	usleep(200);
	struct timespec ts = in_ms(CLOCK_REALTIME, 2);
	sem_t never;
	sem_init(&never, 0, 0);
	EQ(sem_timedwait(&never, &ts), -1);
	pthread_mutex_lock(&mutex);
	count += 1000000;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&mutex);
	sem_post(&sem);
}

static void on_timer(union sigval value) {
	(void)value;
	own = 7; /* libc may use one thread for several */
	pthread_setspecific(key, NULL);
	work();
}

static void timers(void) {
	timer_t timer;
	struct sigevent ev = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_timer};
	struct itimerspec its = {.it_value = {0, 1000000}};
	for (int i = 1; i <= 5; i++) {
		EQ(timer_create(CLOCK_MONOTONIC, &ev, &timer), 0);
		EQ(timer_settime(timer, 0, &its, NULL), 0);
		pthread_t t = start(counts, NULL);
		pthread_mutex_lock(&mutex);
		while (count < 1000000)
			pthread_cond_wait(&cond, &mutex);
		count -= 1000000;
		pthread_mutex_unlock(&mutex);
		while (sem_wait(&sem) != 0)
			;
		join(t);
		EQ(timer_delete(timer), 0);
	}
	EQ(count, 5 * 300);
	step("timers");
}

static void lookups(void) {
	static struct gaicb list[20], *pointers[20];
	for (int i = 0; i < 20; i++) {
		list[i] = (struct gaicb){.ar_name = "127.0.0.1"};
		pointers[i] = &list[i];
	}
	EQ(getaddrinfo_a(GAI_WAIT, pointers, 20, NULL), 0);
	for (int i = 0; i < 20; i++) {
		EQ(gai_error(pointers[i]), 0);
		freeaddrinfo(list[i].ar_result);
	}
	struct sigevent ev = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_timer};
	EQ(getaddrinfo_a(GAI_NOWAIT, pointers, 1, &ev), 0);
	while (sem_wait(&sem) != 0)
		;
	freeaddrinfo(list[0].ar_result);
	step("lookups");
}

static void asynchronous_io(void) {
	char path[] = "/tmp/ext_foreign.XXXXXX", out[1000], in[1000];
	int fd = mkstemp(path);
	memset(out, 'x', sizeof out);
	struct aiocb cb = {.aio_fildes = fd, .aio_buf = out, .aio_nbytes = sizeof out};
	const struct aiocb *list[] = {&cb};
	EQ(aio_write(&cb), 0);
	while (aio_error(&cb) == EINPROGRESS)
		aio_suspend(list, 1, NULL);
	EQ(aio_return(&cb), (long)sizeof out);
	cb = (struct aiocb){.aio_fildes = fd, .aio_buf = in, .aio_nbytes = sizeof in,
	                    .aio_sigevent = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_timer}};
	EQ(aio_read(&cb), 0);
	while (sem_wait(&sem) != 0)
		;
	EQ(aio_return(&cb), (long)sizeof in);
	CHECK(memcmp(in, out, sizeof in) == 0);
	close(fd);
	unlink(path);
	step("asynchronous i/o");
}

static void queues(void) {
	char name[40];
	snprintf(name, sizeof name, "/ext_foreign.%d", (int)getpid());
	struct mq_attr attr = {.mq_maxmsg = 4, .mq_msgsize = 16};
	mqd_t q = mq_open(name, O_RDWR | O_CREAT, 0600, &attr);
	if (q != (mqd_t)-1) { /* not every system has them */
		struct sigevent ev = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_timer};
		EQ(mq_notify(q, &ev), 0);
		EQ(mq_send(q, "hello", 5, 1), 0);
		while (sem_wait(&sem) != 0)
			;
		mq_close(q);
		mq_unlink(name);
	}
	step("queues");
}

int main(void) {
	test_begin();
	sem_init(&sem, 0, 0);
	EQ(pthread_key_create(&key, destroy), 0);
	join(start(returns, NULL));
	timers();
	lookups();
	asynchronous_io();
	queues();
	return test_end();
}
