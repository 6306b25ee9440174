/* A tree of threads: each makes its children, joins them, and adds up what they return; many deep, many wide, several trees at once; and a chain
 * in which each joins the one before. The argument: how many trees of a million threads, after that. */
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

/* `trees` times a million and more: a thread for each of ten children, six deep. */
static void forest(long trees) {
	struct node ten = {6, 10};
	if (trees)
		alarm((unsigned)trees * 300);
	for (long i = 0; i < trees; i++)
		EQ((long)node_run(&ten), 1111111);
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
	forest(argc > 1 ? atol(argv[1]) : 0);
	return test_end();
}
