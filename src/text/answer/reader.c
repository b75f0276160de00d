/* The reader of answers (include/text/answer.h): a state per place in an answer, one byte at a time, so that nothing depends
 * on how it is cut.
 *
 *     START --tag--> REASONING --tag--> START ----> CONTENT --trigger--> HEAD ----> CALL ----> AFTER --> HEAD, CONTENT
 *
 * A trigger is the first word of a row. In HEAD every row that begins so reads on its own, until one of them has a name and
 * arguments: that is the call. Where all fail, what was read is content.
 */
#include "text/answer.h"

#include <stdlib.h>
#include <string.h>

#include "text/answer/call.h"

enum { MAX_ROWS = 32, MAX_CANDIDATES = 8, MAX_HELD_LINE_ENDS = 16, MAX_START_BYTES = 64 };

enum place { START, REASONING, CONTENT, HEAD, CALL, AFTER };

struct kept_part {
	enum answer_part_kind kind;
	int call;
	size_t start, n_bytes; /* of the texts */
};

struct answer_reader {
	struct answer_reading how;
	const struct tool_format *rows[MAX_ROWS];
	int n_rows;

	enum place place;
	bool after_reasoning; /* START: the tag was there already */
	bool skip_line_ends;  /* of reasoning or content that is about to begin */
	struct bytes held;    /* text that may begin a tag, line ends before it included */
	struct bytes raw;     /* HEAD, CALL: all of the call; AFTER: what came since */
	struct bytes scratch; /* a byte's arguments */
	struct call_machine candidates[MAX_CANDIDATES];
	int n_candidates;
	int n_calls, n_good; /* all that began; without broken ones */
	bool left_out;       /* the call that is being read is none of the answer's */

	struct bytes texts, parts; /* struct kept_part[]; since the last push */
	size_t next_part;
	bool failed;
};

/* ---- parts ---- */

/* Neighbours of one kind become one. */
static void add_part(struct answer_reader *reader, enum answer_part_kind kind, const char *text, size_t n_bytes)
{
	bool is_call = kind != ANSWER_CONTENT && kind != ANSWER_REASONING;
	bool joins = !is_call || kind == ANSWER_CALL_ARGUMENTS;
	struct kept_part part = {.kind = kind, .call = is_call ? reader->n_calls : 0, .start = reader->texts.n_bytes};
	if (joins && n_bytes == 0)
		return;
	part.n_bytes = n_bytes;
	bytes_append(&reader->texts, text, n_bytes);
	struct kept_part *last =
	    reader->parts.n_bytes ? (struct kept_part *)(void *)(reader->parts.data + reader->parts.n_bytes) - 1 : NULL;
	if (joins && last && last->kind == kind)
		last->n_bytes += n_bytes;
	else
		bytes_append(&reader->parts, &part, sizeof part);
	reader->failed |= reader->texts.failed || reader->parts.failed;
}

bool answer_reader_next(struct answer_reader *reader, struct answer_part *part)
{
	struct kept_part kept;
	if (reader->failed || (reader->next_part + 1) * sizeof kept > reader->parts.n_bytes)
		return false;
	memcpy(&kept, reader->parts.data + reader->next_part++ * sizeof kept, sizeof kept);
	*part = (struct answer_part){.kind = kept.kind,
	                             .text = kept.n_bytes ? reader->texts.data + kept.start : "",
	                             .n_bytes = kept.n_bytes,
	                             .call = kept.call};
	return true;
}

static void forget_parts(struct answer_reader *reader)
{
	bytes_clear(&reader->texts);
	bytes_clear(&reader->parts);
	reader->next_part = 0;
}

/* Of a call that has begun the text is in its arguments, though kept for the case that it breaks off. */
size_t answer_reader_waiting(const struct answer_reader *reader)
{
	return reader->held.n_bytes + (reader->place == CALL ? 0 : reader->raw.n_bytes);
}

int answer_reader_calls(const struct answer_reader *reader)
{
	return reader->n_good;
}

bool answer_reader_failed(const struct answer_reader *reader)
{
	return reader->failed;
}

/* ---- tags ---- */

static const char *trigger_of(const struct tool_format *row)
{
	return row->open[0] ? row->open[0] : row->call_open[0];
}

static bool ends_with(const struct bytes *text, const char *word)
{
	size_t n = strlen(word);
	return text->n_bytes >= n && memcmp(text->data + text->n_bytes - n, word, n) == 0;
}

/* Bytes at the end of a text that begin the word without being it. */
static size_t tail_of(const struct bytes *text, const char *word)
{
	size_t n = strlen(word) - 1;
	n = n < text->n_bytes ? n : text->n_bytes;
	while (n > 0 && memcmp(text->data + text->n_bytes - n, word, n) != 0)
		n--;
	return n;
}

static size_t longest_tail(const struct answer_reader *reader)
{
	size_t longest = 0;
	if (reader->place == REASONING)
		return tail_of(&reader->held, reader->how.reasoning->close);
	for (int i = 0; i < reader->n_rows; i++) {
		const char *trigger = trigger_of(reader->rows[i]);
		size_t n = trigger ? tail_of(&reader->held, trigger) : 0;
		longest = n > longest ? n : longest;
	}
	return longest;
}

/* How many line ends stand before `end` in what is held, as far as they are held. */
static size_t line_ends_before(const struct answer_reader *reader, size_t end)
{
	size_t n = 0;
	while (n < end && n < MAX_HELD_LINE_ENDS && reader->held.data[end - 1 - n] == '\n')
		n++;
	return n;
}

static void drop_held(struct answer_reader *reader, size_t n_bytes)
{
	struct bytes *held = &reader->held;
	memmove(held->data, held->data + n_bytes, held->n_bytes - n_bytes);
	held->n_bytes -= n_bytes;
}

/* Gives what no tag can begin in, but for line ends that may turn out to be layout. */
static void give_safe(struct answer_reader *reader)
{
	size_t end = reader->held.n_bytes - longest_tail(reader);
	end -= line_ends_before(reader, end);
	add_part(reader, reader->place == REASONING ? ANSWER_REASONING : ANSWER_CONTENT, reader->held.data, end);
	drop_held(reader, end);
}

static void push_byte(struct answer_reader *reader, char byte);

static void push_again(struct answer_reader *reader, const char *text, size_t n_bytes)
{
	for (size_t i = 0; i < n_bytes; i++)
		push_byte(reader, text[i]);
}

/* ---- start ---- */

/* The answer begins with `{` or, as far as it was read, with nothing: rows without a mark of their own. */
static void begin_bare(struct answer_reader *reader)
{
	reader->n_candidates = 0;
	for (int i = 0; i < reader->n_rows && reader->n_candidates < MAX_CANDIDATES; i++)
		if (!trigger_of(reader->rows[i]))
			call_machine_start(&reader->candidates[reader->n_candidates++], reader->rows[i], reader->how.offered,
			                   CALL_FROM_OPEN);
}

static void push_head(struct answer_reader *reader, char byte);

/* White space, then perhaps the tag of reasoning or a call without a tag. */
static void push_start(struct answer_reader *reader, char byte)
{
	const char *open = reader->how.reasoning && !reader->after_reasoning ? reader->how.reasoning->open : NULL;
	if (reader->skip_line_ends && reader->held.n_bytes == 0 && byte == '\n')
		return;
	bytes_append(&reader->held, &byte, 1);
	size_t n_space = 0;
	while (n_space < reader->held.n_bytes && json_is_space(reader->held.data[n_space]))
		n_space++;
	size_t n = reader->held.n_bytes - n_space;
	if (open && n == strlen(open) && memcmp(reader->held.data + n_space, open, n) == 0) {
		bytes_clear(&reader->held);
		reader->place = REASONING;
		reader->skip_line_ends = true;
		return;
	}
	if (reader->held.n_bytes < MAX_START_BYTES &&
	    (n == 0 || (open && n < strlen(open) && memcmp(reader->held.data + n_space, open, n) == 0)))
		return;
	struct bytes text = reader->held;
	reader->held = (struct bytes){0};
	reader->place = reader->how.in_reasoning && !reader->after_reasoning ? REASONING : CONTENT;
	if (reader->place == CONTENT && text.data[n_space] == '{' && n == 1)
		begin_bare(reader);
	if (reader->place == CONTENT && reader->n_candidates > 0) {
		bytes_append(&reader->raw, text.data, n_space);
		reader->place = HEAD;
		reader->skip_line_ends = false;
		push_head(reader, '{');
	} else {
		reader->skip_line_ends = reader->skip_line_ends || reader->place == REASONING;
		push_again(reader, text.data, text.n_bytes);
	}
	bytes_free(&text);
}

/* ---- reasoning and content ---- */

static void push_reasoning(struct answer_reader *reader, char byte)
{
	const char *close = reader->how.reasoning->close;
	if (reader->skip_line_ends && byte == '\n')
		return;
	reader->skip_line_ends = false;
	bytes_append(&reader->held, &byte, 1);
	if (!ends_with(&reader->held, close)) {
		give_safe(reader);
		return;
	}
	size_t end = reader->held.n_bytes - strlen(close);
	add_part(reader, ANSWER_REASONING, reader->held.data, end - line_ends_before(reader, end));
	bytes_clear(&reader->held);
	reader->place = START;
	reader->after_reasoning = reader->skip_line_ends = true;
}

/* The trigger is complete at the end of what is held: every row that begins so is a candidate. */
static void begin_head(struct answer_reader *reader, const char *trigger)
{
	size_t end = reader->held.n_bytes - strlen(trigger), n_line_ends = line_ends_before(reader, end);
	add_part(reader, ANSWER_CONTENT, reader->held.data, end - n_line_ends);
	bytes_clear(&reader->raw);
	bytes_append(&reader->raw, reader->held.data + end - n_line_ends, n_line_ends);
	bytes_clear(&reader->held);
	reader->n_candidates = 0;
	for (int i = 0; i < reader->n_rows && reader->n_candidates < MAX_CANDIDATES; i++)
		if (trigger_of(reader->rows[i]) && strcmp(trigger_of(reader->rows[i]), trigger) == 0)
			call_machine_start(&reader->candidates[reader->n_candidates++], reader->rows[i], reader->how.offered,
			                   CALL_FROM_OPEN);
	reader->place = HEAD;
	for (const char *at = trigger; *at; at++)
		push_head(reader, *at);
}

static void push_content(struct answer_reader *reader, char byte)
{
	if (reader->skip_line_ends && byte == '\n')
		return;
	reader->skip_line_ends = false;
	if (reader->n_rows == 0) {
		add_part(reader, ANSWER_CONTENT, &byte, 1);
		return;
	}
	bytes_append(&reader->held, &byte, 1);
	for (int i = 0; i < reader->n_rows; i++) {
		const char *trigger = trigger_of(reader->rows[i]);
		if (trigger && ends_with(&reader->held, trigger)) {
			begin_head(reader, trigger);
			return;
		}
	}
	give_safe(reader);
}

/* ---- calls ---- */

/* What seemed to be a call is content; the byte that does not belong to it is read anew. */
static void fail_head(struct answer_reader *reader, char byte)
{
	add_part(reader, ANSWER_CONTENT, reader->raw.data, reader->raw.n_bytes - 1);
	bytes_clear(&reader->raw);
	reader->place = CONTENT;
	push_byte(reader, byte);
}

static void end_call(struct answer_reader *reader)
{
	if (!reader->left_out) {
		add_part(reader, ANSWER_CALL_ENDED, "", 0);
		reader->n_calls++;
		reader->n_good++;
	}
	bytes_clear(&reader->raw);
	reader->place = AFTER;
}

/* One of the candidates is the call; its arguments so far are in the scratch. */
static void begin_call(struct answer_reader *reader, const struct call_machine *winner, bool ended)
{
	reader->left_out = reader->n_calls == ANSWER_MAX_CALLS || (reader->how.single_call && reader->n_good > 0);
	if (!reader->left_out) {
		add_part(reader, ANSWER_CALL_BEGUN, winner->name, winner->n_name);
		add_part(reader, ANSWER_CALL_ARGUMENTS, reader->scratch.data, reader->scratch.n_bytes);
	}
	memmove(&reader->candidates[0], winner, sizeof *winner);
	reader->n_candidates = 1;
	reader->place = CALL;
	if (ended)
		end_call(reader);
}

static void begin_plain(struct answer_reader *reader, char byte)
{
	bytes_clear(&reader->raw);
	reader->place = CONTENT;
	reader->skip_line_ends = true;
	push_byte(reader, byte);
}

static void push_head(struct answer_reader *reader, char byte)
{
	int n_left = 0;
	bytes_append(&reader->raw, &byte, 1);
	bool full = reader->raw.n_bytes > ANSWER_MAX_CALL_BYTES;
	for (int i = 0; i < reader->n_candidates && !full && !reader->raw.failed; i++) {
		struct call_machine *candidate = &reader->candidates[i];
		bytes_clear(&reader->scratch);
		unsigned did = call_machine_push(candidate, &reader->raw, &reader->scratch);
		reader->failed |= reader->scratch.failed;
		if (reader->failed)
			return;
		if (did & CALL_DEAD)
			continue;
		if (did & CALL_CONTENT) {
			begin_plain(reader, byte);
			return;
		}
		if (did & CALL_BEGUN) {
			begin_call(reader, candidate, did & CALL_ENDED);
			return;
		}
		if (n_left < i)
			reader->candidates[n_left] = *candidate;
		n_left++;
	}
	reader->n_candidates = n_left;
	reader->failed |= reader->raw.failed;
	if (n_left == 0 && !reader->failed)
		fail_head(reader, byte);
}

static void break_call(struct answer_reader *reader, size_t n_bytes)
{
	if (!reader->left_out) {
		add_part(reader, ANSWER_CALL_BROKEN, reader->raw.data, n_bytes);
		reader->n_calls++;
	}
	bytes_clear(&reader->raw);
	reader->place = CONTENT;
}

static void push_call(struct answer_reader *reader, char byte)
{
	bytes_append(&reader->raw, &byte, 1);
	bytes_clear(&reader->scratch);
	unsigned did = CALL_DEAD;
	if (reader->raw.n_bytes <= ANSWER_MAX_CALL_BYTES && !reader->raw.failed)
		did = call_machine_push(&reader->candidates[0], &reader->raw, &reader->scratch);
	reader->failed |= reader->raw.failed || reader->scratch.failed;
	if (reader->failed)
		return;
	if (did & CALL_DEAD) {
		break_call(reader, reader->raw.n_bytes - 1);
		push_byte(reader, byte);
		return;
	}
	if (!reader->left_out)
		add_part(reader, ANSWER_CALL_ARGUMENTS, reader->scratch.data, reader->scratch.n_bytes);
	if (did & CALL_ENDED)
		end_call(reader);
}

/* ---- after a call ---- */

enum match { NO_MATCH, BEGINS, IS };

static enum match match_word(const struct bytes *text, size_t start, const char *word)
{
	size_t n = text->n_bytes - start, n_word = strlen(word);
	if (n > n_word || memcmp(text->data + start, word, n) != 0)
		return NO_MATCH;
	return n == n_word ? IS : BEGINS;
}

static enum match match_words(const struct bytes *text, size_t start, const char *const *words)
{
	enum match best = NO_MATCH;
	for (int i = 0; i < TOOL_FORMAT_WORDS && words[i]; i++) {
		enum match match = match_word(text, start, words[i]);
		best = match > best ? match : best;
	}
	return best;
}

static enum match match_close(const struct bytes *text, size_t start, const struct tool_format *row)
{
	enum match after = match_words(text, start, row->call_close), last = match_words(text, start, row->close);
	return after > last ? after : last;
}

/* The next call of the same row begins with this word; its bytes are in `raw`. */
static enum match match_next(struct answer_reader *reader, const struct tool_format *row, size_t start)
{
	enum match match = match_words(&reader->raw, start, row->separator);
	if (match == IS) {
		call_machine_start(&reader->candidates[0], row, reader->how.offered, CALL_FROM_CALL_OPEN);
		reader->n_candidates = 1;
		reader->place = HEAD;
		return IS;
	}
	const char *word = trigger_of(row) ? row->call_open[0] : "{";
	enum match again = word && reader->place == AFTER ? match_word(&reader->raw, start, word) : NO_MATCH;
	if (again == IS) {
		struct bytes text = reader->raw;
		reader->raw = (struct bytes){0};
		call_machine_start(&reader->candidates[0], row, reader->how.offered, CALL_FROM_CALL_OPEN);
		reader->n_candidates = 1;
		reader->place = HEAD;
		bytes_append(&reader->raw, text.data, start);
		for (size_t i = start; i < text.n_bytes; i++)
			push_head(reader, text.data[i]);
		bytes_free(&text);
	}
	return again > match ? again : match;
}

/* White space and what closes a call are nothing; then another call, or content. */
static void push_after(struct answer_reader *reader, char byte)
{
	const struct tool_format *row = reader->candidates[0].format;
	size_t start = 0;
	bytes_append(&reader->raw, &byte, 1);
	reader->failed |= reader->raw.failed;
	while (start < reader->raw.n_bytes && json_is_space(reader->raw.data[start]))
		start++;
	if (reader->failed || (start == reader->raw.n_bytes && start < MAX_START_BYTES))
		return;
	enum match close = start < reader->raw.n_bytes ? match_close(&reader->raw, start, row) : NO_MATCH;
	if (close == IS) {
		bytes_clear(&reader->raw);
		return;
	}
	enum match next = start < reader->raw.n_bytes ? match_next(reader, row, start) : NO_MATCH;
	if (next == IS || next == BEGINS || close == BEGINS)
		return;
	struct bytes text = reader->raw;
	reader->raw = (struct bytes){0};
	reader->place = CONTENT;
	reader->skip_line_ends = false;
	push_again(reader, text.data, text.n_bytes);
	bytes_free(&text);
}

static void push_byte(struct answer_reader *reader, char byte)
{
	switch (reader->place) {
	case START:
		push_start(reader, byte);
		break;
	case REASONING:
		push_reasoning(reader, byte);
		break;
	case CONTENT:
		push_content(reader, byte);
		break;
	case HEAD:
		push_head(reader, byte);
		break;
	case CALL:
		push_call(reader, byte);
		break;
	case AFTER:
		push_after(reader, byte);
		break;
	}
	reader->failed |= reader->held.failed;
}

void answer_reader_push(struct answer_reader *reader, const char *text, size_t n_bytes)
{
	forget_parts(reader);
	for (size_t i = 0; i < n_bytes && !reader->failed; i++)
		push_byte(reader, text[i]);
}

/* ---- the ends ---- */

/* What is left after the last call: closing words cut short are layout, too. */
static void finish_after(struct answer_reader *reader)
{
	size_t start = 0;
	while (start < reader->raw.n_bytes && json_is_space(reader->raw.data[start]))
		start++;
	if (start < reader->raw.n_bytes && match_close(&reader->raw, start, reader->candidates[0].format) == NO_MATCH)
		add_part(reader, ANSWER_CONTENT, reader->raw.data, reader->raw.n_bytes);
}

void answer_reader_finish(struct answer_reader *reader)
{
	struct bytes *held = &reader->held;
	forget_parts(reader);
	if (reader->failed)
		return;
	if (reader->place == START && reader->how.in_reasoning && !reader->after_reasoning)
		reader->place = REASONING;
	switch (reader->place) {
	case REASONING:
		add_part(reader, ANSWER_REASONING, held->data, held->n_bytes - line_ends_before(reader, held->n_bytes));
		break;
	case START:
	case CONTENT:
		add_part(reader, ANSWER_CONTENT, held->data, held->n_bytes);
		break;
	case HEAD:
		add_part(reader, ANSWER_CONTENT, reader->raw.data, reader->raw.n_bytes);
		break;
	case CALL:
		break_call(reader, reader->raw.n_bytes);
		break;
	case AFTER:
		finish_after(reader);
		break;
	}
	bytes_clear(held);
	bytes_clear(&reader->raw);
	reader->place = CONTENT;
}

/* ---- life ---- */

static void choose_rows(struct answer_reader *reader)
{
	size_t n_formats;
	const struct tool_format *formats = tool_formats(&n_formats);
	for (size_t i = 0; i < n_formats && reader->n_rows < MAX_ROWS; i++)
		if (answer_row_counts(&reader->how, &formats[i]))
			reader->rows[reader->n_rows++] = &formats[i];
}

/* Behind what opens a call: only its rows, and nothing to be given back should it be none. */
static void begin_in_call(struct answer_reader *reader)
{
	for (int i = 0; i < reader->n_rows && reader->n_candidates < MAX_CANDIDATES; i++)
		if (!reader->rows[i]->open[0] && reader->rows[i]->call_open[0])
			call_machine_start(&reader->candidates[reader->n_candidates++], reader->rows[i], reader->how.offered,
			                   CALL_FROM_CALL);
	if (reader->n_candidates > 0)
		reader->place = HEAD;
}

struct answer_reader *answer_reader_create(const struct answer_reading *reading, struct error *error)
{
	struct answer_reader *reader = calloc(1, sizeof *reader);
	if (!reader) {
		error_set(error, ERROR_MEMORY, "no memory to read an answer");
		return NULL;
	}
	reader->how = *reading;
	reader->how.in_reasoning = reading->in_reasoning && reading->reasoning;
	choose_rows(reader);
	if (reading->in_call)
		begin_in_call(reader);
	return reader;
}

void answer_reader_destroy(struct answer_reader *reader)
{
	if (!reader)
		return;
	bytes_free(&reader->held);
	bytes_free(&reader->raw);
	bytes_free(&reader->scratch);
	bytes_free(&reader->texts);
	bytes_free(&reader->parts);
	free(reader);
}
