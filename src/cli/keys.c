#include "cli/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"

enum { MAX_FILE_BYTES = 128 << 10, MAX_CONCURRENCY = 1000000 };
static const int64_t max_tokens_per_minute = 1000000000000;
static const char line_prefix[] = "line-"; /* of names of keys that have none */

/* ---- one key ---- */

/* Heads of requests hold none (RFC 9110 section 5.5). */
static bool has_control(const char *text)
{
	while (*text && (unsigned char)*text >= ' ' && *text != 0x7f)
		text++;
	return *text != '\0';
}

static bool take_secret(struct api_key *key, const char *text, struct error *error)
{
	static const char prefix[] = "sha256:";
	size_t n_bytes = strlen(text);
	if (strncmp(text, prefix, sizeof prefix - 1) == 0)
		return digest_read(text + sizeof prefix - 1, &key->digest) ||
		       error_set(error, ERROR_USAGE, "after sha256: come 64 hex digits");
	if (n_bytes < 1 || n_bytes > KEY_MAX_BYTES)
		return error_set(error, ERROR_USAGE, "an API key has %zu bytes; expected 1 to %d", n_bytes, KEY_MAX_BYTES);
	if (has_control(text))
		return error_set(error, ERROR_USAGE,
		                 "an API key has a control character, a line's end for one, which no request can send");
	return digest_of(text, n_bytes, &key->digest, error);
}

/* NULL with *error when there are too many. */
static struct api_key *new_key(struct keys *keys, struct error *error)
{
	if (keys->n == KEYS_MAX) {
		error_set(error, ERROR_USAGE, "there are more than %d API keys", KEYS_MAX);
		return NULL;
	}
	struct api_key *key = &keys->list[keys->n];
	*key = (struct api_key){.max_priority = KEY_HIGHEST_PRIORITY};
	return key;
}

bool keys_add(struct keys *keys, const char *text, const char *name, struct error *error)
{
	char trimmed[KEY_MAX_BYTES + 2]; /* one more than may be */
	struct api_key *key = new_key(keys, error);
	text += strspn(text, " \t\r\n");
	size_t n_bytes = strlen(text);
	while (n_bytes > 0 && strchr(" \t\r\n", text[n_bytes - 1]))
		n_bytes--;
	snprintf(trimmed, sizeof trimmed, "%.*s", (int)(n_bytes < sizeof trimmed ? n_bytes : sizeof trimmed), text);
	bool ok = key && take_secret(key, trimmed, error);
	explicit_bzero(trimmed, sizeof trimmed);
	if (!ok)
		return false;
	snprintf(key->name, sizeof key->name, "%s", name);
	keys->n++;
	return true;
}

/* ---- lines ---- */

static bool take_name(struct api_key *key, const char *text, struct error *error)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t n_bytes = strlen(text);
	if (n_bytes < 1 || n_bytes > KEY_NAME_BYTES || strspn(text, letters) != n_bytes)
		return error_set(error, ERROR_USAGE, "a key's name has 1 to %d letters, digits, '.', '_' or '-'",
		                 KEY_NAME_BYTES);
	size_t n_line = strlen(line_prefix);
	if (strncmp(text, line_prefix, n_line) == 0 && text[n_line + strspn(text + n_line, "0123456789")] == '\0')
		return error_set(error, ERROR_USAGE, "%sN is what the key of line N is called without a name", line_prefix);
	memcpy(key->name, text, n_bytes + 1);
	key->unnamed = false;
	return true;
}

static bool take_number(const char *word, const char *text, int64_t min, int64_t max, int64_t *out, struct error *error)
{
	char *end;
	errno = 0;
	long long value = strtoll(text, &end, 10);
	if (end == text || *end || errno || value < min || value > max || text[strspn(text, "-0123456789")])
		return error_set(error, ERROR_USAGE, "%s is a number from %lld to %lld", word, (long long)min, (long long)max);
	*out = value;
	return true;
}

/* What a word after the key says. */
static bool take_word(struct api_key *key, const char *word, struct error *error)
{
	int64_t number = 0;
	if (strcmp(word, "admin") == 0) {
		key->admin = true;
		return true;
	}
	if (strncmp(word, "name=", 5) == 0)
		return take_name(key, word + 5, error);
	if (strncmp(word, "tokens-per-minute=", 18) == 0)
		return take_number("tokens-per-minute", word + 18, 1, max_tokens_per_minute, &key->tokens_per_minute, error);
	if (strncmp(word, "concurrency=", 12) == 0) {
		bool ok = take_number("concurrency", word + 12, 1, MAX_CONCURRENCY, &number, error);
		key->max_requests = (int)number;
		return ok;
	}
	if (strncmp(word, "max-priority=", 13) == 0) {
		bool ok = take_number("max-priority", word + 13, -KEY_HIGHEST_PRIORITY, KEY_HIGHEST_PRIORITY, &number, error);
		key->max_priority = (int)number;
		return ok;
	}
	return error_set(error, ERROR_USAGE,
	                 "after a key come name=, concurrency=, tokens-per-minute=, max-priority= and admin");
}

static bool take_line(struct keys *keys, char *line, int number, struct error *error)
{
	static const char blank[] = " \t\r";
	char *rest, *word = strtok_r(line, blank, &rest);
	if (!word || word[0] == '#')
		return true;
	struct api_key *key = new_key(keys, error);
	if (!key || !take_secret(key, word, error))
		return false;
	snprintf(key->name, sizeof key->name, "%s%d", line_prefix, number);
	key->unnamed = true;
	while ((word = strtok_r(NULL, blank, &rest)))
		if (!take_word(key, word, error))
			return false;
	keys->n++;
	return true;
}

static bool take_lines(struct keys *keys, char *text, const char *path, struct error *error)
{
	static const char mark[] = "\xef\xbb\xbf"; /* that some editors write before all text */
	char *rest = strncmp(text, mark, sizeof mark - 1) == 0 ? text + sizeof mark - 1 : text, *line;
	for (int number = 1; (line = strsep(&rest, "\n")); number++)
		if (!take_line(keys, line, number, error))
			return error_prefix(error, "--api-key-file %.200s, line %d", path, number);
	return true;
}

/* ---- the file ---- */

static bool check_mode(int fd, const char *path, bool may_be_shared, struct error *error)
{
	struct stat info;
	if (fstat(fd, &info) != 0)
		return error_set(error, ERROR_USAGE, "cannot read --api-key-file %.200s: %s", path, strerror(errno));
	if (may_be_shared || (info.st_mode & (S_IROTH | S_IWOTH | S_IWGRP)) == 0)
		return true;
	return error_set(error, ERROR_USAGE,
	                 "--api-key-file %.200s has mode %03o: others can read or change it; chmod 600, or "
	                 "--shared-key-file to take it as it is",
	                 path, (unsigned)(info.st_mode & 0777));
}

static bool read_whole(int fd, const char *path, struct bytes *out, struct error *error)
{
	char block[4096];
	ssize_t n = 0;
	out->max_bytes = MAX_FILE_BYTES;
	while (!out->failed && ((n = read(fd, block, sizeof block)) > 0 || (n < 0 && errno == EINTR)))
		bytes_append(out, block, n > 0 ? (size_t)n : 0);
	explicit_bzero(block, sizeof block);
	if (n < 0)
		return error_set(error, ERROR_USAGE, "cannot read --api-key-file %.200s: %s", path, strerror(errno));
	if (out->failed)
		return error_set(error, ERROR_USAGE, "--api-key-file %.200s has more than %d bytes", path, MAX_FILE_BYTES);
	if (out->data && strlen(out->data) != out->n_bytes)
		return error_set(error, ERROR_USAGE, "--api-key-file %.200s holds a NUL byte", path);
	return true;
}

bool keys_read(struct keys *keys, const char *path, bool may_be_shared, struct error *error)
{
	struct bytes text = {0};
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a named pipe that nobody writes is not waited for */
	if (fd < 0 || fcntl(fd, F_SETFL, 0) != 0)
		return error_set(error, ERROR_USAGE, "cannot read --api-key-file %.200s: %s", path, strerror(errno));
	int before = keys->n;
	bool ok = check_mode(fd, path, may_be_shared, error) && read_whole(fd, path, &text, error) &&
	          (!text.data || take_lines(keys, text.data, path, error));
	close(fd);
	if (text.data)
		explicit_bzero(text.data, text.capacity);
	bytes_free(&text);
	return ok && (keys->n > before || error_set(error, ERROR_USAGE, "--api-key-file %.200s holds no key", path));
}
