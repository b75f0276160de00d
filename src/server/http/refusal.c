/* What a client gets whose request cannot be read (refusal.h): one answer in the worker's dialect, and the connection
 * closed. */
#include "server/http/refusal.h"

#include <stdio.h>
#include <time.h>

#include "base/log.h"
#include "base/platform.h"
#include "server/dialects/dialect.h"
#include "server/http/exchange.h"
#include "server/server_private.h"

void http_date(int64_t unix_ms, char *out)
{
	static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	time_t seconds = (time_t)(unix_ms / 1000);
	struct tm time;
	gmtime_r(&seconds, &time);
	snprintf(out, 30, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT", days + 3 * time.tm_wday, (unsigned)time.tm_mday % 100,
	         months + 3 * time.tm_mon, (unsigned)(time.tm_year + 1900) % 10000, (unsigned)time.tm_hour % 100,
	         (unsigned)time.tm_min % 100, (unsigned)time.tm_sec % 100);
}

void refusal_answer(void *context, const struct error *error, struct bytes *answer)
{
	struct server *server = context;
	char request_id[REQUEST_ID_BYTES + 1], date[30];
	request_id_choose(request_id, sizeof request_id);
	http_date(clock_unix_ms(), date);
	struct error_answer refusal = {0};
	worker_dialect.error(error, request_id, 0, &refusal);
	bytes_append_text(&refusal.body, "\n");
	bytes_append_format(answer,
	                    "HTTP/1.1 %d %s\r\nDate: %s\r\nConnection: close\r\nContent-Type: application/json\r\n"
	                    "Content-Length: %zu\r\nX-Request-Id: %s\r\nCache-Control: no-store\r\n"
	                    "X-Content-Type-Options: nosniff\r\n\r\n",
	                    refusal.status, MHD_get_reason_phrase_for((unsigned)refusal.status), date, refusal.body.n_bytes,
	                    request_id);
	bytes_append(answer, refusal.body.data, refusal.body.n_bytes);
	answer->failed |= refusal.body.failed;
	bytes_free(&refusal.body);
	atomic_fetch_add(&server->responses[refusal.status / 100], 1);
	atomic_fetch_add(&server->errors[error->code], 1);
	log_event(LOG_INFO, "request", request_id, LOG_TEXT("method", ""), LOG_TEXT("route", ""),
	          LOG_INT("status", refusal.status), LOG_TEXT("code", error_info(error->code)->wire_name),
	          LOG_TEXT("ended", error->code == ERROR_MEMORY ? "no_thread" : "unreadable"));
}
