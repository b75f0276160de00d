/* The worker's dialect beyond struct dialect: frames that belong to no generation. */
#ifndef TALLOW_SERVER_DIALECTS_WORKER_H
#define TALLOW_SERVER_DIALECTS_WORKER_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

/* event: progress, of loading. stage is "ready" at the end. */
void worker_frame_progress(struct bytes *out, const char *stage, uint64_t bytes_done, uint64_t bytes_total);
/* Whole percent, 0..100. */
int64_t load_percent(uint64_t bytes_done, uint64_t bytes_total);
/* event: error */
void worker_frame_error(struct bytes *out, const struct error *error);

#endif
