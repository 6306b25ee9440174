/* Everything at once, with invariants, in bounded time: a bounded queue (mutex, two condition variables, timed waits), tokens
 * (semaphores), a table (rwlock), phases (barrier), bursts of threads that come and go. */
#include <semaphore.h>

#include "sync_test.h"

#define ITEMS 4000
#define PRODUCERS 4
#define CONSUMERS 4
#define ROOM 5

static pthread_mutex_t qlock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t not_full = PTHREAD_COND_INITIALIZER, not_empty = PTHREAD_COND_INITIALIZER;
static long queue[ROOM], queued, head, produced, consumed;

static void *producer(void *arg) {
	(void)arg;
	for (long i = 1; i <= ITEMS; i++) {
		pthread_mutex_lock(&qlock);
		while (queued == ROOM)
			pthread_cond_wait(&not_full, &qlock);
		queue[(head + queued++) % ROOM] = i;
		produced += i;
		if (i % 3)
			pthread_cond_signal(&not_empty);
		else
			pthread_cond_broadcast(&not_empty);
		pthread_mutex_unlock(&qlock);
	}
	return NULL;
}

static void *consumer(void *arg) {
	(void)arg;
	for (long i = 0; i < ITEMS * PRODUCERS / CONSUMERS; i++) {
		pthread_mutex_lock(&qlock);
		while (queued == 0) {
			if (i & 1) {
				pthread_cond_wait(&not_empty, &qlock);
			} else {
				struct timespec ts = in_ms(CLOCK_REALTIME, 1);
				int r = pthread_cond_timedwait(&not_empty, &qlock, &ts);
				CHECK(r == 0 || r == ETIMEDOUT);
			}
		}
		consumed += queue[head];
		head = (head + 1) % ROOM;
		queued--;
		pthread_mutex_unlock(&qlock);
		pthread_cond_signal(&not_full);
	}
	return NULL;
}

static void bounded_queue(void) {
	step("bounded queue");
	pthread_t t[PRODUCERS + CONSUMERS];
	for (int i = 0; i < PRODUCERS; i++)
		t[i] = start(producer, NULL);
	for (int i = 0; i < CONSUMERS; i++)
		t[PRODUCERS + i] = start(consumer, NULL);
	for (int i = 0; i < PRODUCERS + CONSUMERS; i++)
		join(t[i]);
	EQ(queued, 0);
	EQ(produced, consumed);
}

/* A ring of threads hands one token round. */
#define RING 50
static sem_t ring[RING];
static long passes;

static void *ring_thread(void *arg) {
	long me = (long)arg;
	for (int i = 0; i < 100; i++) {
		EQ(sem_wait(&ring[me]), 0);
		passes++;
		EQ(sem_post(&ring[(me + 1) % RING]), 0);
	}
	return NULL;
}

static void token_ring(void) {
	step("token ring");
	pthread_t t[RING];
	for (int i = 0; i < RING; i++)
		EQ(sem_init(&ring[i], 0, i == 0), 0);
	for (long i = 0; i < RING; i++)
		t[i] = start(ring_thread, (void *)i);
	for (int i = 0; i < RING; i++)
		join(t[i]);
	EQ(passes, RING * 100);
}

/* Phases: in even ones everybody reads the table, in odd ones one of them writes it. */
static pthread_barrier_t phase;
static pthread_rwlock_t table_lock = PTHREAD_RWLOCK_INITIALIZER;
static long table[8], writers;

static void *phase_thread(void *arg) {
	(void)arg;
	for (int i = 0; i < 200; i++) {
		pthread_rwlock_rdlock(&table_lock);
		for (int k = 1; k < 8; k++)
			EQ(table[k], table[0]);
		pthread_rwlock_unlock(&table_lock);
		if (pthread_barrier_wait(&phase) == PTHREAD_BARRIER_SERIAL_THREAD) {
			pthread_rwlock_wrlock(&table_lock);
			writers++;
			for (int k = 0; k < 8; k++)
				table[k]++;
			pthread_rwlock_unlock(&table_lock);
		}
	}
	return NULL;
}

static void phases(void) {
	step("phases");
	pthread_t t[8];
	EQ(pthread_barrier_init(&phase, NULL, 8), 0);
	for (int i = 0; i < 8; i++)
		t[i] = start(phase_thread, NULL);
	for (int i = 0; i < 8; i++)
		join(t[i]);
	EQ(pthread_barrier_destroy(&phase), 0);
	EQ(writers, 200);
	EQ(table[7], 200);
}

/* Bursts: many threads wait for one broadcast, count under the mutex, and end. */
static pthread_mutex_t glock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate = PTHREAD_COND_INITIALIZER;
static long generation, through;

static void *burst_thread(void *arg) {
	pthread_mutex_lock(&glock);
	while (generation == (long)arg)
		pthread_cond_wait(&gate, &glock);
	through++;
	pthread_mutex_unlock(&glock);
	return NULL;
}

static void bursts(void) {
	step("bursts");
	pthread_t t[100];
	for (long round = 0; round < 10; round++) {
		for (int i = 0; i < 100; i++)
			t[i] = start(burst_thread, (void *)round);
		pthread_mutex_lock(&glock);
		generation++;
		if (round & 1)
			pthread_mutex_unlock(&glock);
		pthread_cond_broadcast(&gate);
		if (!(round & 1))
			pthread_mutex_unlock(&glock);
		for (int i = 0; i < 100; i++)
			join(t[i]);
	}
	EQ(through, 1000);
}

int main(void) {
	test_begin();
	bounded_queue();
	token_ring();
	phases();
	bursts();
	return test_end();
}
