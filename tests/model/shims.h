/* What models of the shims put in place of the other shims, in the model's own file: instrumented, because what it touches is shared. Nobody is interrupted but
 * by the scenario, nobody is cancelled. */
#ifndef GOSHIM_MODEL_SHIMS_H
#define GOSHIM_MODEL_SHIMS_H

#include "stand_ins.h"

size_t tcb_cancel_offset; /* 0: whoever asks for a cancellation asks the function below */

bool shim_interrupted(struct g *g, bool restartable) {
	(void)restartable;
	g_interrupt_clear(g);
	atomic_store_explicit(&g->wake, WAKE_READY, memory_order_relaxed);
	return false;
}

void shim_testcancel(struct g *g) {
	(void)g;
}

#endif
