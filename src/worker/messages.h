/* What the worker says of itself: the ready line, the callback's body, the bodies of heartbeats. */
#ifndef TALLOW_WORKER_MESSAGES_H
#define TALLOW_WORKER_MESSAGES_H

#include "base/bytes.h"
#include "engine/engine.h"
#include "worker/worker.h"

/* One line, newline included. */
void message_ready_line(struct bytes *out, const struct worker_options *options, const struct worker_service *service,
                        const struct engine_status *status);
void message_callback(struct bytes *out, const struct worker_options *options, const struct worker_service *service,
                      const struct engine_status *status);
void message_heartbeat(struct bytes *out, const struct worker_options *options, const struct engine_status *status);
/* What hive and queen are told: `{"worker":{...},"timestamp"}`, and that object alone. stopped: the worker is about to end,
 * whatever the engine says. */
void message_registration(struct bytes *out, const struct worker_options *options, int port,
                          const struct engine_status *status, bool stopped);
void message_worker(struct bytes *out, const struct worker_options *options, int port,
                    const struct engine_status *status, bool stopped);
/* "healthy", "loading", "draining", "unhealthy": the words of GET /health. */
const char *message_status_name(const struct engine_status *status);

#endif
