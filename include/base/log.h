/* Structured log on standard error: plain when it is a terminal, JSON lines otherwise (settable). Never a prompt, never
 * generated text, at any level. Safe from every thread; not from signal handlers. Allocates nothing.
 *
 * Lines leave whole, those of one thread in order. A process that must not stand still because nobody reads calls
 * log_start: from then on a line is copied into a bounded ring, and one thread of the log's own writes. Lines that find no
 * room are dropped; how many comes in a line "log_lines_dropped" in their place. A process that dies without log_stop
 * loses what is in the ring, a moment's worth where somebody reads.
 *
 * With log_open lines go to a file instead; what is no line (the ready line, the bar, the reason of an end) does not.
 *
 *     log_event(LOG_INFO, "request_end", request_id, LOG_INT("tokens_out", 12), LOG_MS("decode_ms", 80.5));
 *
 * plain:  12:30:01.123 info  request_end  req=ab12 tokens_out=12 decode_ms=80.5
 * json:   {"ts":"2026-01-01T12:30:01.123Z","level":"info","event":"request_end","request_id":"ab12",...}
 */
#ifndef TALLOW_BASE_LOG_H
#define TALLOW_BASE_LOG_H

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };
enum log_format { LOG_FORMAT_AUTO, LOG_FORMAT_PLAIN, LOG_FORMAT_JSON };

struct log_field {
	const char *key; /* NULL ends the list */
	enum { LOG_FIELD_TEXT, LOG_FIELD_INT, LOG_FIELD_DOUBLE } kind;
	const char *text;
	int64_t integer;
	double number;
};

#define LOG_TEXT(k, v)   ((struct log_field){.key = (k), .kind = LOG_FIELD_TEXT, .text = (v)})
#define LOG_INT(k, v)    ((struct log_field){.key = (k), .kind = LOG_FIELD_INT, .integer = (int64_t)(v)})
#define LOG_MS(k, v)     ((struct log_field){.key = (k), .kind = LOG_FIELD_DOUBLE, .number = (v)})
#define LOG_NUMBER(k, v) LOG_MS(k, v)

/* How the log's file is opened. Not blocking: a FIFO that nobody reads is an error. The sandbox lets files be opened for
 * writing in this way alone. */
enum { LOG_OPEN_FLAGS = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK };

/* Once, before other threads start. */
void log_init(enum log_level level, enum log_format format);
/* Lines are appended to that file, which is made (0640) where it is not there; once, before log_start. ERROR_USAGE. */
bool log_open(const char *path, struct error *error) MUST_USE;
/* Opens the file again, after it was moved away; where it cannot be, lines go on to the old one. From any thread. */
void log_reopen(void);
/* Whether a line that is logged now is taken at once: for a process that may not wait and has no log_start. */
bool log_has_room(void);
/* From here on nobody who logs waits for a reader. ERROR_MEMORY when there is no thread for it. */
bool log_start(struct error *error) MUST_USE;
/* Waits until what was logged is written, at most a second; what is logged later is dropped. By one thread, last thing
 * before the process ends; harmless without log_start. */
void log_stop(void);
/* How many lines found no room, since the process began. */
uint64_t log_lines_dropped(void);
bool log_level_parse(const char *name, enum log_level *level); /* debug|info|warn|error|off */
bool log_enabled(enum log_level level);

/* request_id may be NULL. Fields end at the first with key NULL; use the macro. */
void log_fields(enum log_level level, const char *event, const char *request_id, const struct log_field *fields);
/* The entry in front, which is skipped, lets the list of fields be empty. */
#define log_event(level, event, request_id, ...)                                                                       \
	log_fields(level, event, request_id, (const struct log_field[]){{.key = 0}, ##__VA_ARGS__, {.key = 0}} + 1)

/* Bytes that are no line of the log, for standard error (in order with it) or standard output, whatever the level.
 * `failure` (static) is the event that is logged when they cannot be written; NULL: none. */
void log_raw(int fd, const char *data, size_t n_bytes, const char *failure);

/* One field "message" with a formatted sentence. */
void log_message(enum log_level level, const char *event, const char *format, ...) PRINTF_LIKE(3, 4);

#endif
