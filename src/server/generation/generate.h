/* Running a generation for an exchange: from the body to a reply, and from the reply to an answer. */
#ifndef TALLOW_SERVER_GENERATE_H
#define TALLOW_SERVER_GENERATE_H

#include "server/server_private.h"

/* Reads and checks the body and submits it. NULL when that failed: the answer is then queued already and *result is what
 * the handler returns. *stream: what the request asks for; may be NULL. */
struct reply *generate_begin(struct exchange *exchange, bool *stream, enum MHD_Result *result) MUST_USE;
/* Answers with the event stream, headers at once. The exchange owns the reply from here on. */
enum MHD_Result generate_stream(struct exchange *exchange, struct reply *reply);
/* Waits for the end and answers with one object. Likewise. */
enum MHD_Result generate_whole(struct exchange *exchange, struct reply *reply);

#endif
