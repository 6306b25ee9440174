/* A worker that panics: its deferred functions run, the others and the process go on. One of them recovers and reports an error instead. */
#include <goshim.h>
#include <stdio.h>

static char bad_job[] = "bad job", worse_job[] = "worse job";
static go_chan *results; /* const char * */
static int released, seen;

static void release(void *arg) {
	(void)arg;
	__atomic_add_fetch(&released, 1, __ATOMIC_RELAXED);
}

static void report(void *arg) {
	const char *what = (const char *)go_recover();
	(void)arg;
	if (what)
		go_send(results, &what);
}

static void work(int job) {
	GO_DEFER(release, NULL);
	if (job == 3)
		go_panic(bad_job);
	if (job == 5)
		go_panic(worse_job);
}

static void *worker(void *arg) {
	int job = (int)(intptr_t)arg;
	const char *done = "done";
	if (job == 3) {
		GO_DEFER(report, NULL);
		work(job);
	}
	work(job);
	go_send(results, &done);
	return NULL;
}

static void on_panic(void *payload) {
	seen += payload == worse_job;
}

int main(void) {
	go_wg wg = {{0}};
	int done = 0, bad = 0;
	results = go_chan_make(sizeof(const char *), 16);
	go_set_panic_handler(on_panic);
	for (int i = 0; i < 10; i++)
		go_spawn_wg(&wg, worker, (void *)(intptr_t)i);
	go_wg_wait(&wg);
	go_close(results);
	const char *result;
	GO_RANGE(results, &result) {
		if (result == bad_job)
			bad++;
		else
			done++;
	}
	printf("%d done, %d recovered, %d seen by the handler, %d released\n", done, bad, seen, released);
	return 0;
}
