/* A tree of threads: each makes its children, joins them, and adds up what they return; many deep, many wide, several trees at once; and a chain
 * in which each joins the one before. Then one tree after the other, over which memory stays what it is. The arguments: how many of those, and how deep: six are a
 * million threads. */
#include "sync_test.h"

struct node {
	int depth, width;
};

static void *node_run(void *arg) {
	struct node *n = arg, child = {n->depth - 1, n->width};
	long sum = 1;
	pthread_t t[16];
	if (n->depth == 0)
		return (void *)1;
	for (int i = 0; i < n->width; i++)
		t[i] = start(node_run, &child);
	for (int i = 0; i < n->width; i++)
		sum += join(t[i]);
	return (void *)sum;
}

struct link {
	pthread_t before;
	bool first;
	pthread_mutex_t *gate;
};

static void *link_run(void *arg) {
	struct link *l = arg;
	if (!l->first)
		return (void *)(join(l->before) + 1);
	pthread_mutex_lock(l->gate);
	pthread_mutex_unlock(l->gate);
	return (void *)1;
}

/* A thread for each of ten children. What the first two trees took of memory is enough for all (TLS-12): margin for how many of them live at once. */
static void forest(long trees, int depth) {
	struct node ten = {depth, 10};
	long nodes = 1;
	size_t after_two = 0, margin = depth > 3 ? 256u << 20 : 16u << 20;
	for (int i = 0; i < depth; i++)
		nodes = nodes * 10 + 1;
	alarm((unsigned)(30 + trees * nodes / 3000));
	for (long i = 0; i < trees; i++) {
		EQ((long)node_run(&ten), nodes);
		size_t resident = process_bytes().resident;
		if (i < 2 || resident > after_two + margin / 2)
			fprintf(stderr, "%zu KiB after tree %ld\n", resident >> 10, i + 1);
		if (i == 1)
			after_two = resident;
	}
	CHECK(process_bytes().resident < after_two + margin);
}

int main(int argc, char **argv) {
	test_begin();
	struct node binary = {10, 2}, wide = {3, 12}, path = {400, 1};
	EQ((long)node_run(&binary), 2047);
	step("binary");
	EQ((long)node_run(&wide), 1 + 12 + 144 + 1728);
	step("wide");
	EQ((long)node_run(&path), 401);
	step("path");
	pthread_t t[4];
	for (int i = 0; i < 4; i++)
		t[i] = start(node_run, &binary);
	for (int i = 0; i < 4; i++)
		EQ(join(t[i]), 2047);
	step("four");
	enum { N = 1000 };
	static struct link links[N];
	pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
	pthread_t last = 0;
	pthread_mutex_lock(&gate);
	for (int i = 0; i < N; i++) {
		links[i] = (struct link){last, i == 0, &gate};
		last = start(link_run, &links[i]);
	}
	pthread_mutex_unlock(&gate);
	EQ(join(last), N);
	step("chain");
	forest(argc > 1 ? atol(argv[1]) : 10, argc > 2 ? atoi(argv[2]) : 3);
	step("forest");
	return test_end();
}
