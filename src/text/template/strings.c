/* Strings: bytes with their origins, built, cut and joined. */
#include <string.h>

#include "text/template/render.h"
#include "text/unicode.h"

bool char_is_python_space(uint32_t code)
{
	return unicode_is_space(code) || (code >= 0x1C && code <= 0x1F);
}

bool value_text(struct render *r, const char *bytes, size_t n_bytes, bool from_data, struct value *out)
{
	struct string *s = render_alloc(r, sizeof *s);
	if (!s)
		return false;
	*s = (struct string){.bytes = bytes, .n_bytes = n_bytes, .n_chars = CHARS_UNKNOWN, .from_data = from_data};
	*out = (struct value){.kind = VALUE_STRING, .string = s};
	return true;
}

bool value_literal(struct render *r, const char *text, struct value *out)
{
	return value_text(r, text, strlen(text), false, out);
}

int64_t string_chars(struct string *string)
{
	if (string->n_chars == CHARS_UNKNOWN) {
		int64_t n = 0;
		for (size_t i = 0; i < string->n_bytes; i++)
			n += ((unsigned char)string->bytes[i] & 0xC0) != 0x80;
		string->n_chars = n;
	}
	return string->n_chars;
}

size_t string_offset(const struct string *s, int64_t n_chars)
{
	size_t at = 0;
	if (s->n_chars == (int64_t)s->n_bytes)
		return n_chars < s->n_chars ? (size_t)n_chars : s->n_bytes;
	for (; n_chars > 0 && at < s->n_bytes; n_chars--)
		at += char_length((unsigned char)s->bytes[at]);
	return at;
}

bool string_slice(struct render *r, const struct string *s, size_t start, size_t end, struct value *out)
{
	if (!value_text(r, s->bytes + start, end - start, s->from_data, out))
		return false;
	if (s->marks)
		out->string->marks = s->marks + start;
	if (s->n_chars == (int64_t)s->n_bytes)
		out->string->n_chars = (int64_t)(end - start);
	return true;
}

/* ---- building ---- */

static bool grow(struct builder *b, size_t n_bytes)
{
	size_t capacity = b->capacity ? b->capacity : 64;
	while (capacity - b->n_bytes < n_bytes)
		if (__builtin_mul_overflow(capacity, 2, &capacity))
			return false;
	char *bytes = render_alloc(b->r, capacity);
	unsigned char *marks = b->marks && bytes ? render_alloc(b->r, capacity) : NULL;
	if (!bytes || (b->marks && !marks))
		return false;
	if (b->n_bytes)
		memcpy(bytes, b->bytes, b->n_bytes);
	if (marks)
		memcpy(marks, b->marks, b->n_bytes);
	b->bytes = bytes;
	b->marks = marks;
	b->capacity = capacity;
	return true;
}

/* From now on each byte has a mark. */
static bool begin_marks(struct builder *b)
{
	b->marks = render_alloc(b->r, b->capacity);
	if (b->marks)
		memset(b->marks, b->from_data, b->n_bytes);
	return b->marks != NULL;
}

void builder_add_marked(struct builder *b, const char *bytes, size_t n_bytes, const unsigned char *marks,
                        bool from_data)
{
	if (b->failed || n_bytes == 0)
		return;
	if (!render_step(b->r, n_bytes / 64) || (b->capacity - b->n_bytes < n_bytes && !grow(b, n_bytes))) {
		b->failed = true;
		return;
	}
	if (b->n_bytes == 0 && !marks && !b->marks)
		b->from_data = from_data;
	if (!b->marks && (marks || from_data != b->from_data) && !begin_marks(b)) {
		b->failed = true;
		return;
	}
	memcpy(b->bytes + b->n_bytes, bytes, n_bytes);
	if (marks)
		memcpy(b->marks + b->n_bytes, marks, n_bytes);
	else if (b->marks)
		memset(b->marks + b->n_bytes, from_data, n_bytes);
	b->n_bytes += n_bytes;
}

void builder_add(struct builder *b, const char *bytes, size_t n_bytes, bool from_data)
{
	builder_add_marked(b, bytes, n_bytes, NULL, from_data);
}

void builder_add_string(struct builder *b, const struct string *s, size_t start, size_t end)
{
	builder_add_marked(b, s->bytes + start, end - start, s->marks ? s->marks + start : NULL, s->from_data);
}

void builder_add_literal(struct builder *b, const char *text)
{
	builder_add(b, text, strlen(text), false);
}

bool builder_finish(struct builder *b, struct value *out)
{
	if (b->failed || !value_text(b->r, b->bytes ? b->bytes : "", b->n_bytes, b->from_data, out))
		return false;
	out->string->marks = b->marks;
	if (b->capacity - b->n_bytes < 32)
		return true;
	struct string_room *room = render_alloc(b->r, sizeof *room);
	if (!room)
		return false;
	*room = (struct string_room){b->bytes, b->marks, b->n_bytes, b->capacity};
	out->string->room = room;
	return true;
}

/* ---- joining two ---- */

/* Behind `a` in place, when a ends where its room is free: x = x + y in a loop then takes linear time. */
static bool append_in_place(struct render *r, const struct string *a, const struct string *b, struct value *out)
{
	struct string_room *room = a->room;
	bool mixed = a->marks || b->marks || a->from_data != b->from_data;
	if (!room || room->bytes != a->bytes || room->used != a->n_bytes || room->capacity - room->used < b->n_bytes ||
	    (mixed && !room->marks))
		return false;
	if (!render_step(r, b->n_bytes / 64) || !value_text(r, a->bytes, a->n_bytes + b->n_bytes, a->from_data, out))
		return false;
	memcpy(room->bytes + room->used, b->bytes, b->n_bytes);
	if (room->marks && b->marks)
		memcpy(room->marks + room->used, b->marks, b->n_bytes);
	else if (room->marks)
		memset(room->marks + room->used, b->from_data, b->n_bytes);
	room->used += b->n_bytes;
	out->string->marks = room->marks;
	out->string->room = room;
	return true;
}

bool string_concat(struct render *r, struct string *a, const struct string *b, struct value *out)
{
	struct builder joined = {.r = r};
	*out = (struct value){.kind = VALUE_STRING, .string = a};
	if (b->n_bytes == 0)
		return true;
	if (append_in_place(r, a, b, out))
		return true;
	if (r->error->code)
		return false;
	/* Twice the room, once it is more than a short string that is joined once. */
	if (a->n_bytes > 256) {
		joined.capacity = 2 * (a->n_bytes + b->n_bytes);
		joined.bytes = render_alloc(r, joined.capacity);
		if (!joined.bytes)
			return false;
	}
	builder_add_string(&joined, a, 0, a->n_bytes);
	builder_add_string(&joined, b, 0, b->n_bytes);
	return builder_finish(&joined, out);
}
