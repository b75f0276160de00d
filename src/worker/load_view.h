/* How loading is shown to whoever watches: log lines (model_load_progress), or a bar on a terminal. */
#ifndef TALLOW_WORKER_LOAD_VIEW_H
#define TALLOW_WORKER_LOAD_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"

struct load_view {
	bool bar;
	int percent; /* last shown */
	int64_t shown_ns;
	bool drawn; /* the bar is on the screen */
};

void load_view_begin(struct load_view *view, bool bar);
void load_view_update(struct load_view *view, const struct engine_status *status, int64_t now_ns);
void load_view_end(struct load_view *view); /* clears the bar */

#endif
