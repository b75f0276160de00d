/* The machine that reads one call (call.h). */
#include "text/answer/call.h"

#include <string.h>

enum stage { OPEN, CALL_OPEN, OBJECT, NAME, NAME_END, ARGUMENTS, PARAMETERS };
enum member { MEMBER_OTHER, MEMBER_NAME, MEMBER_ARGUMENTS };

static bool is_name_byte(char byte)
{
	char lower = (char)(byte | 32);
	return (lower >= 'a' && lower <= 'z') || (byte >= '0' && byte <= '9') || (byte && strchr("_-.:/", byte));
}

/* ---- words ---- */

static bool at_end(const struct word_place *place)
{
	return place->word == TOOL_FORMAT_WORDS || !place->words[place->word];
}

enum word_step word_place_push(struct word_place *place, char byte)
{
	if (strcmp(place->words[place->word], "*") == 0) {
		if (is_name_byte(byte)) {
			place->in_wild = true;
			return WORDS_MORE;
		}
		if (!place->in_wild)
			return WORDS_BAD;
		place->in_wild = false;
		place->word++; /* "*" is never the last */
	}
	const char *word = place->words[place->word];
	if (place->at == 0 && json_is_space(byte))
		return WORDS_MORE;
	if (word[place->at] != byte)
		return WORDS_BAD;
	if (word[++place->at])
		return WORDS_MORE;
	place->word++;
	place->at = 0;
	return at_end(place) ? WORDS_DONE : WORDS_MORE;
}

/* ---- stages ---- */

static int body_stage(const struct tool_format *format)
{
	return format->kind == TOOL_OBJECT ? OBJECT : NAME;
}

static int stage_after_name(const struct tool_format *format)
{
	return format->kind == TOOL_PARAMETERS ? PARAMETERS : ARGUMENTS;
}

/* Enters a stage; one whose words are none is left at once. */
static void enter(struct call_machine *machine, int stage)
{
	const struct tool_format *format = machine->format;
	if (stage == OPEN && !format->open[0])
		stage = CALL_OPEN;
	if (stage == CALL_OPEN && !format->call_open[0])
		stage = body_stage(format);
	if (stage == NAME_END && !format->name_end[0])
		stage = stage_after_name(format);
	machine->stage = stage;
	machine->words = (struct word_place){.words = stage == OPEN        ? format->open
	                                              : stage == CALL_OPEN ? format->call_open
	                                                                   : format->name_end};
}

void call_machine_start(struct call_machine *machine, const struct tool_format *format,
                        const struct answer_tools *offered, enum call_start start)
{
	*machine = (struct call_machine){.format = format, .offered = offered};
	enter(machine, start == CALL_FROM_OPEN ? OPEN : start == CALL_FROM_CALL_OPEN ? CALL_OPEN : body_stage(format));
}

static bool may_be_called(const struct call_machine *machine)
{
	return !machine->format->known_names || answer_tools_have(machine->offered, machine->name, machine->n_name);
}

unsigned call_begin(struct call_machine *machine)
{
	if (!may_be_called(machine))
		return CALL_DEAD;
	machine->begun = true;
	return CALL_BEGUN;
}

static bool add_byte(char *text, size_t *n_bytes, size_t capacity, char byte)
{
	if (*n_bytes >= capacity)
		return false;
	text[(*n_bytes)++] = byte;
	return true;
}

/* ---- TOOL_OBJECT ---- */

static bool key_is(const struct call_machine *machine, const char *name)
{
	return strlen(name) == machine->n_key && memcmp(machine->key, name, machine->n_key) == 0;
}

/* Models mix up the two names of arguments. */
static enum member member_of(const struct call_machine *machine)
{
	const struct tool_format *format = machine->format;
	if (key_is(machine, format->name_key))
		return MEMBER_NAME;
	bool arguments =
	    key_is(machine, format->arguments_key) || key_is(machine, "arguments") || key_is(machine, "parameters");
	return arguments ? MEMBER_ARGUMENTS : MEMBER_OTHER;
}

/* Where the name alone makes it a call, the name stands first, or text that is none would wait for its end. */
static unsigned push_key(struct call_machine *machine, char byte)
{
	if (!json_bytes_in_key(&machine->json)) {
		machine->member = member_of(machine);
		bool waits = machine->member != MEMBER_NAME && !key_is(machine, "type") && !key_is(machine, "id");
		return machine->format->known_names && !machine->has_name && waits ? CALL_DEAD : 0;
	}
	if (!add_byte(machine->key, &machine->n_key, sizeof machine->key, byte))
		machine->n_key = sizeof machine->key + 1; /* too long to be one that counts */
	return 0;
}

/* The first byte of a member's value. */
static unsigned begin_value(struct call_machine *machine, char byte, size_t at, struct bytes *out)
{
	if (machine->member == MEMBER_NAME)
		return byte == '"' && !machine->has_name ? 0 : CALL_DEAD;
	if (machine->member != MEMBER_ARGUMENTS)
		return 0;
	if (byte == 'n') { /* null: none */
		machine->member = MEMBER_OTHER;
		return 0;
	}
	if ((byte != '{' && byte != '"') || machine->has_arguments)
		return CALL_DEAD;
	machine->value_start = at;
	if (!machine->has_name)
		return 0;
	return call_begin(machine) | (arguments_push(&machine->value, byte, out) == JSON_BAD ? CALL_DEAD : 0);
}

/* The name came after its arguments, which wait in the raw text. */
static unsigned begin_with_past(struct call_machine *machine, const struct bytes *raw, struct bytes *out)
{
	enum json_step step = JSON_MORE;
	for (size_t i = machine->value_start; i < machine->value_end && step == JSON_MORE; i++)
		step = arguments_push(&machine->value, raw->data[i], out);
	return step == JSON_DONE ? call_begin(machine) : CALL_DEAD;
}

static unsigned in_name(struct call_machine *machine, char byte, const struct bytes *raw, struct bytes *out)
{
	if (!json_bytes_after_value(&machine->json))
		return byte != '\\' && add_byte(machine->name, &machine->n_name, sizeof machine->name, byte) ? 0 : CALL_DEAD;
	machine->has_name = true;
	machine->member = MEMBER_OTHER;
	if (machine->n_name == 0 || !may_be_called(machine))
		return CALL_DEAD;
	return machine->has_arguments ? begin_with_past(machine, raw, out) : 0;
}

static unsigned in_arguments(struct call_machine *machine, char byte, size_t end, struct bytes *out)
{
	bool ended = machine->json.depth == 1 && json_bytes_after_value(&machine->json);
	if (machine->begun) {
		enum json_step step = arguments_push(&machine->value, byte, out);
		if (step == JSON_BAD || (step == JSON_DONE) != ended)
			return CALL_DEAD;
	}
	if (ended) {
		machine->value_end = end;
		machine->has_arguments = true;
		machine->member = MEMBER_OTHER;
	}
	return 0;
}

static unsigned end_object(struct call_machine *machine, struct bytes *out)
{
	if (machine->begun)
		return CALL_ENDED;
	if (!machine->has_name)
		return CALL_DEAD;
	bytes_append_text(out, "{}");
	return call_begin(machine) | CALL_ENDED;
}

static unsigned push_object(struct call_machine *machine, const struct bytes *raw, struct bytes *out)
{
	struct json_bytes *json = &machine->json;
	size_t at = raw->n_bytes - 1;
	char byte = raw->data[at];
	bool top = json->depth == 1;
	bool in_key = top && json_bytes_in_key(json);
	bool in_text = top && !in_key && (json_bytes_in_string(json) || json_bytes_in_escape(json));
	bool begins = top && json_bytes_awaits_value(json) && !json_is_space(byte);
	bool inside = (json->depth > 1 || in_text) && machine->member == MEMBER_ARGUMENTS;
	if (json->depth == 0 && byte != '{' && !json_is_space(byte))
		return CALL_DEAD;
	enum json_step step = json_bytes_push(json, byte);
	if (step == JSON_BAD)
		return CALL_DEAD;
	if (step == JSON_DONE)
		return end_object(machine, out);
	if (in_key)
		return push_key(machine, byte);
	if (json->depth == 1 && json_bytes_in_key(json))
		machine->n_key = 0;
	if (begins)
		return begin_value(machine, byte, at, out);
	if (inside)
		return in_arguments(machine, byte, at + 1, out);
	return in_text && machine->member == MEMBER_NAME ? in_name(machine, byte, raw, out) : 0;
}

/* ---- the others ---- */

static unsigned push_arguments(struct call_machine *machine, char byte, struct bytes *out)
{
	unsigned did = 0;
	if (!machine->begun) {
		if (json_is_space(byte))
			return 0;
		if (byte != '{')
			return CALL_DEAD;
		did = call_begin(machine);
	}
	enum json_step step = arguments_push(&machine->value, byte, out);
	return did | (step == JSON_BAD ? CALL_DEAD : step == JSON_DONE ? CALL_ENDED : 0);
}

/* Leaves of an id the name alone. */
static void take_name_of_id(struct call_machine *machine, const char *prefix)
{
	size_t n_prefix = strlen(prefix), end = machine->n_name;
	while (end > 0 && machine->name[end - 1] >= '0' && machine->name[end - 1] <= '9')
		end--;
	if (end > 0 && end < machine->n_name && machine->name[end - 1] == ':')
		machine->n_name = end - 1;
	if (machine->n_name >= n_prefix && memcmp(machine->name, prefix, n_prefix) == 0) {
		machine->n_name -= n_prefix;
		memmove(machine->name, machine->name + n_prefix, machine->n_name);
	}
}

static unsigned push_name(struct call_machine *machine, const struct bytes *raw, struct bytes *out)
{
	const char *content = machine->format->content_name;
	char byte = raw->data[raw->n_bytes - 1];
	if (is_name_byte(byte))
		return add_byte(machine->name, &machine->n_name, sizeof machine->name, byte) ? 0 : CALL_DEAD;
	if (machine->n_name == 0)
		return json_is_space(byte) ? 0 : CALL_DEAD;
	if (content && strlen(content) == machine->n_name && memcmp(content, machine->name, machine->n_name) == 0)
		return CALL_CONTENT;
	if (machine->format->id_prefix)
		take_name_of_id(machine, machine->format->id_prefix);
	if (machine->n_name == 0)
		return CALL_DEAD;
	machine->has_name = true;
	enter(machine, NAME_END);
	return call_machine_push(machine, raw, out);
}

unsigned call_machine_push(struct call_machine *machine, const struct bytes *raw, struct bytes *out)
{
	char byte = raw->data[raw->n_bytes - 1];
	enum word_step step;
	switch (machine->stage) {
	case OBJECT:
		return push_object(machine, raw, out);
	case NAME:
		return push_name(machine, raw, out);
	case ARGUMENTS:
		return push_arguments(machine, byte, out);
	case PARAMETERS:
		return parameters_push(machine, raw, out);
	default:
		step = word_place_push(&machine->words, byte);
		break;
	}
	if (step != WORDS_DONE)
		return step == WORDS_BAD ? CALL_DEAD : 0;
	if (machine->stage == NAME_END)
		machine->stage = stage_after_name(machine->format);
	else
		enter(machine, machine->stage + 1 == OBJECT ? body_stage(machine->format) : CALL_OPEN);
	return 0;
}
