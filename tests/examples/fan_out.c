/* Fan-out under a context: twenty workers search, the first to find ends all the others; and a job that would take for ever ends at its deadline. */
#include <errno.h>
#include <goshim.h>
#include <stdio.h>

struct job {
	go_ctx *ctx;
	go_chan *found;
	int first;
};

/* Looks for a multiple of 9973 among every twentieth number, a little at a time. */
static void *search(void *arg) {
	struct job *job = (struct job *)arg;
	for (int n = job->first;; n += 20) {
		if (n % 9973 == 0 && n > 0)
			return go_send_ctx(job->ctx, job->found, &n) == 0 ? job : NULL;
		if (n % 64 < 20)
			go_yield();
		if (go_ctx_err(job->ctx) != 0)
			return NULL;
	}
}

static void *never(void *arg) {
	return (void *)(intptr_t)go_sleep_ctx((go_ctx *)arg, GO_FOREVER);
}

int main(void) {
	go_ctx *all = go_ctx_with_timeout(go_ctx_background(), 60 * GO_SECOND);
	go_ctx *first = go_ctx_with_cancel(all), *brief = go_ctx_with_timeout(all, 20 * GO_MILLISECOND);
	go_chan *found = go_chan_make(sizeof(int), 0);
	struct job job[20];
	go_wg wg = {{0}};
	go_task task;
	int n = 0;
	void *result;
	for (int i = 0; i < 20; i++) {
		job[i].ctx = first;
		job[i].found = found;
		job[i].first = i;
		go_spawn_wg(&wg, search, &job[i]);
	}
	if (go_recv_ctx(all, found, &n) == 0)
		go_ctx_cancel(first);
	go_wg_wait(&wg);
	printf("%s, the others: %s\n", n > 0 && n % 9973 == 0 ? "found one" : "found none",
	       go_ctx_err(first) == -ECANCELED ? "cancelled" : "not cancelled");
	go_spawn_task(&task, never, brief);
	go_join(&task, &result);
	printf("the long one: %s\n", (intptr_t)result == -ETIMEDOUT ? "deadline exceeded" : "?");
	go_ctx_release(brief);
	go_ctx_release(first);
	go_ctx_release(all);
	go_chan_free(found);
	return 0;
}
