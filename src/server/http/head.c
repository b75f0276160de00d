/* Scanning and parsing of request heads (head.h). */
#include "server/http/head.h"

#include <string.h>
#include <strings.h>

enum { MAX_LENGTH_DIGITS = 18 };

/* ---- where it ends ---- */

static enum head_result bad(struct error *error, enum error_code code, const char *message)
{
	error_set(error, code, "%s", message);
	return HEAD_BAD;
}

/* The line that ends here was the head's last one when it is empty and another came before. */
static enum head_result end_line(struct head_scanner *scanner, struct error *error)
{
	scanner->after_cr = false;
	if (scanner->n_line_bytes > 0) {
		scanner->n_lines++;
		scanner->n_line_bytes = 0;
		return HEAD_PARTIAL;
	}
	if (scanner->n_lines > 0)
		return HEAD_WHOLE;
	if (++scanner->n_empty_lines > HEAD_MAX_EMPTY_LINES)
		return bad(error, ERROR_INVALID_REQUEST, "empty lines where a request line is expected");
	return HEAD_PARTIAL;
}

static enum head_result scan_byte(struct head_scanner *scanner, unsigned char byte, struct error *error)
{
	if (scanner->after_cr)
		return byte == '\n' ? end_line(scanner, error)
		                    : bad(error, ERROR_INVALID_REQUEST, "a CR in the head that is not followed by LF");
	if (byte == '\r') {
		scanner->after_cr = true;
		return HEAD_PARTIAL;
	}
	if (byte == '\n')
		return bad(error, ERROR_INVALID_REQUEST, "a line of the head ends with LF alone; expected CR LF");
	if ((byte < 0x20 && byte != '\t') || byte == 0x7f)
		return bad(error, ERROR_INVALID_REQUEST, "a control character in the head");
	scanner->n_line_bytes++;
	/* The method and the version beside the target are short; head_parse counts exactly. */
	if (scanner->n_lines == 0 && scanner->n_line_bytes > HEAD_MAX_TARGET_BYTES + 64)
		return bad(error, ERROR_URI_TOO_LONG, "the request line is too long");
	return HEAD_PARTIAL;
}

enum head_result head_scan(struct head_scanner *scanner, const char *bytes, size_t n_bytes, size_t *n_used,
                           struct error *error)
{
	for (size_t i = 0; i < n_bytes; i++) {
		*n_used = i + 1;
		if (++scanner->n_bytes > HEAD_MAX_BYTES) {
			error_set(error, ERROR_HEAD_TOO_LARGE, "the header fields have more than %d bytes", HEAD_MAX_BYTES);
			return HEAD_BAD;
		}
		enum head_result result = scan_byte(scanner, (unsigned char)bytes[i], error);
		if (result != HEAD_PARTIAL)
			return result;
	}
	*n_used = n_bytes;
	return HEAD_PARTIAL;
}

/* ---- words ---- */

bool head_text_is(struct head_text text, const char *wanted)
{
	return strlen(wanted) == text.n_bytes && strncasecmp(text.at, wanted, text.n_bytes) == 0;
}

static bool is_letter_or_digit(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* True when every byte is a letter, a digit or one of `others`. */
static bool made_of(struct head_text text, const char *others)
{
	for (size_t i = 0; i < text.n_bytes; i++)
		if (!is_letter_or_digit(text.at[i]) && (text.at[i] == '\0' || !strchr(others, text.at[i])))
			return false;
	return true;
}

static bool is_token(struct head_text text)
{
	return text.n_bytes > 0 && made_of(text, "!#$%&'*+-.^_`|~");
}

static struct head_text trimmed(struct head_text text)
{
	while (text.n_bytes > 0 && (text.at[0] == ' ' || text.at[0] == '\t')) {
		text.at++;
		text.n_bytes--;
	}
	while (text.n_bytes > 0 && (text.at[text.n_bytes - 1] == ' ' || text.at[text.n_bytes - 1] == '\t'))
		text.n_bytes--;
	return text;
}

/* Cuts what stands before the first `separator` off *rest (all of it when there is none). */
static struct head_text cut(struct head_text *rest, char separator)
{
	const char *end = memchr(rest->at, separator, rest->n_bytes);
	struct head_text before = {rest->at, end ? (size_t)(end - rest->at) : rest->n_bytes};
	size_t n_gone = before.n_bytes + (end ? 1 : 0);
	rest->at += n_gone;
	rest->n_bytes -= n_gone;
	return before;
}

/* ---- the request line ---- */

static bool parse_version(struct head_text version, struct head *head, struct error *error)
{
	if (version.n_bytes != 8 || memcmp(version.at, "HTTP/", 5) != 0 || version.at[6] != '.' || version.at[5] < '0' ||
	    version.at[5] > '9' || version.at[7] < '0' || version.at[7] > '9')
		return error_set(error, ERROR_INVALID_REQUEST, "the request line does not end with an HTTP version");
	if (version.at[5] != '1')
		return error_set(error, ERROR_HTTP_VERSION, "HTTP/%c is not supported; HTTP/1.1 is", version.at[5]);
	head->minor_version = version.at[7] == '0' ? 0 : 1;
	return true;
}

/* What may stand in a Host field or a target's authority; its own form is checked where it is compared (auth.h). */
static bool is_host(struct head_text host)
{
	return made_of(host, "-._~%!$&'()*+;=:[]");
}

static size_t count_arguments(struct head_text query)
{
	size_t n_arguments = query.n_bytes > 0;
	for (size_t i = 0; i < query.n_bytes; i++)
		n_arguments += query.at[i] == '&';
	return n_arguments;
}

/* Origin form "/path?query", absolute form "http://host/path?query", and "*" of OPTIONS. */
static bool parse_target(struct head_text target, struct head *head, struct error *error)
{
	if (target.n_bytes > HEAD_MAX_TARGET_BYTES)
		return error_set(error, ERROR_URI_TOO_LONG, "the request's target has %zu bytes; at most %d are accepted",
		                 target.n_bytes, HEAD_MAX_TARGET_BYTES);
	for (size_t i = 0; i < target.n_bytes; i++)
		if ((unsigned char)target.at[i] <= ' ' || (unsigned char)target.at[i] >= 0x7f)
			return error_set(error, ERROR_INVALID_REQUEST,
			                 "the request's target holds characters that must be percent-encoded");
	struct head_text rest = target;
	bool asterisk = target.n_bytes == 1 && target.at[0] == '*' && head_text_is(head->method, "OPTIONS");
	bool http = target.n_bytes >= 7 && strncasecmp(target.at, "http://", 7) == 0;
	bool https = target.n_bytes >= 8 && strncasecmp(target.at, "https://", 8) == 0;
	if (http || https) {
		rest.at += http ? 7 : 8;
		rest.n_bytes -= http ? 7 : 8;
		head->host.at = rest.at;
		while (head->host.n_bytes < rest.n_bytes && !strchr("/?", rest.at[head->host.n_bytes]))
			head->host.n_bytes++;
		rest.at += head->host.n_bytes;
		rest.n_bytes -= head->host.n_bytes;
		if (head->host.n_bytes == 0 || !is_host(head->host))
			return error_set(error, ERROR_INVALID_REQUEST, "the request's target names no host");
	} else if (!asterisk && target.at[0] != '/') {
		return error_set(error, ERROR_INVALID_REQUEST, "the request's target is neither a path nor an http address");
	}
	head->path = cut(&rest, '?');
	if (head->path.n_bytes == 0)
		head->path = (struct head_text){"/", 1};
	if (count_arguments(rest) > HEAD_MAX_ARGUMENTS)
		return error_set(error, ERROR_URI_TOO_LONG, "the request's target has %zu arguments; at most %d are accepted",
		                 count_arguments(rest), HEAD_MAX_ARGUMENTS);
	return true;
}

static bool parse_request_line(struct head_text line, struct head *head, struct error *error)
{
	head->method = cut(&line, ' ');
	struct head_text target = cut(&line, ' ');
	if (!is_token(head->method) || target.n_bytes == 0)
		return error_set(error, ERROR_INVALID_REQUEST,
		                 "the request line is not \"METHOD target HTTP/1.1\" with single spaces");
	return parse_version(line, head, error) && parse_target(target, head, error);
}

/* ---- the fields ---- */

static bool parse_field(struct head_text line, struct head *head, struct error *error)
{
	if (line.at[0] == ' ' || line.at[0] == '\t')
		return error_set(error, ERROR_INVALID_REQUEST,
		                 "a header line begins with white space (folded lines are refused)");
	struct head_text value = line;
	struct head_text name = cut(&value, ':');
	if (name.n_bytes == line.n_bytes)
		return error_set(error, ERROR_INVALID_REQUEST, "a header line has no colon");
	if (!is_token(name))
		return error_set(error, ERROR_INVALID_REQUEST,
		                 "a header field's name is empty or holds white space or other characters that no name has");
	if (head->n_fields == HEAD_MAX_FIELDS)
		return error_set(error, ERROR_HEAD_TOO_LARGE, "more than %d header fields", HEAD_MAX_FIELDS);
	head->fields[head->n_fields++] = (struct head_field){name, trimmed(value)};
	return true;
}

int head_find(const struct head *head, const char *name, struct head_text *value)
{
	int n_found = 0;
	for (int i = 0; i < head->n_fields; i++) {
		if (!head_text_is(head->fields[i].name, name))
			continue;
		if (n_found++ == 0)
			*value = head->fields[i].value;
	}
	return n_found;
}

static bool check_host(struct head *head, struct error *error)
{
	struct head_text host = {0};
	int n_hosts = head_find(head, "Host", &host);
	if (n_hosts > 1)
		return error_set(error, ERROR_INVALID_REQUEST, "more than one Host header");
	if (n_hosts == 0 && head->minor_version > 0)
		return error_set(error, ERROR_INVALID_REQUEST, "no Host header, which HTTP/1.1 asks for");
	if (n_hosts == 1 && !is_host(host))
		return error_set(error, ERROR_INVALID_REQUEST, "the Host header holds characters that no host has");
	if (n_hosts == 1 && !head->host.at)
		head->host = host;
	return true;
}

static bool parse_length(struct head_text value, struct head *head, struct error *error)
{
	if (value.n_bytes == 0)
		return error_set(error, ERROR_INVALID_REQUEST, "Content-Length is empty");
	for (size_t i = 0; i < value.n_bytes; i++)
		if (value.at[i] < '0' || value.at[i] > '9')
			return error_set(error, ERROR_INVALID_REQUEST, "Content-Length is not a number of digits alone");
	head->has_length = true;
	while (value.n_bytes > 1 && value.at[0] == '0') {
		value.at++;
		value.n_bytes--;
	}
	if (value.n_bytes > MAX_LENGTH_DIGITS)
		head->content_length = INT64_MAX;
	for (size_t i = 0; i < value.n_bytes && value.n_bytes <= MAX_LENGTH_DIGITS; i++)
		head->content_length = head->content_length * 10 + (uint64_t)(value.at[i] - '0');
	return true;
}

/* Where the body ends must be beyond doubt (6.1 to 6.3). */
static bool check_framing(struct head *head, struct error *error)
{
	struct head_text length, coding;
	int n_lengths = head_find(head, "Content-Length", &length);
	int n_codings = head_find(head, "Transfer-Encoding", &coding);
	if (n_lengths > 1)
		return error_set(error, ERROR_INVALID_REQUEST, "more than one Content-Length header");
	if (n_lengths > 0 && n_codings > 0)
		return error_set(error, ERROR_INVALID_REQUEST, "both Content-Length and Transfer-Encoding");
	if (n_codings > 1 || (n_codings == 1 && !head_text_is(coding, "chunked")))
		return error_set(error, ERROR_INVALID_REQUEST, "Transfer-Encoding is supported as \"chunked\" only");
	if (n_codings == 1 && head->minor_version == 0)
		return error_set(error, ERROR_INVALID_REQUEST, "Transfer-Encoding in HTTP/1.0, which does not know it");
	head->chunked = n_codings == 1;
	return n_lengths == 0 || parse_length(length, head, error);
}

/* Members of the lists that Connection and Expect are; each may come as several fields. */
static void note_options(struct head *head)
{
	for (int i = 0; i < head->n_fields; i++) {
		bool connection = head_text_is(head->fields[i].name, "Connection");
		if (!connection && !head_text_is(head->fields[i].name, "Expect"))
			continue;
		struct head_text rest = head->fields[i].value;
		while (rest.n_bytes > 0) {
			struct head_text option = trimmed(cut(&rest, ','));
			if (connection) {
				head->close |= head_text_is(option, "close");
				head->keep_alive |= head_text_is(option, "keep-alive");
			} else if (head->minor_version > 0 && option.n_bytes > 0) { /* HTTP/1.0 has no expectations */
				bool known = head_text_is(option, "100-continue");
				head->expects_continue |= known;
				head->expects_something |= !known;
			}
		}
	}
}

bool head_parse(const char *bytes, size_t n_bytes, struct head *head, struct error *error)
{
	head->method = head->path = head->host = (struct head_text){0};
	head->has_length = head->chunked = head->close = head->keep_alive = false;
	head->expects_continue = head->expects_something = false;
	head->content_length = 0;
	head->n_fields = 0;
	struct head_text rest = {bytes, n_bytes};
	struct head_text line = {0};
	while (rest.n_bytes > 0 && line.n_bytes == 0) { /* empty lines before the request line */
		line = cut(&rest, '\n');
		line.n_bytes -= line.n_bytes > 0; /* its CR */
	}
	if (line.n_bytes == 0)
		return error_set(error, ERROR_INVALID_REQUEST, "there is no request line");
	if (!parse_request_line(line, head, error))
		return false;
	while (rest.n_bytes > 0) {
		line = cut(&rest, '\n');
		line.n_bytes -= line.n_bytes > 0;
		if (line.n_bytes > 0 && !parse_field(line, head, error))
			return false;
	}
	note_options(head);
	return check_host(head, error) && check_framing(head, error);
}
