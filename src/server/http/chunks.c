/* A state machine over a chunked body's bytes (chunks.h). */
#include "server/http/chunks.h"

#include <stdbool.h>
#include <string.h>

enum { MAX_SIZE_DIGITS = 16, MAX_SKIPPED_BYTES = 16 << 10 };

static int hex_value(unsigned char byte)
{
	if (byte >= '0' && byte <= '9')
		return byte - '0';
	if ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'f')
		return (byte | 0x20) - 'a' + 10;
	return -1;
}

static enum chunks_state after_digits(struct chunk_decoder *decoder, unsigned char byte)
{
	if (byte == '\r')
		return CHUNKS_SIZE_LF;
	if (byte == ';')
		return CHUNKS_EXTENSION;
	bool blank = byte == ' ' || byte == '\t';
	return blank && ++decoder->n_skipped <= MAX_SKIPPED_BYTES ? CHUNKS_SIZE_SPACE : CHUNKS_BAD;
}

static enum chunks_state after_size(struct chunk_decoder *decoder, unsigned char byte)
{
	int digit = hex_value(byte);
	if (digit >= 0) {
		if (++decoder->n_digits > MAX_SIZE_DIGITS)
			return CHUNKS_BAD;
		decoder->left = decoder->left << 4 | (uint64_t)digit;
		return CHUNKS_SIZE;
	}
	return decoder->n_digits > 0 ? after_digits(decoder, byte) : CHUNKS_BAD;
}

/* A byte of a line whose content nobody wants; `at_cr` is where its CR leads to. */
static enum chunks_state skip(struct chunk_decoder *decoder, unsigned char byte, enum chunks_state stay,
                              enum chunks_state at_cr)
{
	if (byte == '\r')
		return at_cr;
	if ((byte < 0x20 && byte != '\t') || byte == 0x7f || ++decoder->n_skipped > MAX_SKIPPED_BYTES)
		return CHUNKS_BAD;
	return stay;
}

/* Where a byte that is not data leads to. */
static enum chunks_state next_state(struct chunk_decoder *decoder, unsigned char byte)
{
	switch (decoder->state) {
	case CHUNKS_SIZE_FIRST:
		decoder->left = 0;
		decoder->n_digits = 0;
		return after_size(decoder, byte);
	case CHUNKS_SIZE:
		return after_size(decoder, byte);
	case CHUNKS_SIZE_SPACE:
		return after_digits(decoder, byte);
	case CHUNKS_EXTENSION:
		return skip(decoder, byte, CHUNKS_EXTENSION, CHUNKS_SIZE_LF);
	case CHUNKS_SIZE_LF:
		if (byte != '\n')
			return CHUNKS_BAD;
		return decoder->left > 0 ? CHUNKS_DATA : CHUNKS_TRAILER_FIRST;
	case CHUNKS_DATA_CR:
		return byte == '\r' ? CHUNKS_DATA_LF : CHUNKS_BAD;
	case CHUNKS_DATA_LF:
		return byte == '\n' ? CHUNKS_SIZE_FIRST : CHUNKS_BAD;
	case CHUNKS_TRAILER_FIRST:
		return skip(decoder, byte, CHUNKS_TRAILER, CHUNKS_LAST_LF);
	case CHUNKS_TRAILER:
		return skip(decoder, byte, CHUNKS_TRAILER, CHUNKS_TRAILER_LF);
	case CHUNKS_TRAILER_LF:
		return byte == '\n' ? CHUNKS_TRAILER_FIRST : CHUNKS_BAD;
	case CHUNKS_LAST_LF:
		return byte == '\n' ? CHUNKS_ENDED : CHUNKS_BAD;
	default:
		return CHUNKS_BAD;
	}
}

size_t chunks_decode(struct chunk_decoder *decoder, const char *bytes, size_t n_bytes, char *out, size_t *n_out)
{
	size_t at = 0;
	*n_out = 0;
	while (at < n_bytes && decoder->state != CHUNKS_ENDED && decoder->state != CHUNKS_BAD) {
		if (decoder->state != CHUNKS_DATA) {
			decoder->state = next_state(decoder, (unsigned char)bytes[at++]);
			continue;
		}
		size_t n_data = n_bytes - at < decoder->left ? n_bytes - at : (size_t)decoder->left;
		memcpy(out + *n_out, bytes + at, n_data);
		*n_out += n_data;
		at += n_data;
		decoder->left -= n_data;
		if (decoder->left == 0)
			decoder->state = CHUNKS_DATA_CR;
	}
	return at;
}
