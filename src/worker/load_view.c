/* Progress of loading, shown seldom enough to be read (load_view.h). */
#include "worker/load_view.h"

#include <stdio.h>
#include <unistd.h>

#include "base/log.h"

enum {
	BAR_CELLS = 30,
	LOG_STEP_PERCENT = 10,
	BAR_INTERVAL_MS = 100, /* a load that is faster than this shows no bar */
	LOG_INTERVAL_MS = 5000,
};

void load_view_begin(struct load_view *view, bool bar)
{
	*view = (struct load_view){.bar = bar, .percent = -1};
}

static void write_screen(const char *text, int n_bytes)
{
	log_raw(STDERR_FILENO, text, (size_t)n_bytes, NULL);
}

static void draw_bar(struct load_view *view, const struct engine_status *status)
{
	char cells[BAR_CELLS + 1], line[160];
	for (int i = 0; i < BAR_CELLS; i++)
		cells[i] = i < view->percent * BAR_CELLS / 100 ? '#' : '.';
	cells[BAR_CELLS] = '\0';
	int n = snprintf(line, sizeof line, "\rloading [%s] %3d%%  %.0f of %.0f MiB  %-10s", cells, view->percent,
	                 (double)status->load_bytes_done / (1 << 20), (double)status->load_bytes_total / (1 << 20),
	                 status->load_stage ? status->load_stage : "");
	write_screen(line, n);
	view->drawn = true;
}

void load_view_update(struct load_view *view, const struct engine_status *status, int64_t now_ns)
{
	int percent = 0;
	if (status->load_bytes_total > 0)
		percent = (int)((double)status->load_bytes_done * 100 / (double)status->load_bytes_total);
	if (view->shown_ns == 0)
		view->shown_ns = now_ns;
	if (percent == view->percent)
		return;
	int64_t since_ms = (now_ns - view->shown_ns) / 1000000;
	if (view->bar ? since_ms < BAR_INTERVAL_MS
	              : view->percent >= 0 && percent < view->percent + LOG_STEP_PERCENT && percent < 100 &&
	                    since_ms < LOG_INTERVAL_MS)
		return;
	view->percent = percent;
	view->shown_ns = now_ns;
	if (view->bar)
		draw_bar(view, status);
	else
		log_event(LOG_INFO, "model_load_progress", NULL, LOG_INT("percent", percent),
		          LOG_TEXT("stage", status->load_stage), LOG_INT("bytes_done", status->load_bytes_done),
		          LOG_INT("bytes_total", status->load_bytes_total));
}

void load_view_end(struct load_view *view)
{
	static const char clear[] = "\r\33[K";
	if (view->drawn)
		write_screen(clear, sizeof clear - 1);
	view->drawn = false;
}
