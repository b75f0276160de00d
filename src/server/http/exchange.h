/* The callbacks through which the gate and the HTTP library drive an exchange; server.c hands them over. */
#ifndef TALLOW_SERVER_HTTP_EXCHANGE_H
#define TALLOW_SERVER_HTTP_EXCHANGE_H

#include <microhttpd.h>

/* The gate's listener: a request's first byte is there. `context` is the server in each. */
void exchange_request_begun(void *context, void *peer);
/* Called after the head, for each piece of the body, and once more when the request is complete. */
enum MHD_Result exchange_step(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *data, size_t *n_data, void **slot);
/* The answer is out, or the client gone. */
void exchange_end(void *context, struct MHD_Connection *connection, void **slot, enum MHD_RequestTerminationCode why);
/* A connection came or goes. */
void exchange_connection(void *context, struct MHD_Connection *connection, void **slot,
                         enum MHD_ConnectionNotificationCode what);

/* An id for a request that brought none. */
void request_id_choose(char *request_id, size_t n_bytes);

#endif
