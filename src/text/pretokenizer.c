/* Pre-tokenizers. Each step hands its pieces straight to the next one, the last to the sink: no lists of pieces,
 * whatever the text's length, and as many levels of calls as there are steps.
 */
#include "text/pretokenizer.h"

#include <string.h>

#include "text/bpe_tables.h"
#include "text/unicode.h"

void pretokenizer_free(struct pretokenizer *pretokenizer)
{
	for (int i = 0; i < pretokenizer->n_steps; i++)
		regex_destroy(pretokenizer->steps[i].regex);
	pretokenizer->n_steps = 0;
}

void pretokenizer_scratch_free(struct pretokenizer_scratch *scratch)
{
	for (int i = 0; i < PRETOKENIZER_MAX_STEPS; i++) {
		bytes_free(&scratch->steps[i].text);
		bytes_free(&scratch->steps[i].spelled);
		regex_scratch_destroy(scratch->steps[i].regex);
	}
	memset(scratch, 0, sizeof *scratch);
}

struct regex *pretokenizer_gpt2_regex(struct error *error)
{
	static const char pattern[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
	return regex_compile(pattern, sizeof pattern - 1, error);
}

struct walk {
	const struct pretokenizer *pretokenizer;
	struct pretokenizer_scratch *scratch;
	piece_sink *sink;
	void *context;
	struct error *error;
};

static bool run_step(const struct walk *walk, int index, const struct text_run *run);

/* A part of a run goes on to step `index`. */
static bool pass_on(const struct walk *walk, int index, const struct text_run *run, size_t start, size_t end)
{
	if (start == end)
		return true;
	if (index == walk->pretokenizer->n_steps)
		return walk->sink(walk->context, run->text + start, end - start, walk->error);
	struct text_run part = {
	    .text = run->text + start,
	    .n_bytes = end - start,
	    .origin_bytes = run->origin_bytes > start ? run->origin_bytes - start : 0,
	};
	return run_step(walk, index, &part);
}

/* ---- behaviours: a run is a row of matches and of what lies between them; which of those stay together? ---- */

struct splitter {
	const struct walk *walk;
	int index; /* of the splitting step */
	const struct text_run *run;
	enum split_behavior behavior;
	bool invert;
	bool pending; /* [start, end) may still grow */
	size_t start, end;
	bool last_match;
};

static bool hand_out(struct splitter *splitter, size_t start, size_t end);

static bool flush(struct splitter *splitter)
{
	bool pending = splitter->pending;
	splitter->pending = false;
	return !pending || hand_out(splitter, splitter->start, splitter->end);
}

/* The next stretch, [start, end), a match or not. */
static bool splitter_add(struct splitter *splitter, size_t start, size_t end, bool match)
{
	bool last_match = splitter->last_match, joins = false;
	match = match != splitter->invert;
	splitter->last_match = match;
	switch (splitter->behavior) {
	case SPLIT_REMOVED:
		return match || hand_out(splitter, start, end);
	case SPLIT_ISOLATED:
		return hand_out(splitter, start, end);
	case SPLIT_CONTIGUOUS:
		joins = match == last_match;
		break;
	case SPLIT_MERGED_WITH_PREVIOUS:
		joins = match && !last_match;
		break;
	case SPLIT_MERGED_WITH_NEXT:
		joins = !match && last_match;
		break;
	}
	if (splitter->pending && joins) {
		splitter->end = end;
		return true;
	}
	if (!flush(splitter))
		return false;
	splitter->pending = true;
	splitter->start = start;
	splitter->end = end;
	return true;
}

static struct splitter splitter_of(const struct walk *walk, int index, const struct text_run *run,
                                   enum split_behavior behavior, bool invert)
{
	return (struct splitter){.walk = walk, .index = index, .run = run, .behavior = behavior, .invert = invert};
}

/* ---- what matches: a regular expression, a string, a class of characters ---- */

static bool split_by_regex(struct splitter *splitter, const struct regex *regex)
{
	struct pretokenizer_scratch *all = splitter->walk->scratch;
	struct regex_scratch **scratch = &all->steps[splitter->index].regex;
	const struct text_run *run = splitter->run;
	struct error *error = splitter->walk->error;
	if (!*scratch && !(*scratch = regex_scratch_create(all->clock, error)))
		return false;
	struct regex_matches matches = regex_matches(regex, *scratch, run->text, run->n_bytes);
	size_t last = 0;
	for (bool found = true; found;) {
		size_t start = run->n_bytes, end = 0;
		if (!regex_next(&matches, &found, &start, &end, error) ||
		    (start != last && !splitter_add(splitter, last, start, false)) ||
		    (found && !splitter_add(splitter, start, end, true)))
			return false;
		last = end;
	}
	return flush(splitter);
}

static bool split_by_string(struct splitter *splitter, const char *text, size_t n_text)
{
	const struct text_run *run = splitter->run;
	size_t last = 0;
	for (const char *hit; (hit = memmem(run->text + last, run->n_bytes - last, text, n_text)) != NULL;) {
		size_t start = (size_t)(hit - run->text);
		if ((start != last && !splitter_add(splitter, last, start, false)) ||
		    !splitter_add(splitter, start, start + n_text, true))
			return false;
		last = start + n_text;
	}
	return (last == run->n_bytes || splitter_add(splitter, last, run->n_bytes, false)) && flush(splitter);
}

static bool split_by_class(struct splitter *splitter, bool (*belongs)(uint32_t))
{
	const struct text_run *run = splitter->run;
	size_t last = 0;
	for (size_t at = 0, length; at < run->n_bytes; at += length) {
		if (!belongs(char_decode(run->text + at, &length)))
			continue;
		if ((at != last && !splitter_add(splitter, last, at, false)) || !splitter_add(splitter, at, at + length, true))
			return false;
		last = at + length;
	}
	return (last == run->n_bytes || splitter_add(splitter, last, run->n_bytes, false)) && flush(splitter);
}

/* Runs of word characters and runs of all others but space. */
static bool split_words(const struct walk *walk, int index, const struct text_run *run)
{
	enum { SPACE, WORD, OTHER } last = SPACE;
	size_t start = 0;
	for (size_t at = 0, length; at < run->n_bytes; at += length) {
		uint32_t code = char_decode(run->text + at, &length);
		int class = unicode_is_space(code) ? SPACE : unicode_is_word(code) ? WORD : OTHER;
		if (class == (int)last)
			continue;
		if (last != SPACE && !pass_on(walk, index + 1, run, start, at))
			return false;
		start = at;
		last = class;
	}
	return last == SPACE || pass_on(walk, index + 1, run, start, run->n_bytes);
}

/* ---- steps that change the text ---- */

static bool out_of_memory(const struct walk *walk)
{
	return error_set(walk->error, ERROR_MEMORY, "not enough memory to cut the text into words");
}

static bool metaspace(const struct walk *walk, int index, const struct text_run *run)
{
	const struct pretokenizer_step *step = &walk->pretokenizer->steps[index];
	struct bytes *out = &walk->scratch->steps[index].text;
	bytes_clear(out);
	bool replaced_first = run->text[0] == ' ';
	bool starts = replaced_first || (run->n_bytes >= step->n_text && !memcmp(run->text, step->text, step->n_text));
	bool prepend = step->prepend == METASPACE_ALWAYS || (step->prepend == METASPACE_FIRST && run->origin_bytes > 0);
	if (prepend && !starts)
		bytes_append(out, step->text, step->n_text);
	size_t origin = run->origin_bytes;
	if (!replace_matches(" ", 1, NULL, NULL, step->text, step->n_text, run->text, run->n_bytes, &origin, out,
	                     walk->error))
		return false;
	if (out->failed)
		return out_of_memory(walk);
	struct text_run changed = {.text = out->data, .n_bytes = out->n_bytes, .origin_bytes = origin};
	if (!step->split)
		return pass_on(walk, index + 1, &changed, 0, changed.n_bytes);
	struct splitter splitter = splitter_of(walk, index, &changed, SPLIT_MERGED_WITH_NEXT, false);
	return split_by_string(&splitter, step->text, step->n_text);
}

static bool byte_level(const struct walk *walk, int index, const struct text_run *run)
{
	const struct pretokenizer_step *step = &walk->pretokenizer->steps[index];
	struct text_run prefixed = *run;
	if (step->add_prefix_space && run->text[0] != ' ') {
		struct bytes *out = &walk->scratch->steps[index].text;
		bytes_clear(out);
		bytes_append(out, " ", 1);
		bytes_append(out, run->text, run->n_bytes);
		if (out->failed)
			return out_of_memory(walk);
		prefixed = (struct text_run){
		    .text = out->data, .n_bytes = out->n_bytes, .origin_bytes = run->origin_bytes ? run->origin_bytes + 1 : 0};
	}
	struct splitter splitter = splitter_of(walk, index, &prefixed, SPLIT_ISOLATED, false);
	return step->regex ? split_by_regex(&splitter, step->regex) : hand_out(&splitter, 0, prefixed.n_bytes);
}

/* A byte-level step spells its pieces out, unless the model takes the bytes as they are. */
static bool hand_out(struct splitter *splitter, size_t start, size_t end)
{
	const struct walk *walk = splitter->walk;
	int index = splitter->index;
	const struct text_run *run = splitter->run;
	bool last = index + 1 == walk->pretokenizer->n_steps;
	if (walk->pretokenizer->steps[index].kind != PRETOKENIZER_BYTE_LEVEL || (last && walk->pretokenizer->raw_bytes))
		return pass_on(walk, index + 1, run, start, end);
	struct bytes *spelled = &walk->scratch->steps[index].spelled;
	bytes_clear(spelled);
	byte_level_spell(run->text + start, end - start, spelled);
	if (spelled->failed)
		return out_of_memory(walk);
	struct text_run part = {.text = spelled->data, .n_bytes = spelled->n_bytes};
	for (size_t at = start; at < end && at < run->origin_bytes; at++)
		part.origin_bytes += char_length((unsigned char)spelled->data[part.origin_bytes]);
	return pass_on(walk, index + 1, &part, 0, part.n_bytes);
}

static bool run_step(const struct walk *walk, int index, const struct text_run *run)
{
	const struct pretokenizer_step *step = &walk->pretokenizer->steps[index];
	struct splitter splitter = splitter_of(walk, index, run, step->behavior, step->invert);
	switch (step->kind) {
	case PRETOKENIZER_BYTE_LEVEL:
		return byte_level(walk, index, run);
	case PRETOKENIZER_SPLIT:
		return step->regex ? split_by_regex(&splitter, step->regex)
		                   : split_by_string(&splitter, step->text, step->n_text);
	case PRETOKENIZER_DIGITS:
		return split_by_class(&splitter, unicode_is_number);
	case PRETOKENIZER_METASPACE:
		return metaspace(walk, index, run);
	case PRETOKENIZER_PUNCTUATION:
		return split_by_class(&splitter, unicode_is_punctuation);
	case PRETOKENIZER_WHITESPACE:
		return split_words(walk, index, run);
	case PRETOKENIZER_WHITESPACE_SPLIT:
		return split_by_class(&splitter, unicode_is_space);
	}
	return error_set(walk->error, ERROR_INTERNAL, "no such pre-tokenizer");
}

bool pretokenizer_run(const struct pretokenizer *pretokenizer, struct pretokenizer_scratch *scratch,
                      const struct text_run *run, piece_sink *sink, void *context, struct error *error)
{
	struct walk walk = {
	    .pretokenizer = pretokenizer, .scratch = scratch, .sink = sink, .context = context, .error = error};
	return pass_on(&walk, 0, run, 0, run->n_bytes);
}
