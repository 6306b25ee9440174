/* Two threads let each other go on by two spin locks, 10,000 times in turns: one of them spins all the time. Prints "ready" when it is over; ends when standard
 * input does. */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static pthread_spinlock_t turn[2];

static void *takes_turns(void *arg) {
	pthread_spinlock_t *mine = arg, *others = mine == turn ? turn + 1 : turn;
	for (int i = 0; i < 10000; i++) {
		pthread_spin_lock(mine);
		pthread_spin_unlock(others);
	}
	return NULL;
}

int main(void) {
	pthread_t t[2];
	char byte;
	for (int i = 0; i < 2; i++)
		pthread_spin_init(&turn[i], PTHREAD_PROCESS_PRIVATE);
	pthread_spin_lock(&turn[1]);
	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, takes_turns, (void *)&turn[i]);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	puts("ready");
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		continue;
	return 0;
}
