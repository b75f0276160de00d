/* Decoding: steps on each token, then bytes to characters, then the strip at the very start. */
#include "text/decoder.h"

#include <string.h>

#include "base/utf8.h"
#include "text/normalizer.h"
#include "text/unicode.h"

/* What a token may become: that many times its length, and that much on top. */
enum { DECODER_MAX_GROWTH = 64, DECODER_MAX_EXTRA = 4096 };

static const char replacement[] = "\xEF\xBF\xBD"; /* U+FFFD */

void decoder_free(struct decoder *decoder)
{
	for (int i = 0; i < decoder->n_steps; i++)
		regex_destroy(decoder->steps[i].regex);
	decoder->n_steps = 0;
}

void decoding_free(struct decoding *decoding)
{
	bytes_free(&decoding->texts[0]);
	bytes_free(&decoding->texts[1]);
	bytes_free(&decoding->raw);
	regex_scratch_destroy(decoding->regex);
	*decoding = (struct decoding){0};
}

bool decoding_reserve(const struct decoder *decoder, struct decoding *decoding, size_t n_bytes, struct error *error)
{
	if (!bytes_reserve(&decoding->texts[0], n_bytes) || !bytes_reserve(&decoding->texts[1], n_bytes) ||
	    !bytes_reserve(&decoding->raw, n_bytes))
		return error_set(error, ERROR_MEMORY, "not enough memory to decode");
	for (int i = 0; i < decoder->n_steps && !decoding->regex; i++)
		if (decoder->steps[i].regex && !(decoding->regex = regex_scratch_create(NULL, error)))
			return false;
	return true;
}

/* [on each token]* (ByteFallback | ByteLevel)? Fuse? (Strip at the start)? */
bool decoder_check(struct decoder *decoder, struct error *error)
{
	bool bytes = false, fused = false;
	for (int i = 0; i < decoder->n_steps; i++) {
		const struct decoder_step *step = &decoder->steps[i];
		switch (step->kind) {
		case DECODER_FUSE:
			fused = true;
			break;
		case DECODER_BYTE_FALLBACK:
		case DECODER_BYTE_LEVEL:
			if (bytes || fused)
				return error_set(error, ERROR_MODEL,
				                 "decoder: ByteFallback or ByteLevel after another of them, or after "
				                 "Fuse, is not supported");
			bytes = true;
			decoder->byte_fallback = step->kind == DECODER_BYTE_FALLBACK;
			decoder->byte_level = fused = step->kind == DECODER_BYTE_LEVEL;
			break;
		case DECODER_STRIP:
			if (fused && !decoder->strip && step->stop == 0) {
				decoder->strip = step;
				break;
			}
			/* fall through */
		default:
			if (bytes || fused)
				return error_set(error, ERROR_MODEL,
				                 "decoder: %s after ByteFallback, ByteLevel or Fuse is not supported",
				                 step->kind == DECODER_REPLACE ? "Replace"
				                 : step->kind == DECODER_STRIP ? "Strip (other than once, at the start)"
				                                               : "Metaspace");
			decoder->n_token_steps = i + 1;
		}
	}
	return true;
}

/* ---- characters out of bytes ---- */

/* Could these bytes, 1..3 of them, be the beginning of a character? Tried with the lowest second byte after most leads,
 * after E0 and after F0. */
static bool is_prefix(const unsigned char *bytes, size_t n)
{
	static const char *const endings[] = {"\x80\x80\x80", "\xA0\x80\x80", "\x90\x80\x80"};
	for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
		unsigned char whole[4];
		memcpy(whole, bytes, n);
		for (size_t length = n + 1; length <= 4; length++) {
			memcpy(whole + n, endings[i] + (n > 1), length - n);
			if (utf8_length(whole, length) == (int)length)
				return true;
		}
	}
	return false;
}

static void emit(const struct decoder *decoder, struct decoding *decoding, const char *text, size_t n_bytes,
                 struct bytes *out)
{
	const struct decoder_step *strip = decoder->strip;
	while (strip && n_bytes && !decoding->strip_done) {
		bool hit = decoding->n_stripped < strip->start && n_bytes >= strip->n_text &&
		           !memcmp(text, strip->text, strip->n_text);
		decoding->strip_done = !hit;
		if (hit) {
			decoding->n_stripped++;
			text += strip->n_text;
			n_bytes -= strip->n_text;
		}
	}
	bytes_append(out, text, n_bytes);
}

/* Of n bytes that are no character: how many the reference shows as one U+FFFD. Its byte-level decoder replaces the longest
 * beginnings of characters (Rust's from_utf8_lossy), that of byte fallback each byte. */
static size_t shown_as_one(const struct decoder *decoder, size_t n)
{
	return decoder->byte_level ? n : 1;
}

/* Whole characters of tail + bytes; what cannot become one turns into U+FFFD, an unfinished end is the new tail. */
static void emit_bytes(const struct decoder *decoder, struct decoding *decoding, const char *bytes, size_t n_bytes,
                       struct bytes *out)
{
	if (decoding->n_tail == 0) {
		size_t valid = unicode_valid_prefix(bytes, n_bytes);
		emit(decoder, decoding, bytes, valid, out);
		bytes += valid;
		n_bytes -= valid;
	}
	while (n_bytes > 0) {
		decoding->tail[decoding->n_tail++] = (unsigned char)*bytes++;
		n_bytes--;
		while (decoding->n_tail > 0) {
			size_t n = decoding->n_tail, used = (size_t)utf8_length(decoding->tail, n);
			if (used == 0 && n < 4 && is_prefix(decoding->tail, n))
				break;
			if (used > 0) {
				emit(decoder, decoding, (const char *)decoding->tail, used, out);
			} else {
				/* All but the last one may have been a beginning. */
				used = shown_as_one(decoder, n > 1 ? n - 1 : 1);
				emit(decoder, decoding, replacement, 3, out);
			}
			memmove(decoding->tail, decoding->tail + used, n - used);
			decoding->n_tail -= used;
		}
	}
}

void decoding_end(const struct decoder *decoder, struct decoding *decoding, struct bytes *out)
{
	for (; decoding->n_tail > 0; decoding->n_tail -= shown_as_one(decoder, decoding->n_tail))
		emit(decoder, decoding, replacement, 3, out);
}

/* ---- one token ---- */

struct piece {
	const char *text;
	size_t n_bytes;
};

static void strip_token(const struct decoder_step *step, struct piece *token)
{
	for (uint32_t i = 0; i < step->start && token->n_bytes >= step->n_text; i++) {
		if (memcmp(token->text, step->text, step->n_text) != 0)
			break;
		token->text += step->n_text;
		token->n_bytes -= step->n_text;
	}
	for (uint32_t i = 0; i < step->stop && token->n_bytes >= step->n_text; i++) {
		if (memcmp(token->text + token->n_bytes - step->n_text, step->text, step->n_text) != 0)
			break;
		token->n_bytes -= step->n_text;
	}
}

static bool replace_in_token(const struct decoder_step *step, struct decoding *decoding, const char *content,
                             size_t n_content, size_t limit, struct bytes *out, struct piece *token,
                             struct error *error)
{
	size_t origin = 0;
	if (step->regex && !decoding->regex && !(decoding->regex = regex_scratch_create(NULL, error)))
		return false;
	bytes_clear(out);
	out->max_bytes = limit;
	bool ok = replace_matches(step->pattern, step->n_pattern, step->regex, decoding->regex, content, n_content,
	                          token->text, token->n_bytes, &origin, out, error);
	if (decoding->regex)
		regex_scratch_pause(decoding->regex);
	if (!ok)
		return false;
	if (out->full)
		return error_set(error, ERROR_INVALID_REQUEST, "the tokenizer's decoder makes more than %zu bytes of one token",
		                 limit);
	if (out->failed)
		return error_set(error, ERROR_MEMORY, "not enough memory to decode");
	*token = (struct piece){out->data ? out->data : "", out->n_bytes};
	return true;
}

static bool token_steps(const struct decoder *decoder, struct decoding *decoding, struct piece *token,
                        struct error *error)
{
	/* As in a normalizer, steps multiply. */
	size_t limit = token->n_bytes * DECODER_MAX_GROWTH + DECODER_MAX_EXTRA; /* tokens are shorter than 2 GiB */
	for (int i = 0, turn = 0; i < decoder->n_token_steps; i++) {
		const struct decoder_step *step = &decoder->steps[i];
		if (step->kind == DECODER_STRIP) {
			strip_token(step, token);
			continue;
		}
		const char *content = step->text;
		size_t n_content = step->n_text;
		if (step->kind == DECODER_METASPACE) {
			content = " ";
			n_content = decoding->any || !step->drops_first;
		}
		struct bytes *out = &decoding->texts[turn];
		if (token->n_bytes > 0 && !replace_in_token(step, decoding, content, n_content, limit, out, token, error))
			return false;
		turn = !turn;
	}
	return true;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
	                              : -1;
}

/* The byte that "<0xNN>" names; -1. */
static int fallback_byte(const struct piece *token)
{
	const char *t = token->text;
	if (token->n_bytes != 6 || memcmp(t, "<0x", 3) != 0 || t[5] != '>' || hex_digit(t[3]) < 0 || hex_digit(t[4]) < 0)
		return -1;
	return hex_digit(t[3]) * 16 + hex_digit(t[4]);
}

/* Bytes of a byte-level token; a token with any other character in it stands for itself. */
static void unspell(struct piece *token, struct bytes *raw)
{
	bytes_clear(raw);
	if (!bytes_reserve(raw, token->n_bytes))
		return;
	for (size_t at = 0, length; at < token->n_bytes; at += length) {
		int byte = byte_level_byte(char_decode(token->text + at, &length));
		if (byte < 0)
			return;
		raw->data[raw->n_bytes++] = (char)byte;
	}
	if (raw->n_bytes)
		*token = (struct piece){raw->data, raw->n_bytes};
}

/* From a token's spelling to its bytes; *byte is where one may be kept. */
static bool spell_out(const struct decoder *decoder, struct decoding *decoding, struct piece *piece, char *byte,
                      struct error *error)
{
	if (!token_steps(decoder, decoding, piece, error))
		return false;
	if (decoder->byte_fallback && fallback_byte(piece) >= 0) {
		*byte = (char)fallback_byte(piece);
		*piece = (struct piece){byte, 1};
	} else if (decoder->byte_level) {
		unspell(piece, &decoding->raw);
	}
	return true;
}

bool decoding_push(const struct decoder *decoder, struct decoding *decoding, const char *token, size_t n_bytes,
                   struct bytes *out, struct error *error)
{
	struct piece piece = {token, n_bytes};
	char byte;
	if (!spell_out(decoder, decoding, &piece, &byte, error))
		return false;
	if (decoder->spaces && decoding->any)
		bytes_append(out, " ", 1);
	decoding->any = true;
	emit_bytes(decoder, decoding, piece.text, piece.n_bytes, out);
	return true;
}

bool decoder_token_bytes(const struct decoder *decoder, const char *token, size_t n_bytes, struct bytes *out,
                         struct error *error)
{
	struct decoding decoding = {.any = true};
	struct piece piece = {token, n_bytes};
	char byte;
	bool ok = spell_out(decoder, &decoding, &piece, &byte, error);
	if (ok)
		bytes_append(out, piece.text, piece.n_bytes);
	decoding_free(&decoding);
	return ok;
}
