/* Applying normalizers one after the other, between two buffers. */
#include "text/normalizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/utf8.h"
#include "text/unicode.h"

void normalizer_free(struct normalizer *normalizer)
{
	for (int i = 0; i < normalizer->n_steps; i++)
		regex_destroy(normalizer->steps[i].regex);
	normalizer->n_steps = 0;
}

void normalizer_scratch_free(struct normalizer_scratch *scratch)
{
	bytes_free(&scratch->texts[0]);
	bytes_free(&scratch->texts[1]);
	bytes_free(&scratch->codes);
	bytes_free(&scratch->sorted);
	regex_scratch_destroy(scratch->regex);
	*scratch = (struct normalizer_scratch){0};
}

/* The next match of a plain string, or of a regular expression when there is one. */
static bool next_match(const char *pattern, size_t n_pattern, struct regex_matches *matches, bool *found, size_t *start,
                       size_t *end, struct error *error)
{
	if (matches->regex)
		return regex_next(matches, found, start, end, error);
	const char *hit = memmem(matches->text + matches->at, matches->n_bytes - matches->at, pattern, n_pattern);
	*found = hit != NULL;
	if (hit) {
		*start = (size_t)(hit - matches->text);
		*end = matches->at = *start + n_pattern;
	}
	return true;
}

bool replace_matches(const char *pattern, size_t n_pattern, const struct regex *regex, struct regex_scratch *scratch,
                     const char *content, size_t n_content, const char *text, size_t n_bytes, size_t *origin,
                     struct bytes *out, struct error *error)
{
	struct regex_matches matches = {.text = text, .n_bytes = n_bytes};
	if (regex)
		matches = regex_matches(regex, scratch, text, n_bytes);
	size_t copied = 0, new_origin = *origin ? SIZE_MAX : 0;
	for (bool found = true;;) {
		size_t start = n_bytes, end = n_bytes;
		if (!next_match(pattern, n_pattern, &matches, &found, &start, &end, error))
			return false;
		/* The origin ends in what is copied here, or inside the match: then nothing of the content counts. */
		if (new_origin == SIZE_MAX && (!found || end > *origin))
			new_origin = out->n_bytes + (*origin < start ? *origin : start) - copied;
		bytes_append(out, text + copied, start - copied);
		copied = end;
		if (!found || out->failed)
			break;
		bytes_append(out, content, n_content);
	}
	*origin = new_origin;
	return true;
}

/* Returns how many bytes come from the origin; so do the next ones. */
static size_t lowercase(const struct text_run *run, struct bytes *out)
{
	size_t origin = 0;
	if (!bytes_reserve(out, 2 * run->n_bytes))
		return 0;
	for (size_t at = 0, length; at < run->n_bytes; at += length) {
		uint32_t code = char_decode(run->text + at, &length);
		/* U+0130 is the one character whose lower case is two, without looking at its neighbours. */
		if (code == 0x130)
			bytes_append(out, "i\xCC\x87", 3);
		else if (code < 0x80)
			out->data[out->n_bytes++] = (char)(code >= 'A' && code <= 'Z' ? code + 32 : code);
		else if (bytes_reserve(out, 2 * (run->n_bytes - at)))
			out->n_bytes += (size_t)utf8_encode(unicode_lower(code), out->data + out->n_bytes);
		if (at < run->origin_bytes)
			origin = out->n_bytes;
	}
	return origin;
}

static size_t strip_accents(const struct text_run *run, struct bytes *out)
{
	size_t origin = 0;
	for (size_t at = 0, length; at < run->n_bytes; at += length) {
		if (unicode_is_mark(char_decode(run->text + at, &length)))
			continue;
		bytes_append(out, run->text + at, length);
		if (at < run->origin_bytes)
			origin = out->n_bytes;
	}
	return origin;
}

/* Needs no copy. */
static void strip(const struct normalizer_step *step, struct text_run *run)
{
	size_t start = 0, end = run->n_bytes, length;
	while (step->left && start < end && unicode_is_space(char_decode(run->text + start, &length)))
		start += length;
	for (size_t before; step->right && end > start; end = before) {
		before = char_before(run->text, end);
		if (!unicode_is_space(char_decode(run->text + before, &length)))
			break;
	}
	run->text += start;
	run->n_bytes = end - start;
	run->origin_bytes = run->origin_bytes > start ? run->origin_bytes - start : 0;
}

static bool is_ascii(const struct text_run *run)
{
	for (size_t i = 0; i < run->n_bytes; i++)
		if ((unsigned char)run->text[i] >= 0x80)
			return false;
	return true;
}

/* A Unicode form may join the origin's last character with what follows, or part its marks. Comes from the origin: the
 * first character, and as much as the origin alone becomes. */
static size_t form_origin(const struct normalizer_step *step, struct normalizer_scratch *scratch,
                          const struct text_run *run, struct bytes *out)
{
	size_t whole = out->n_bytes, limit = out->max_bytes, same = 0, length;
	if (run->origin_bytes == 0 || whole == 0)
		return 0;
	out->max_bytes = 0; /* that of the whole is there already */
	if (!normalize_unicode(step->kind, run->text, run->origin_bytes, scratch, out)) {
		out->failed = true;
		return 0;
	}
	out->max_bytes = limit;
	size_t most = out->n_bytes - whole < whole ? out->n_bytes - whole : whole;
	for (; same < most; same += length) {
		length = char_length((unsigned char)out->data[same]);
		if (length > most - same || memcmp(out->data + same, out->data + whole + same, length) != 0)
			break;
	}
	out->n_bytes = whole;
	return same ? same : char_length((unsigned char)out->data[0]);
}

/* One step into out; *origin is the run's new origin_bytes. */
static bool apply_step(const struct normalizer_step *step, struct normalizer_scratch *scratch,
                       const struct text_run *run, struct bytes *out, size_t *origin, struct error *error)
{
	*origin = run->origin_bytes;
	switch (step->kind) {
	case NORMALIZER_PREPEND:
		bytes_append(out, step->text, step->n_text);
		bytes_append(out, run->text, run->n_bytes);
		*origin += *origin ? step->n_text : 0;
		return true;
	case NORMALIZER_REPLACE:
		if (step->regex && !scratch->regex && !(scratch->regex = regex_scratch_create(scratch->clock, error)))
			return false;
		return replace_matches(step->pattern, step->n_pattern, step->regex, scratch->regex, step->text, step->n_text,
		                       run->text, run->n_bytes, origin, out, error);
	case NORMALIZER_NFC:
	case NORMALIZER_NFD:
	case NORMALIZER_NFKC:
	case NORMALIZER_NFKD:
		/* Every code makes at least a byte; they are counted before the text is written. */
		scratch->codes.max_bytes =
		    out->max_bytes < SIZE_MAX / sizeof(int32_t) ? out->max_bytes * sizeof(int32_t) : SIZE_MAX;
		if (normalize_unicode(step->kind, run->text, run->n_bytes, scratch, out)) {
			*origin = form_origin(step, scratch, run, out);
			return true;
		}
		out->failed = true;
		out->full |= scratch->codes.full;
		return true;
	case NORMALIZER_LOWERCASE:
		*origin = lowercase(run, out);
		return true;
	case NORMALIZER_STRIP_ACCENTS:
		*origin = strip_accents(run, out);
		return true;
	case NORMALIZER_STRIP: /* needs no copy */
		break;
	}
	return true;
}

/* What this text may become: it bounds every step's output. */
static size_t growth_limit(struct normalizer_scratch *scratch, size_t n_bytes)
{
	size_t limit;
	scratch->n_taken += n_bytes; /* of a text in memory, as is the next */
	if (!checked_mul(scratch->n_taken, NORMALIZER_MAX_GROWTH, &limit) ||
	    !checked_add(limit, NORMALIZER_MAX_EXTRA, &limit))
		limit = SIZE_MAX;
	return limit - scratch->n_made;
}

static bool step_failed(const struct normalizer_scratch *scratch, const struct bytes *out, struct error *error)
{
	if (out->full)
		return error_set(error, ERROR_INVALID_REQUEST,
		                 "the tokenizer's normalizer makes more than %d times as much of %zu bytes of text",
		                 NORMALIZER_MAX_GROWTH, scratch->n_taken);
	return error_set(error, ERROR_MEMORY, "not enough memory to normalize the text");
}

bool normalizer_apply(const struct normalizer *normalizer, struct normalizer_scratch *scratch, struct text_run *run,
                      struct error *error)
{
	size_t limit = growth_limit(scratch, run->n_bytes);
	for (int i = 0, turn = 0; i < normalizer->n_steps; i++) {
		const struct normalizer_step *step = &normalizer->steps[i];
		if (step->kind == NORMALIZER_STRIP) {
			strip(step, run);
			continue;
		}
		bool form = step->kind >= NORMALIZER_NFC && step->kind <= NORMALIZER_NFKD;
		if (run->n_bytes == 0 || (form && is_ascii(run)))
			continue;
		struct bytes *out = &scratch->texts[turn];
		size_t origin;
		bytes_clear(out);
		out->max_bytes = limit;
		if (!apply_step(step, scratch, run, out, &origin, error))
			return false;
		if (out->failed)
			return step_failed(scratch, out, error);
		*run = (struct text_run){.text = out->data ? out->data : "", .n_bytes = out->n_bytes, .origin_bytes = origin};
		turn = !turn;
	}
	scratch->n_made += run->n_bytes;
	return true;
}
