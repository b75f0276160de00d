#include "server/dialects/sampling_fields.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "server/dialects/logit_bias.h"
#include "text/tokenizer.h"

enum { MAX_BREAKERS = 16, BREAKER_MAX_BYTES = 64 };

static const char *const names[] = {
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "top_n_sigma",
    "dynatemp_range",
    "dynatemp_exponent",
    "xtc_probability",
    "xtc_threshold",
    "mirostat",
    "mirostat_tau",
    "mirostat_eta",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "repeat_last_n",
    "dry_multiplier",
    "dry_base",
    "dry_allowed_length",
    "dry_penalty_last_n",
    "dry_sequence_breakers",
    "min_tokens",
    "logit_bias",
    "samplers",
    "stop_token_ids",
    "bad_words",
};

const struct field_names sampling_field_names = {names, sizeof names / sizeof *names};

static void read_number(struct field_checker *check, const char *name, double min, double max, double *out)
{
	field_number(check, name, &(struct field_range){.min = min, .max = max}, out);
}

static void read_above(struct field_checker *check, const char *name, double min, double max, double *out)
{
	field_number(check, name, &(struct field_range){.min = min, .max = max, .above_min = true}, out);
}

static void read_filters(struct field_checker *check, const struct sampling_rules *rules, struct sampling *sampling)
{
	read_number(check, "temperature", 0, 2, &sampling->temperature);
	read_number(check, "top_p", 0, 1, &sampling->top_p);
	if (rules->clips) {
		field_integer(check, "top_k", -1, INT64_MAX, &sampling->top_k);
		sampling->top_k = sampling->top_k < 0 ? 0 : sampling->top_k;
		sampling->top_k = sampling->top_k > rules->vocab_size ? rules->vocab_size : sampling->top_k;
	} else {
		field_integer(check, "top_k", 0, rules->vocab_size, &sampling->top_k);
	}
	read_number(check, "min_p", 0, 1, &sampling->min_p);
	read_above(check, "typical_p", 0, 1, &sampling->typical_p);
	read_number(check, "top_n_sigma", 0, 100, &sampling->top_n_sigma);
	read_number(check, "dynatemp_range", 0, 2, &sampling->dynamic_range);
	read_number(check, "dynatemp_exponent", 0, 10, &sampling->dynamic_exponent);
	read_number(check, "xtc_probability", 0, 1, &sampling->xtc_probability);
	read_number(check, "xtc_threshold", 0, 1, &sampling->xtc_threshold);
}

/* The first mirostat is not there: the second does the same with less. */
static void read_mirostat(struct field_checker *check, struct sampling *sampling)
{
	int64_t version = 0;
	double tau = 5, eta = 0.1;
	if (field_integer(check, "mirostat", 0, 2, &version) && version == 1)
		field_error(check, "mirostat", "values(0, 2)", field_get(check, "mirostat"),
		            "mirostat must be 0 (off) or 2 (got 1)");
	read_above(check, "mirostat_tau", 0, 100, &tau);
	read_number(check, "mirostat_eta", 0, 1, &eta);
	if (version != 2)
		return;
	sampling->mirostat_tau = tau;
	sampling->mirostat_eta = eta;
}

/* A window of -1 is all there is, one of 0 nothing: then penalties have nothing to look at. */
static void read_penalties(struct field_checker *check, struct sampling *sampling)
{
	int64_t window = -1;
	read_above(check, "repetition_penalty", 0, 2, &sampling->repetition_penalty);
	read_number(check, "presence_penalty", -2, 2, &sampling->presence_penalty);
	read_number(check, "frequency_penalty", -2, 2, &sampling->frequency_penalty);
	field_integer(check, "repeat_last_n", -1, INT64_MAX, &window);
	sampling->repeat_last_n = window < 0 ? 0 : window;
	if (window != 0)
		return;
	sampling->repetition_penalty = 1;
	sampling->presence_penalty = sampling->frequency_penalty = 0;
}

/* ---- DRY's breakers: every token in which one of the strings stands ---- */

struct breaker {
	const char *text;
	size_t n_bytes;
	bool found;
};

static int read_breaker_texts(struct field_checker *check, struct breaker *breakers)
{
	static const char *const usual[] = {"\n", ":", "\"", "*"};
	const char *name = "dry_sequence_breakers";
	const struct json *list = field_get(check, name);
	int n = 0;
	if (!list) {
		for (; n < (int)(sizeof usual / sizeof *usual); n++)
			breakers[n] = (struct breaker){.text = usual[n], .n_bytes = 1, .found = true};
		return n;
	}
	if (json_type(list) != JSON_ARRAY || json_count(list) > MAX_BREAKERS) {
		field_error(check, name, "max_items(16)", NULL, "%s must be an array of at most %d strings", name,
		            MAX_BREAKERS);
		return 0;
	}
	for (const struct json *item = json_first(list); item; item = json_next(item), n++) {
		breakers[n] = (struct breaker){0};
		breakers[n].text = json_string(item, &breakers[n].n_bytes);
		if (breakers[n].text && breakers[n].n_bytes > 0 && breakers[n].n_bytes <= BREAKER_MAX_BYTES)
			continue;
		field_error(check, name, "length(1..=64)", NULL, "%s[%d] must be a string of 1 to %d bytes", name, n,
		            BREAKER_MAX_BYTES);
		return 0;
	}
	return n;
}

/* False: memory is short. */
static bool mark_breakers(const struct sampling_rules *rules, struct breaker *breakers, int n_breakers,
                          struct bytes *token, uint64_t *set)
{
	int64_t n_tokens = tokenizer_vocab_size(rules->tokenizer);
	n_tokens = n_tokens < rules->vocab_size ? n_tokens : rules->vocab_size;
	for (int64_t id = 0; id < n_tokens; id++) {
		bytes_clear(token);
		tokenizer_token_bytes(rules->tokenizer, (int32_t)id, token);
		if (token->failed)
			return false;
		for (int i = 0; i < n_breakers; i++) {
			if (!token->n_bytes || !memmem(token->data, token->n_bytes, breakers[i].text, breakers[i].n_bytes))
				continue;
			breakers[i].found = true;
			set[id / 64] |= 1ull << id % 64;
		}
	}
	return true;
}

static bool read_breakers(struct field_checker *check, const struct sampling_rules *rules, struct arena *arena,
                          struct sampling *sampling)
{
	struct breaker breakers[MAX_BREAKERS];
	struct bytes token = {0};
	int n_breakers = read_breaker_texts(check, breakers);
	if (n_breakers == 0 || sampling->dry_multiplier == 0)
		return true;
	uint64_t *set = arena_array(arena, (size_t)(rules->vocab_size + 63) / 64, sizeof *set);
	if (!set)
		return false;
	bool ok = mark_breakers(rules, breakers, n_breakers, &token, set);
	bytes_free(&token);
	for (int i = 0; i < n_breakers; i++)
		if (ok && !breakers[i].found) {
			field_error(check, "dry_sequence_breakers", "tokens", NULL,
			            "dry_sequence_breakers[%d] stands in no token of this model's vocabulary", i);
			return true;
		}
	sampling->dry_breakers = set;
	sampling->n_dry_breakers = rules->vocab_size;
	return ok;
}

/* ---- the order of stages ---- */

static const struct {
	const char *name;
	enum sampling_stage stage;
} stage_names[] = {
    {"top_n_sigma", STAGE_TOP_N_SIGMA},
    {"temperature", STAGE_TEMPERATURE},
    {"top_k", STAGE_TOP_K},
    {"top_p", STAGE_TOP_P},
    {"min_p", STAGE_MIN_P},
    {"typical_p", STAGE_TYPICAL_P},
    {"typ_p", STAGE_TYPICAL_P}, /* llama.cpp's */
    {"xtc", STAGE_XTC},
};

/* What changes logits comes first in any order, so naming it there says nothing new. */
static bool is_penalty(const char *name)
{
	return strcmp(name, "penalties") == 0 || strcmp(name, "dry") == 0;
}

static int find_stage(const char *name)
{
	for (size_t i = 0; name && i < sizeof stage_names / sizeof *stage_names; i++)
		if (strcmp(stage_names[i].name, name) == 0)
			return (int)stage_names[i].stage;
	return -1;
}

static void read_order(struct field_checker *check, struct sampling *sampling)
{
	const struct json *list = field_get(check, "samplers");
	bool seen[STAGE_COUNT] = {false};
	int place = 0;
	if (!list)
		return;
	if (json_type(list) != JSON_ARRAY) {
		field_error(check, "samplers", "type(array)", NULL, "samplers must be an array of names (got %s)",
		            json_type_name(json_type(list)));
		return;
	}
	sampling->has_order = true;
	sampling->n_order = 0;
	for (const struct json *item = json_first(list); item; item = json_next(item), place++) {
		const char *name = json_string(item, NULL);
		if (name && sampling->n_order == 0 && is_penalty(name) && place < 2)
			continue;
		int stage = find_stage(name);
		if (stage < 0 || seen[stage]) {
			field_error(
			    check, "samplers", "names", NULL,
			    "samplers[%d] must be another of top_n_sigma, temperature, top_k, top_p, min_p, typical_p and xtc; "
			    "penalties and dry may only come first",
			    place);
			return;
		}
		seen[stage] = true;
		sampling->order[sampling->n_order++] = (enum sampling_stage)stage;
	}
}

static bool read_stop_tokens(struct field_checker *check, const struct sampling_rules *rules, struct arena *arena,
                             struct sampling *sampling)
{
	const struct json *list = field_get(check, "stop_token_ids");
	size_t n = json_count(list);
	int n_read = 0;
	if (!list)
		return true;
	if (json_type(list) != JSON_ARRAY || n > SAMPLING_MAX_STOP_TOKENS) {
		field_error(check, "stop_token_ids", "max_items(64)", NULL,
		            "stop_token_ids must be an array of at most %d token ids", SAMPLING_MAX_STOP_TOKENS);
		return true;
	}
	int32_t *tokens = arena_array(arena, n, sizeof *tokens);
	if (!tokens)
		return false;
	for (const struct json *item = json_first(list); item; item = json_next(item)) {
		int64_t id;
		if (!json_int64(item, &id) || id < 0 || id >= rules->vocab_size) {
			field_error(check, "stop_token_ids", "tokens", NULL,
			            "stop_token_ids[%d] is no token: they are integers from 0 to %lld", n_read,
			            (long long)rules->vocab_size - 1);
			return true;
		}
		tokens[n_read++] = (int32_t)id;
	}
	sampling->stop_tokens = tokens;
	sampling->n_stop_tokens = n_read;
	return true;
}

/* A string or a list of them, as `stop`. */
static bool read_bad_words(struct field_checker *check, struct arena *arena, struct sampling *sampling)
{
	const struct json *value = field_get(check, "bad_words");
	if (!value)
		return true;
	bool is_list = json_type(value) == JSON_ARRAY;
	size_t n = is_list ? json_count(value) : 1;
	if (n > SAMPLING_MAX_BAD_WORDS) {
		field_error(check, "bad_words", "max_items(128)", NULL, "bad_words must have at most %d strings (got %zu)",
		            SAMPLING_MAX_BAD_WORDS, n);
		return true;
	}
	struct bad_word *words = n ? arena_array(arena, n, sizeof *words) : NULL;
	if (n && !words)
		return false;
	int n_read = 0;
	for (const struct json *item = is_list ? json_first(value) : value; item; item = is_list ? json_next(item) : NULL) {
		size_t n_bytes = 0;
		const char *text = json_string(item, &n_bytes);
		if (!text || n_bytes == 0 || n_bytes > SAMPLING_MAX_WORD_BYTES) {
			field_error(check, "bad_words", "strings", NULL,
			            "bad_words must be a string of 1 to %d bytes or an array of such strings",
			            SAMPLING_MAX_WORD_BYTES);
			return true;
		}
		text = arena_strdup(arena, text, n_bytes);
		if (!text)
			return false;
		assert(words); /* counted */
		words[n_read++] = (struct bad_word){.text = text, .n_bytes = n_bytes};
	}
	sampling->bad_words = words;
	sampling->n_bad_words = n_read;
	return true;
}

static bool read_dry(struct field_checker *check, const struct sampling_rules *rules, struct arena *arena,
                     struct sampling *sampling)
{
	int64_t window = -1;
	read_number(check, "dry_multiplier", 0, 100, &sampling->dry_multiplier);
	read_number(check, "dry_base", 1, 100, &sampling->dry_base);
	field_integer(check, "dry_allowed_length", 0, INT32_MAX, &sampling->dry_allowed_length);
	field_integer(check, "dry_penalty_last_n", -1, INT64_MAX, &window);
	sampling->dry_last_n = window < 0 ? 0 : window;
	if (window == 0)
		sampling->dry_multiplier = 0;
	return read_breakers(check, rules, arena, sampling);
}

bool sampling_fields_read(struct field_checker *check, const struct sampling_rules *rules, struct arena *arena,
                          struct sampling *sampling)
{
	read_filters(check, rules, sampling);
	read_mirostat(check, sampling);
	read_penalties(check, sampling);
	field_integer(check, "min_tokens", 0, rules->max_min_tokens, &sampling->min_tokens);
	read_order(check, sampling);
	return read_dry(check, rules, arena, sampling) && read_stop_tokens(check, rules, arena, sampling) &&
	       read_bad_words(check, arena, sampling) && logit_bias_read(check, rules->vocab_size, arena, sampling);
}
