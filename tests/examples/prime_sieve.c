/* The prime sieve: a chain of goroutines, each of which lets pass what its prime does not divide. Argument: how many primes. */
#include <goshim.h>
#include <stdio.h>
#include <stdlib.h>

struct filter {
	go_chan *in, *out;
	int prime;
};

static void *generate(void *arg) {
	for (int i = 2; go_send((go_chan *)arg, &i) == 0; i++)
		;
	return NULL;
}

static void *filter(void *arg) {
	struct filter *f = (struct filter *)arg;
	int i;
	GO_RANGE(f->in, &i) {
		if (i % f->prime != 0 && go_send(f->out, &i) != 0)
			break;
	}
	return NULL;
}

int main(int argc, char **argv) {
	int count = argc > 1 ? atoi(argv[1]) : 50;
	struct filter *filters = (struct filter *)calloc((size_t)count, sizeof *filters);
	go_chan *c = go_chan_make(sizeof(int), 0);
	go_spawn(generate, c);
	for (int i = 0; i < count; i++) {
		struct filter *f = &filters[i];
		f->in = c;
		f->out = c = go_chan_make(sizeof(int), 0);
		go_recv(f->in, &f->prime);
		printf("%d\n", f->prime);
		go_spawn(filter, f);
	}
	return 0; /* and with the process go the goroutines */
}
