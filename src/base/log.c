/* The log: a line is built on the stack, without memory of its own, and handed over whole (log_writer.h). */
#include "base/log.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log_writer.h"
#include "base/platform.h"

enum { STOP_TIMEOUT_MS = 1000 };

static atomic_int minimum_level = LOG_INFO;
static atomic_bool as_json;

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};

void log_init(enum log_level level, enum log_format format)
{
	atomic_store(&minimum_level, (int)level);
	atomic_store(&as_json, format == LOG_FORMAT_JSON || (format == LOG_FORMAT_AUTO && !isatty(STDERR_FILENO)));
}

bool log_level_parse(const char *name, enum log_level *level)
{
	for (int i = LOG_DEBUG; i <= LOG_OFF; i++)
		if (strcmp(name, level_names[i]) == 0) {
			*level = (enum log_level)i;
			return true;
		}
	return false;
}

bool log_enabled(enum log_level level)
{
	return level < LOG_OFF && (int)level >= atomic_load(&minimum_level);
}

static void write_json_line(struct bytes *line, const char *time, const char *level, const char *event,
                            const char *request_id, const struct log_field *fields)
{
	json_open(line);
	json_field_text(line, "ts", time);
	json_field_text(line, "level", level);
	json_field_text(line, "event", event);
	if (request_id)
		json_field_text(line, "request_id", request_id);
	for (; fields->key; fields++) {
		if (fields->kind == LOG_FIELD_TEXT)
			json_field_text(line, fields->key, fields->text);
		else if (fields->kind == LOG_FIELD_INT)
			json_field_int(line, fields->key, fields->integer);
		else
			json_field_double(line, fields->key, round(fields->number * 1000) / 1000);
	}
	json_close(line);
}

/* A word as it is; anything that would break the line into wrong words, or steer a terminal, is quoted. */
static void write_plain_text(struct bytes *line, const char *text)
{
	const char *end = text ? text : "";
	while (*end > ' ' && *end < 0x7f && *end != '"' && *end != '=')
		end++;
	if (text && *text && !*end)
		bytes_append_text(line, text);
	else
		json_write_harmless_string(line, text ? text : "", text ? strlen(text) : 0);
}

static void write_plain_line(struct bytes *line, const char *time, const char *level, const char *event,
                             const char *request_id, const struct log_field *fields)
{
	/* Of 2026-01-01T12:30:01.123Z the part that a person at a terminal needs. */
	bytes_append(line, time + 11, 12);
	bytes_append_format(line, " %-5s %s", level, event);
	if (request_id) {
		bytes_append_text(line, " req=");
		write_plain_text(line, request_id);
	}
	for (; fields->key; fields++) {
		bytes_append_format(line, " %s=", fields->key);
		if (fields->kind == LOG_FIELD_TEXT)
			write_plain_text(line, fields->text);
		else if (fields->kind == LOG_FIELD_INT)
			bytes_append_format(line, "%lld", (long long)fields->integer);
		else
			json_write_double(line, round(fields->number * 1000) / 1000);
	}
}

static void write_line(struct bytes *line, enum log_level level, const char *event, const char *request_id,
                       const struct log_field *fields)
{
	char time[32];
	clock_rfc3339(clock_unix_ms(), time);
	if (atomic_load(&as_json))
		write_json_line(line, time, level_names[level], event, request_id, fields);
	else
		write_plain_line(line, time, level_names[level], event, request_id, fields);
	bytes_append(line, "\n", 1);
}

/* A line in `storage` [LOG_LINE_BYTES], which is all that it may take; its size. */
static size_t format_line(char *storage, enum log_level level, const char *event, const char *request_id,
                          const struct log_field *fields)
{
	struct bytes line = {.data = storage, .capacity = LOG_LINE_BYTES, .max_bytes = LOG_LINE_BYTES - 1};
	write_line(&line, level, event, request_id, fields);
	if (line.failed) {
		const struct log_field cut[] = {LOG_TEXT("message", "too long for the log"), {.key = NULL}};
		bytes_clear(&line);
		write_line(&line, level, event, NULL, cut);
	}
	return line.failed ? 0 : line.n_bytes;
}

void log_fields(enum log_level level, const char *event, const char *request_id, const struct log_field *fields)
{
	if (!log_enabled(level))
		return;
	int saved_errno = errno; /* callers log first and look at errno after */
	char line[LOG_LINE_BYTES];
	writer_put(WRITER_LOG, line, format_line(line, level, event, request_id, fields), NULL);
	errno = saved_errno;
}

void log_raw(int fd, const char *data, size_t n_bytes, const char *failure)
{
	int saved_errno = errno;
	for (size_t n; n_bytes > 0; data += n, n_bytes -= n) {
		n = n_bytes < LOG_LINE_BYTES ? n_bytes : LOG_LINE_BYTES;
		writer_put(fd == STDOUT_FILENO ? WRITER_OUTPUT : WRITER_ERRORS, data, n, failure);
	}
	errno = saved_errno;
}

static size_t tell_dropped(uint64_t n_dropped, char *line)
{
	const struct log_field fields[] = {LOG_INT("lines", n_dropped), {.key = NULL}};
	return format_line(line, LOG_WARN, "log_lines_dropped", NULL, fields);
}

bool log_open(const char *path, struct error *error)
{
	return writer_open(path, error);
}

void log_reopen(void)
{
	writer_reopen();
}

bool log_has_room(void)
{
	return writer_has_room();
}

bool log_start(struct error *error)
{
	return writer_start(tell_dropped, error);
}

void log_stop(void)
{
	writer_stop(STOP_TIMEOUT_MS);
}

uint64_t log_lines_dropped(void)
{
	return writer_dropped();
}

void log_message(enum log_level level, const char *event, const char *format, ...)
{
	if (!log_enabled(level))
		return;
	char message[1024];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(message, sizeof message, format, arguments);
	va_end(arguments);
	log_event(level, event, NULL, LOG_TEXT("message", message));
}
