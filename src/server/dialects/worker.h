/* The worker's dialect beyond struct dialect: its parts, for the dialects that differ from it in others, and frames that
 * belong to no generation. */
#ifndef TALLOW_SERVER_DIALECTS_WORKER_H
#define TALLOW_SERVER_DIALECTS_WORKER_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "server/dialects/dialect.h"

/* struct dialect's bad_fields, error, frame and whole. */
void worker_bad_fields(const struct field_checker *check, const char *request_id, struct bytes *body);
void worker_error(const struct error *error, const char *request_id, int retry_after_s, struct error_answer *answer);
void worker_frame(struct generation *generation, const struct event *event, struct bytes *out);
void worker_whole(const struct generation *generation, const struct bytes *text, struct bytes *body);

/* An event as one object, `{"type":"token",...}`: what a frame has after `data: `. */
void worker_write_event(const struct generation *generation, const struct event *event, struct bytes *out);

/* event: progress, of loading. stage is "ready" at the end. */
void worker_frame_progress(struct bytes *out, const char *stage, uint64_t bytes_done, uint64_t bytes_total);
/* Whole percent, 0..100. */
int64_t load_percent(uint64_t bytes_done, uint64_t bytes_total);
/* event: error */
void worker_frame_error(struct bytes *out, const struct error *error);

#endif
