/* Items of arrays that must differ, as the matcher's steps meet them (distinct.h).
 *
 * Of each item that ends a new language is made. A walk through a vocabulary meets many: each way in which some token ends
 * the item, of which one will come. So there a string that has ended is not put among those used (USED_PUT_OFF), while
 * the next one is read: where that may become several strings, one of them is another; else, and where the next one ends, the
 * text tells. Only with the item after that it is counted.
 */
#include <string.h>

#include "text/grammar/characters.h"
#include "text/grammar/matcher_private.h"

#define USED_PUT_OFF (1U << 31)

/* A part of the text before the step. */
static bool copy(struct matcher *m, size_t start, size_t end, struct bytes *out)
{
	m->read_back = true;
	distinct_copy(&m->last, start, end, out);
	if (out->failed)
		languages_note_no_memory(m->languages);
	return !out->failed;
}

/* Used with the item that ends there. */
static uint32_t with_item(struct matcher *m, uint32_t used, size_t end)
{
	struct bytes item = {0};
	if (copy(m, distinct_start(&m->last, end, false), end, &item))
		used = distinct_with(m->languages, used, item.data);
	bytes_free(&item);
	return used;
}

/* What a string says that starts there, its first quote included, as far as `end`, or (`with_byte`) with the byte. */
static bool read_string(struct matcher *m, size_t start, size_t end, bool with_byte, struct bytes *out)
{
	struct bytes written = {0};
	bool ok = copy(m, start, end, &written);
	if (with_byte)
		bytes_append(&written, &m->last_byte, 1);
	if (ok)
		characters_unescape(out, written.data, written.n_bytes);
	ok = ok && !written.failed && !out->failed;
	bytes_free(&written);
	if (!ok)
		languages_note_no_memory(m->languages);
	return ok;
}

/* The string that ends before another one starts, without its last quote. */
static bool read_last_string(struct matcher *m, size_t start, struct bytes *out)
{
	size_t end = distinct_end_before(&m->last, start);
	return read_string(m, distinct_start(&m->last, end, false), end - 1, false, out);
}

/* A language of what may follow in a string that starts there, without what would make it the string before. */
static uint32_t without_last(struct matcher *m, uint32_t language, size_t start, bool with_byte)
{
	struct languages *l = m->languages;
	struct bytes last = {0}, here = {0};
	bool ok = read_last_string(m, start, &last) && read_string(m, start, text_before_bytes(&m->last), with_byte, &here);
	if (ok && last.n_bytes >= here.n_bytes && memcmp(last.data, here.data, here.n_bytes) == 0) {
		uint32_t rest = language_text(l, last.data + here.n_bytes, last.n_bytes - here.n_bytes);
		language = language_both(l, language, language_not(l, rest));
	}
	bytes_free(&last);
	bytes_free(&here);
	return language;
}

static size_t begun_string(const struct matcher *m)
{
	return distinct_start(&m->last, text_before_bytes(&m->last), true);
}

static uint32_t live(struct matcher *m, uint32_t language)
{
	return language_is_live(m->languages, language) ? language : LANGUAGE_NONE;
}

/* Is there an item that was not used; with `another` there are two, if it is a string? */
static bool is_left(struct matcher *m, const struct network_items *items, uint32_t used, bool another)
{
	struct languages *l = m->languages;
	uint32_t strings = distinct_left(l, items->strings, used, true);
	return language_is_live(l, distinct_left(l, items->texts, used, false)) ||
	       (another ? language_has_several(l, strings) : language_is_live(l, strings));
}

/* ---- what the steps ask ---- */

bool items_count(struct matcher *m, const struct network_items *items, uint32_t *used)
{
	size_t end = text_before_bytes(&m->last), start = distinct_start(&m->last, end, false);
	bool is_string = start < end && text_before_at(&m->last, start) == '"';
	m->read_back = true;
	if (*used & USED_PUT_OFF)
		*used = with_item(m, *used & ~USED_PUT_OFF, distinct_end_before(&m->last, start));
	if (m->puts_off && is_string && is_left(m, items, *used, true)) {
		*used |= USED_PUT_OFF;
		return true;
	}
	*used = with_item(m, *used, end);
	return is_left(m, items, *used, false);
}

uint32_t items_begin(struct matcher *m, uint32_t language, uint32_t used, bool in_string)
{
	uint32_t left = live(m, distinct_left(m->languages, language, used & ~USED_PUT_OFF, in_string));
	bool put_off = in_string && (used & USED_PUT_OFF) && left != LANGUAGE_NONE;
	if (!put_off || language_has_several(m->languages, left))
		return left;
	return live(m, without_last(m, left, text_before_bytes(&m->last), true));
}

uint32_t items_before_byte(struct matcher *m, const struct place *place, bool in_string)
{
	bool begins = place->partial == 0 && (m->last_byte >= 0x80 || m->last_byte == '\\');
	if (!in_string || !(place->used & USED_PUT_OFF) || !begins)
		return place->language;
	return without_last(m, place->language, begun_string(m), false);
}

uint32_t items_after_byte(struct matcher *m, uint32_t language, uint32_t used, bool in_string)
{
	if (!in_string || !(used & USED_PUT_OFF) || language_has_several(m->languages, language))
		return language;
	return live(m, without_last(m, language, begun_string(m), true));
}

bool items_may_end(struct matcher *m, const struct place *place)
{
	struct bytes last = {0}, here = {0};
	if (!(place->used & USED_PUT_OFF))
		return true;
	size_t start = begun_string(m);
	bool ok = read_last_string(m, start, &last) && read_string(m, start, text_before_bytes(&m->last), false, &here);
	bool same = ok && last.n_bytes == here.n_bytes && memcmp(last.data, here.data, here.n_bytes) == 0;
	bytes_free(&last);
	bytes_free(&here);
	return ok && !same;
}
