/* A model's answer, read in every form: three bytes say which and where it is cut, the rest is the text. However it is cut, the
 * same parts come out, and the arguments of a whole call are one JSON object. */
#include <string.h>

#include "base/json.h"
#include "fuzz.h"
#include "text/answer.h"
#include "text/unicode.h"

static const char tools_text[] = "[{\"name\":\"f\",\"parameters\":{\"properties\":{\"s\":{\"type\":\"string\"},\"n\":{"
                                 "\"type\":\"integer\"},\"x\":{}}}},"
                                 "{\"name\":\"get_weather\"},{\"name\":\"now\"}]";

/* Each part's kind before its text, where the kind before it was another. */
struct notes {
	struct bytes text, arguments;
	char last;
	bool in_call;
};

static void check_arguments(const struct bytes *arguments, bool is_text)
{
	struct error error;
	struct json_limits limits = {.max_depth = 100, .allow_duplicates = true};
	/* Half a surrogate pair is grammatical. */
	if (!is_text || memmem(arguments->data, arguments->n_bytes, "\\ud", 3) ||
	    memmem(arguments->data, arguments->n_bytes, "\\uD", 3))
		return;
	struct json *object = json_parse(arguments->data, arguments->n_bytes, &limits, &error);
	REQUIRE(object && json_type(object) == JSON_OBJECT);
	json_destroy(object);
}

static void note(struct notes *notes, const struct answer_part *part, bool is_text)
{
	char kind = "crbaex"[part->kind];
	if (kind != notes->last || kind == 'b')
		bytes_append(&notes->text, &kind, 1);
	bytes_append(&notes->text, part->text, part->n_bytes);
	notes->last = kind;
	REQUIRE(notes->in_call == (kind == 'a' || kind == 'e' || kind == 'x'));
	notes->in_call = kind == 'b' || kind == 'a';
	if (kind == 'b')
		bytes_clear(&notes->arguments);
	if (kind == 'a')
		bytes_append(&notes->arguments, part->text, part->n_bytes);
	if (kind == 'e')
		check_arguments(&notes->arguments, is_text);
}

static void take(struct answer_reader *reader, struct notes *notes, bool is_text)
{
	struct answer_part part;
	while (answer_reader_next(reader, &part))
		note(notes, &part, is_text);
	REQUIRE(!answer_reader_failed(reader));
}

/* In pieces of so many bytes. */
static struct bytes read_in_pieces(const struct answer_reading *reading, const char *text, size_t n_bytes, size_t piece)
{
	struct error error;
	struct notes notes = {0};
	bool is_text = unicode_valid_prefix(text, n_bytes) == n_bytes;
	struct answer_reader *reader = answer_reader_create(reading, &error);
	REQUIRE(reader);
	for (size_t at = 0; at < n_bytes; at += piece) {
		answer_reader_push(reader, text + at, n_bytes - at < piece ? n_bytes - at : piece);
		take(reader, &notes, is_text);
	}
	answer_reader_finish(reader);
	take(reader, &notes, is_text);
	REQUIRE(!notes.in_call && !notes.text.failed);
	answer_reader_destroy(reader);
	bytes_free(&notes.arguments);
	return notes.text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
	struct error error;
	struct arena arena = {0};
	size_t n_formats;
	fuzz_begin();
	if (n_bytes < 3)
		return 0;
	const struct tool_format *formats = tool_formats(&n_formats);
	struct json *tools = json_parse(tools_text, sizeof tools_text - 1, &(struct json_limits){0}, &error);
	REQUIRE(tools);
	struct answer_reading reading = {
	    .reasoning = data[1] & 1 ? NULL : answer_style_detect("", 0).reasoning,
	    .tools = data[0] % (n_formats + 1) < n_formats ? &formats[data[0] % (n_formats + 1)] : NULL,
	    .offered = answer_tools_read(tools, &arena),
	    .in_reasoning = data[1] & 2,
	    .in_call = data[1] & 4,
	    .single_call = data[1] & 8,
	};
	const char *text = (const char *)data + 3;
	n_bytes -= 3;
	struct bytes whole = read_in_pieces(&reading, text, n_bytes, n_bytes + 1);
	struct bytes cut = read_in_pieces(&reading, text, n_bytes, 1 + data[2] % 16);
	REQUIRE(whole.n_bytes == cut.n_bytes && (whole.n_bytes == 0 || memcmp(whole.data, cut.data, cut.n_bytes) == 0));
	if (!reading.reasoning && !reading.tools && n_bytes > 0)
		REQUIRE(whole.n_bytes == n_bytes + 1 && memcmp(whole.data + 1, text, n_bytes) == 0);
	bytes_free(&whole);
	bytes_free(&cut);
	json_destroy(tools);
	arena_free(&arena);
	return 0;
}
