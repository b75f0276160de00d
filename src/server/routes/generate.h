/* Running a generation for an exchange: from the body to the engine, and from its events to an answer in the route's
 * dialect. */
#ifndef TALLOW_SERVER_ROUTES_GENERATE_H
#define TALLOW_SERVER_ROUTES_GENERATE_H

#include "server/generation/generation.h"
#include "server/server_private.h"

/* Reads and checks the body and submits it. NULL when that failed, or nothing was to be generated: the answer is then
 * queued already and *result is what the handler returns. for_later: it is to wait for its stream to be opened, and is not
 * begun where the jobs that wait take no such one. */
struct generation *generate_begin(struct exchange *exchange, bool for_later, enum MHD_Result *result) MUST_USE;
/* Answers with the event stream, headers at once. The exchange owns the generation from here on. */
enum MHD_Result generate_stream(struct exchange *exchange, struct generation *generation);
/* Waits for the end and answers with one object. Likewise. */
enum MHD_Result generate_whole(struct exchange *exchange, struct generation *generation);

#endif
