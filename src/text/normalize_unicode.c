/* NFC, NFD, NFKC, NFKD with utf8proc's tables, in linear time: utf8proc's own ordering of marks is quadratic in their
 * number, and one character may carry a million of them. Characters of after Unicode 9 are left as they are, their marks
 * unordered: so does the reference, whose tables are that old, and ids are to be its ids, not Unicode's.
 *
 * ASCII stays what it is and nothing before an ASCII character interacts with it, so only stretches of other
 * characters, with the ASCII character before them (it may carry their marks), are worked on.
 */
#include <string.h>
#include <utf8proc.h>

#include "base/utf8.h"
#include "text/normalizer.h"
#include "text/unicode.h"

static int32_t *codes_of(struct bytes *codes)
{
	return (int32_t *)(void *)codes->data;
}

static bool decompose(const char *text, size_t n_bytes, bool compatible, struct bytes *codes)
{
	int options = UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0);
	enum { MAX_CODES = 32 }; /* the longest decomposition has 18 */
	bytes_clear(codes);
	for (size_t at = 0, length; at < n_bytes; at += length) {
		int32_t code = (int32_t)char_decode(text + at, &length);
		if (!bytes_reserve(codes, MAX_CODES * sizeof code))
			return false;
		if (unicode_is_inert((uint32_t)code)) {
			bytes_append(codes, &code, sizeof code);
			continue;
		}
		int boundary = 0;
		utf8proc_ssize_t n = utf8proc_decompose_char(code, codes_of(codes) + codes->n_bytes / sizeof code, MAX_CODES,
		                                             (utf8proc_option_t)options, &boundary);
		if (n < 0 || n > MAX_CODES)
			return false;
		codes->n_bytes += (size_t)n * sizeof code;
	}
	return true;
}

static int combining_class(int32_t code)
{
	int class = utf8proc_get_property(code)->combining_class;
	return class && !unicode_is_inert((uint32_t)code) ? class : 0;
}

/* Stable by combining class. */
static bool sort_marks(int32_t *codes, size_t n, struct bytes *sorted)
{
	size_t counts[256] = {0}, n_bytes = n * sizeof *codes;
	bytes_clear(sorted);
	if (!bytes_reserve(sorted, n_bytes))
		return false;
	for (size_t i = 0; i < n; i++)
		counts[combining_class(codes[i]) & 0xFF]++;
	for (size_t i = 0, first = 0; i < 256; i++) {
		size_t count = counts[i];
		counts[i] = first;
		first += count;
	}
	for (size_t i = 0; i < n; i++)
		codes_of(sorted)[counts[combining_class(codes[i]) & 0xFF]++] = codes[i];
	memcpy(codes, sorted->data, n_bytes);
	return true;
}

/* Canonical ordering. */
static bool order(int32_t *codes, size_t n, struct bytes *sorted)
{
	for (size_t start = 0, end; start < n; start = end + 1) {
		bool in_order = true;
		int last = 0;
		for (end = start; end < n; end++) {
			int class = combining_class(codes[end]);
			if (class == 0)
				break;
			in_order = in_order && class >= last;
			last = class;
		}
		if (!in_order && !sort_marks(codes + start, end - start, sorted))
			return false;
	}
	return true;
}

/* In place; returns how many are left, 0 for a failure. What is inert composes with nothing. */
static size_t compose(int32_t *codes, size_t n)
{
	size_t n_out = 0;
	for (size_t start = 0, end; start < n; start = end) {
		bool inert = unicode_is_inert((uint32_t)codes[start]);
		for (end = start + 1; end < n && unicode_is_inert((uint32_t)codes[end]) == inert;)
			end++;
		utf8proc_ssize_t left = (utf8proc_ssize_t)(end - start);
		if (!inert)
			left =
			    utf8proc_normalize_utf32(codes + start, left, (utf8proc_option_t)(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
		if (left < 0)
			return 0;
		memmove(codes + n_out, codes + start, (size_t)left * sizeof *codes);
		n_out += (size_t)left;
	}
	return n_out;
}

static bool normalize_stretch(enum normalizer_kind form, const char *text, size_t n_bytes,
                              struct normalizer_scratch *scratch, struct bytes *out)
{
	bool compatible = form == NORMALIZER_NFKC || form == NORMALIZER_NFKD;
	bool composed = form == NORMALIZER_NFC || form == NORMALIZER_NFKC;
	if (!decompose(text, n_bytes, compatible, &scratch->codes))
		return false;
	int32_t *codes = codes_of(&scratch->codes);
	size_t n = scratch->codes.n_bytes / sizeof *codes;
	if (!order(codes, n, &scratch->sorted))
		return false;
	if (composed && !(n = compose(codes, n)))
		return false;
	if (!bytes_reserve(out, 4 * n))
		return false;
	for (size_t i = 0; i < n; i++)
		out->n_bytes += (size_t)utf8_encode((unsigned)codes[i], out->data + out->n_bytes);
	return true;
}

bool normalize_unicode(enum normalizer_kind form, const char *text, size_t n_bytes, struct normalizer_scratch *scratch,
                       struct bytes *out)
{
	for (size_t at = 0, start; at < n_bytes;) {
		start = at;
		while (at < n_bytes && (unsigned char)text[at] < 0x80)
			at++;
		size_t base = at > start && at < n_bytes ? at - 1 : at;
		bytes_append(out, text + start, base - start);
		while (at < n_bytes && (unsigned char)text[at] >= 0x80)
			at++;
		if (at > base && !normalize_stretch(form, text + base, at - base, scratch, out))
			return false;
	}
	return !out->failed;
}
