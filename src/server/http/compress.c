#include "server/http/compress.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "server/server.h"

/* Most of the gain for a third of the time of the default. */
enum { LEVEL = 3, GZIP_WINDOW = 15 + 16, MEMORY_LEVEL = 8 };

bool compress_is_worth(size_t n_bytes)
{
	return n_bytes >= COMPRESS_LEAST_BYTES && n_bytes <= COMPRESS_MOST_BYTES;
}

static struct head_text trimmed(const char *from, const char *to)
{
	while (from < to && (*from == ' ' || *from == '\t'))
		from++;
	while (to > from && (to[-1] == ' ' || to[-1] == '\t'))
		to--;
	return (struct head_text){from, (size_t)(to - from)};
}

/* "q=0", "q=0.0" and the like. */
static bool weighs_nothing(struct head_text parameter)
{
	if (parameter.n_bytes < 3 || (parameter.at[0] | 0x20) != 'q' || parameter.at[1] != '=')
		return false;
	for (size_t i = 2; i < parameter.n_bytes; i++)
		if (parameter.at[i] != '0' && parameter.at[i] != '.')
			return false;
	return true;
}

bool compress_is_asked(struct head_text accept_encoding)
{
	const char *end = accept_encoding.at + accept_encoding.n_bytes;
	bool any = false, named = false, asked = false;
	for (const char *at = accept_encoding.at; at < end;) {
		const char *comma = memchr(at, ',', (size_t)(end - at));
		const char *item_end = comma ? comma : end;
		const char *semicolon = memchr(at, ';', (size_t)(item_end - at));
		struct head_text coding = trimmed(at, semicolon ? semicolon : item_end);
		bool wanted = !semicolon || !weighs_nothing(trimmed(semicolon + 1, item_end));
		if (head_text_is(coding, "gzip") || head_text_is(coding, "x-gzip")) {
			named = true;
			asked |= wanted;
		} else if (head_text_is(coding, "*")) {
			any = wanted;
		}
		at = item_end + 1;
	}
	return named ? asked : any;
}

bool compress_gzip(const void *body, size_t n_bytes, struct bytes *out)
{
	z_stream stream = {.next_in = (void *)body, .avail_in = (uInt)n_bytes};
	if (deflateInit2(&stream, LEVEL, Z_DEFLATED, GZIP_WINDOW, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
		return false;
	/* What does not fit into as much is no gain. */
	char *data = malloc(n_bytes);
	stream.next_out = (void *)data;
	stream.avail_out = (uInt)n_bytes;
	bool done = data && deflate(&stream, Z_FINISH) == Z_STREAM_END;
	*out = (struct bytes){.data = data, .n_bytes = stream.total_out, .capacity = n_bytes};
	deflateEnd(&stream);
	if (!done)
		bytes_free(out);
	return done;
}

void server_compression_version(struct bytes *out)
{
	bytes_append_format(out, "zlib %s", zlibVersion());
}
