#include "server/dialects/openai_logprobs.h"

#include <string.h>

#include "base/json.h"
#include "base/utf8.h"

static void separate_item(struct bytes *list)
{
	if (list->n_bytes > 0)
		bytes_append_text(list, ",");
}

/* ---- chat ---- */

/* `{"token","logprob","bytes"`; what follows and the closing bracket are the caller's. */
static void open_token(const struct tokenizer *tokenizer, int32_t token, double logprob, struct bytes *out)
{
	struct bytes text = {0};
	tokenizer_token_bytes(tokenizer, token, &text);
	json_open(out);
	json_field_string(out, "token", text.data ? text.data : "", text.n_bytes);
	json_field_double(out, "logprob", logprob);
	json_field_key(out, "bytes");
	bytes_append_text(out, "[");
	for (size_t i = 0; text.data && i < text.n_bytes; i++)
		bytes_append_format(out, "%s%d", i > 0 ? "," : "", (unsigned char)text.data[i]);
	bytes_append_text(out, "]");
	bytes_free_part(&text, out);
}

void chat_logprobs_add(const struct tokenizer *tokenizer, const struct event *event, struct bytes *items)
{
	const struct token_logprobs *logprobs = event->logprobs;
	separate_item(items);
	open_token(tokenizer, event->token, logprobs->logprob, items);
	json_field_int(items, "rank", logprobs->rank);
	json_field_key(items, "top_logprobs");
	bytes_append_text(items, "[");
	for (int i = 0; i < logprobs->n_top; i++) {
		if (i > 0)
			bytes_append_text(items, ",");
		open_token(tokenizer, logprobs->top[i].token, logprobs->top[i].logprob, items);
		json_close(items);
	}
	bytes_append_text(items, "]");
	json_close(items);
}

void chat_logprobs_write(const struct bytes *items, struct bytes *out)
{
	json_open(out);
	json_field_key(out, "content");
	bytes_append_text(out, "[");
	bytes_append(out, items->data, items->n_bytes);
	bytes_append_text(out, "]");
	json_field_text(out, "refusal", NULL);
	json_close(out);
	out->failed |= items->failed;
}

/* ---- completions ---- */

enum { LIST_TOKENS, LIST_LOGPROBS, LIST_TOP, LIST_RANKS, LIST_OFFSETS };
_Static_assert(LIST_OFFSETS + 1 == TEXT_LOGPROBS_LISTS, "a list each");
static const char *const list_names[TEXT_LOGPROBS_LISTS] = {"tokens", "token_logprobs", "top_logprobs", "token_ranks",
                                                            "text_offset"};

static bool is_whole(const char *text, size_t n_bytes)
{
	size_t at = 0;
	int length = 1;
	for (; at < n_bytes && length > 0; at += (size_t)length)
		length = utf8_length((const unsigned char *)text + at, n_bytes - at);
	return length > 0;
}

/* The token's text as a key: tokens of different bytes have different ones. */
static void spell(const struct tokenizer *tokenizer, int32_t token, struct bytes *out)
{
	struct bytes text = {0};
	tokenizer_token_bytes(tokenizer, token, &text);
	if (is_whole(text.data, text.n_bytes)) {
		bytes_append(out, text.data, text.n_bytes);
	} else {
		bytes_append_text(out, "bytes:");
		for (size_t i = 0; i < text.n_bytes; i++)
			bytes_append_format(out, "\\x%02x", (unsigned char)text.data[i]);
	}
	bytes_free_part(&text, out);
}

struct keys {
	struct bytes text;
	size_t ends[SAMPLING_MAX_TOP_LOGPROBS + 1];
	int n;
};

/* Adds a member, unless a likelier token has the same text. */
static void add_member(const struct tokenizer *tokenizer, int32_t token, double logprob, struct keys *keys,
                       struct bytes *out)
{
	size_t begin = keys->text.n_bytes;
	spell(tokenizer, token, &keys->text);
	size_t n_bytes = keys->text.n_bytes - begin;
	const char *key = keys->text.data + begin;
	for (int i = 0; i < keys->n; i++) {
		size_t at = i > 0 ? keys->ends[i - 1] : 0;
		if (keys->ends[i] - at == n_bytes && memcmp(keys->text.data + at, key, n_bytes) == 0) {
			keys->text.n_bytes = begin;
			return;
		}
	}
	keys->ends[keys->n++] = keys->text.n_bytes;
	if (keys->n > 1)
		bytes_append_text(out, ",");
	json_write_string(out, key, n_bytes);
	bytes_append_text(out, ":");
	json_write_double(out, logprob);
}

/* The likeliest, and the token itself, which need not be one of them. */
static void write_top(const struct tokenizer *tokenizer, int32_t token, const struct token_logprobs *logprobs,
                      struct bytes *out)
{
	struct keys keys = {0};
	bytes_append_text(out, "{");
	for (int i = 0; i < logprobs->n_top; i++)
		add_member(tokenizer, logprobs->top[i].token, logprobs->top[i].logprob, &keys, out);
	if (logprobs->rank > logprobs->n_top)
		add_member(tokenizer, token, logprobs->logprob, &keys, out);
	bytes_append_text(out, "}");
	bytes_free_part(&keys.text, out);
}

int64_t text_logprobs_characters(const struct tokenizer *tokenizer, int32_t token, struct bytes *lists)
{
	struct bytes text = {0};
	int64_t n = 0;
	if (!tokenizer_is_special(tokenizer, token))
		tokenizer_token_bytes(tokenizer, token, &text);
	for (size_t i = 0; i < text.n_bytes; i++)
		n += ((unsigned char)text.data[i] & 0xC0) != 0x80;
	bytes_free_part(&text, &lists[LIST_OFFSETS]);
	return n;
}

void text_logprobs_add(const struct tokenizer *tokenizer, int32_t token, const struct token_logprobs *logprobs,
                       int64_t offset, struct bytes *lists)
{
	struct bytes text = {0};
	for (int i = 0; i < TEXT_LOGPROBS_LISTS; i++)
		separate_item(&lists[i]);
	spell(tokenizer, token, &text);
	json_write_string(&lists[LIST_TOKENS], text.data ? text.data : "", text.n_bytes);
	bytes_free_part(&text, &lists[LIST_TOKENS]);
	if (logprobs) {
		json_write_double(&lists[LIST_LOGPROBS], logprobs->logprob);
		write_top(tokenizer, token, logprobs, &lists[LIST_TOP]);
		bytes_append_format(&lists[LIST_RANKS], "%lld", (long long)logprobs->rank);
	} else {
		for (int i = LIST_LOGPROBS; i <= LIST_RANKS; i++)
			bytes_append_text(&lists[i], "null");
	}
	bytes_append_format(&lists[LIST_OFFSETS], "%lld", (long long)offset);
}

void text_logprobs_write(const struct bytes *lists, struct bytes *out)
{
	json_open(out);
	for (int i = 0; i < TEXT_LOGPROBS_LISTS; i++) {
		json_field_key(out, list_names[i]);
		bytes_append_text(out, "[");
		bytes_append(out, lists[i].data, lists[i].n_bytes);
		bytes_append_text(out, "]");
		out->failed |= lists[i].failed;
	}
	json_close(out);
}
