/* The callbacks through which the HTTP library drives an exchange; server.c hands them over. */
#ifndef TALLOW_SERVER_EXCHANGE_H
#define TALLOW_SERVER_EXCHANGE_H

#include <microhttpd.h>

/* The request line is there: makes the exchange. `context` is the server in each. */
void *exchange_begin(void *context, const char *uri, struct MHD_Connection *connection);
/* Called after the header, for each piece of the body, and once more when the request is complete. */
enum MHD_Result exchange_step(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *data, size_t *n_data, void **slot);
/* The answer is out, or the client gone. */
void exchange_end(void *context, struct MHD_Connection *connection, void **slot, enum MHD_RequestTerminationCode why);
/* A connection came or goes. */
void exchange_connection(void *context, struct MHD_Connection *connection, void **slot,
                         enum MHD_ConnectionNotificationCode what);

#endif
