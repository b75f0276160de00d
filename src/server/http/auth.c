/* Tokens, Host, Origin (auth.h). */
#include "server/http/auth.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/hash.h"
#include "engine/engine.h"
#include "server/server.h"

struct head_text bearer_token(struct head_text authorization)
{
	static const char scheme[] = "Bearer ";
	size_t n_scheme = sizeof scheme - 1;
	if (!authorization.at || authorization.n_bytes < n_scheme || strncasecmp(authorization.at, scheme, n_scheme) != 0)
		return (struct head_text){0};
	struct head_text token = {authorization.at + n_scheme, authorization.n_bytes - n_scheme};
	while (token.n_bytes > 0 && *token.at == ' ') {
		token.at++;
		token.n_bytes--;
	}
	while (token.n_bytes > 0 && token.at[token.n_bytes - 1] == ' ')
		token.n_bytes--;
	return token;
}

static bool is_readable(struct head_text token)
{
	return token.at && token.n_bytes >= 1 && token.n_bytes <= KEY_MAX_BYTES;
}

uint64_t token_identity(struct head_text token)
{
	return is_readable(token) ? hash_bytes(token.at, token.n_bytes) : 0;
}

/* Length of the host in "host", "host:port", "[v6]", "[v6]:port"; 0 when it is none of these. */
static size_t host_length(struct head_text host)
{
	const char *end = memchr(host.at, host.n_bytes > 0 && host.at[0] == '[' ? ']' : ':', host.n_bytes);
	size_t n_bytes = end ? (size_t)(end - host.at) : host.n_bytes;
	if (host.n_bytes > 0 && host.at[0] == '[') {
		if (!end)
			return 0;
		n_bytes++;
	}
	if (n_bytes == host.n_bytes)
		return n_bytes;
	if (host.at[n_bytes] != ':' || host.n_bytes - n_bytes - 1 > 5)
		return 0;
	for (size_t i = n_bytes + 1; i < host.n_bytes; i++)
		if (host.at[i] < '0' || host.at[i] > '9')
			return 0;
	return n_bytes;
}

bool host_is_local(struct head_text host, const char *bound_host)
{
	struct head_text name = {host.at, host_length(host)};
	if (name.n_bytes == 0)
		return false;
	if (head_text_is(name, "localhost") || head_text_is(name, "127.0.0.1") || head_text_is(name, "[::1]"))
		return true;
	if (name.at[0] == '[')
		return name.n_bytes > 2 && head_text_is((struct head_text){name.at + 1, name.n_bytes - 2}, bound_host);
	return head_text_is(name, bound_host);
}

bool host_name_is_plain(struct head_text name)
{
	bool bracketed = name.n_bytes > 2 && name.at[0] == '[' && name.at[name.n_bytes - 1] == ']';
	if (bracketed)
		name = (struct head_text){name.at + 1, name.n_bytes - 2};
	if (name.n_bytes < 1 || name.n_bytes > 253)
		return false;
	for (size_t i = 0; i < name.n_bytes; i++)
		if (!isalnum((unsigned char)name.at[i]) && !memchr(bracketed ? ".:" : ".-_", name.at[i], bracketed ? 2 : 3))
			return false;
	return true;
}

bool host_is_named(struct head_text host, const struct host_names *names)
{
	struct head_text name = {host.at, host_length(host)};
	for (int i = 0; i < names->n; i++)
		if (name.n_bytes > 0 && head_text_is(name, names->names[i]))
			return true;
	return false;
}

/* What follows "http://" or "https://"; at == NULL where neither begins it. */
static struct head_text origin_host(struct head_text origin)
{
	static const char *const schemes[] = {"http://", "https://"};
	for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
		size_t n = strlen(schemes[i]);
		if (origin.n_bytes > n && strncasecmp(origin.at, schemes[i], n) == 0)
			return (struct head_text){origin.at + n, origin.n_bytes - n};
	}
	return (struct head_text){0};
}

bool origin_is_allowed(struct head_text origin, const char *cors_origin, struct head_text host,
                       const struct host_names *names, bool *cross_site)
{
	*cross_site = false;
	struct head_text of_origin = origin_host(origin);
	if (of_origin.at && host_is_named(of_origin, names))
		return true;
	if (host.at && origin.n_bytes == 7 + host.n_bytes && strncasecmp(origin.at, "http://", 7) == 0 &&
	    strncasecmp(origin.at + 7, host.at, host.n_bytes) == 0)
		return true;
	*cross_site = true;
	return cors_origin && (strcmp(cors_origin, "*") == 0 || head_text_is(origin, cors_origin));
}

bool request_id_is_plain(struct head_text text)
{
	if (text.n_bytes < 1 || text.n_bytes > REQUEST_ID_BYTES)
		return false;
	for (size_t i = 0; i < text.n_bytes; i++)
		if (!isalnum((unsigned char)text.at[i]) && !memchr("._:-", text.at[i], 4))
			return false;
	return true;
}
