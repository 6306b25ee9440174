/* Skynet: a goroutine starts ten, each of which starts ten, ... the leaves send their number up, everybody adds. Argument: leaves, a power of ten. */
#include <goshim.h>
#include <stdio.h>
#include <stdlib.h>

struct node {
	go_chan *out;
	long number, size;
};

static void *skynet(void *arg) {
	struct node self = *(struct node *)arg, child[10];
	long sum = 0, part;
	if (self.size == 1) {
		go_send(self.out, &self.number);
		return NULL;
	}
	go_chan *c = go_chan_make(sizeof(long), 0);
	for (int i = 0; i < 10; i++) {
		child[i].out = c;
		child[i].size = self.size / 10;
		child[i].number = self.number + i * child[i].size;
		if (go_spawn(skynet, &child[i]) != 0)
			abort();
	}
	for (int i = 0; i < 10; i++) {
		go_recv(c, &part);
		sum += part;
	}
	go_chan_free(c);
	go_send(self.out, &sum);
	return NULL;
}

int main(int argc, char **argv) {
	struct node root = {go_chan_make(sizeof(long), 0), 0, argc > 1 ? atol(argv[1]) : 10000};
	long sum;
	go_spawn(skynet, &root);
	go_recv(root.out, &sum);
	printf("%ld\n", sum);
	return sum == root.size * (root.size - 1) / 2 ? 0 : 1;
}
