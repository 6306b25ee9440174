/* A bounded buffer with a condition variable for each of its two sides, between goroutines. bounded_buffer_pthread.c is the same without goshim.h. */
#include <goshim.h>
#include <stdio.h>

enum { ROOM = 8, PRODUCERS = 4, CONSUMERS = 3, ITEMS = 1000 };

static go_mutex lock;
static go_cond not_full, not_empty;
static int buffer[ROOM], used, in, out;
static long left = PRODUCERS * ITEMS, sum;

static void *produce(void *arg) {
	for (int i = 1; i <= ITEMS; i++) {
		go_mutex_lock(&lock);
		while (used == ROOM)
			go_cond_wait(&not_full, &lock);
		buffer[in] = i;
		in = (in + 1) % ROOM;
		used++;
		go_cond_notify_one(&not_empty);
		go_mutex_unlock(&lock);
	}
	return arg;
}

static void *consume(void *arg) {
	go_mutex_lock(&lock);
	while (left > 0) {
		if (used == 0) {
			go_cond_wait(&not_empty, &lock);
			continue;
		}
		sum += buffer[out];
		out = (out + 1) % ROOM;
		used--;
		if (--left == 0)
			go_cond_notify_all(&not_empty); /* the other consumers can go home */
		go_cond_notify_one(&not_full);
	}
	go_mutex_unlock(&lock);
	return arg;
}

int main(void) {
	go_wg wg = {{0}};
	for (int i = 0; i < PRODUCERS; i++)
		go_spawn_wg(&wg, produce, NULL);
	for (int i = 0; i < CONSUMERS; i++)
		go_spawn_wg(&wg, consume, NULL);
	go_wg_wait(&wg);
	printf("sum %ld\n", sum);
	return 0;
}
