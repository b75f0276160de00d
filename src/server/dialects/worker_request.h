/* The bodies of /execute, of the orchestrator's jobs and of /cancel as checked structs. */
#ifndef TALLOW_SERVER_DIALECTS_WORKER_REQUEST_H
#define TALLOW_SERVER_DIALECTS_WORKER_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "server/dialects/dialect.h"

/* struct dialect's parse. */
bool worker_parse(const struct json *body, const struct request_limits *limits, struct generation *generation,
                  struct field_checker *check, struct error *error) MUST_USE;
/* The same for bodies that may name a `model`, and an `operation`, which must be "infer"; jobs must name one. */
bool orchestrator_parse(const struct json *body, const struct request_limits *limits, struct generation *generation,
                        struct field_checker *check, struct error *error) MUST_USE;
bool orchestrator_parse_job(const struct json *body, const struct request_limits *limits, struct generation *generation,
                            struct field_checker *check, struct error *error) MUST_USE;

/* {"job_id": ...} of POST /cancel; job_id is borrowed from the checker's document. */
bool cancel_parse(struct field_checker *check, const char **job_id, size_t *n_bytes) MUST_USE;

#endif
