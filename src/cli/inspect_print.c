/* An inspection as a table and as JSON (inspect.h). */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/json.h"
#include "cli/inspect.h"
#include "cli/screen.h"
#include "kernels/convert.h"

enum { TOTAL_COLUMN = 43 };

static const char *state_name(enum part_state state)
{
	static const char *const names[] = {"absent", "understood", "unchecked", "refused"};
	return names[state];
}

static double mib(uint64_t n_bytes)
{
	return (double)n_bytes / (1 << 20);
}

/* ---- table ---- */

/* Behind words of ours what a file says. */
static void print_named(const char *before, const char *name)
{
	printf("%s", before);
	screen_print_text(name, strlen(name));
	printf("\n");
}

static void print_part(const char *name, const struct part *part)
{
	printf("\n%s: %s\n", name, state_name(part->state));
	if (part->state == PART_REFUSED)
		printf("  %s\n", part->error.message);
}

/* In so many layers a position does not see all before it. */
static int64_t window_layers(const struct model_config *config)
{
	int64_t n = 0;
	for (int64_t layer = 0; layer < config->n_layers; layer++)
		n += layer_spec_of(config, layer).window > 0;
	return n;
}

/* What not every family has. */
static void print_parts(const struct model_config *config)
{
	printf("  rope            %s, theta %g", rope_type_name(config->rope.type), config->rope.theta);
	if (config->rope.type != ROPE_DEFAULT)
		printf(", factor %g", config->rope.factor);
	if (config->rope.attention_factor != 1)
		printf(", attention factor %g", config->rope.attention_factor);
	if (config->rope.has_divisors)
		printf(", divided by rope_freqs.weight");
	if (config->rotary_dim != config->head_dim)
		printf(", %" PRId64 " of each head", config->rotary_dim);
	printf("\n  biases          %s%s%s\n", config->qkv_bias ? "q k v " : "", config->o_bias ? "o " : "",
	       config->mlp_bias   ? "mlp"
	       : config->qkv_bias ? ""
	                          : "none");
	if (config->qk_norm)
		printf("  norms           queries and keys, by head\n");
	if (window_layers(config))
		printf("  window          %" PRId64 " positions in %" PRId64 " layers\n", config->window,
		       window_layers(config));
}

static void print_config(const struct model_config *config)
{
	printf("  architecture    %s, %.2f M parameters\n", config->architecture,
	       (double)weights_parameter_count(config) / 1e6);
	printf("  layers          %" PRId64 "\n", config->n_layers);
	printf("  hidden          %" PRId64 ", intermediate %" PRId64 "\n", config->hidden_size, config->intermediate_size);
	printf("  heads           %" PRId64 " of %" PRId64 ", %" PRId64 " for keys and values\n", config->n_heads,
	       config->head_dim, config->n_kv_heads);
	printf("  vocabulary      %" PRId64 "%s\n", config->vocab_size,
	       config->tie_word_embeddings ? ", embeddings tied" : "");
	printf("  max positions   %" PRId64, config->max_positions);
	if (config_max_context(config) > config->max_positions)
		printf(", by rope scaling %" PRId64, config_max_context(config));
	printf("\n");
	printf("  rms_norm_eps    %g\n", config->rms_norm_eps);
	print_parts(config);
	printf("  bos, eos        %" PRId32 ",", config->bos_id);
	for (int i = 0; i < config->n_eos_ids; i++)
		printf(" %" PRId32, config->eos_ids[i]);
	if (config->format == FORMAT_GGUF) /* its tensors' types are those of the weights */
		printf("\n  format          GGUF\n");
	else
		print_named("\n  stored as       ", config->stored_dtype[0] ? config->stored_dtype : "not said");
}

/* What is put around a text: the ids of an empty one. */
static void added_ids(const struct tokenizer *tokenizer, struct token_ids *ids)
{
	struct error error;
	if (!tokenizer_encode(tokenizer, "", 0, TOKENIZER_ADD_SPECIAL, ids, &error))
		token_ids_free(ids);
}

static void print_tokenizer(const struct tokenizer *tokenizer)
{
	int n_ends;
	struct token_ids added = {0};
	const int32_t *ends = tokenizer_end_ids(tokenizer, &n_ends);
	added_ids(tokenizer, &added);
	printf("  kind            %s\n", tokenizer_kind(tokenizer));
	printf("  vocabulary      %" PRId32 "\n", tokenizer_vocab_size(tokenizer));
	printf("  bos, ends       %" PRId32 ",", tokenizer_bos_id(tokenizer));
	for (int i = 0; i < n_ends; i++)
		printf(" %" PRId32, ends[i]);
	printf("\n  adds to a text ");
	for (size_t i = 0; i < added.n_ids; i++)
		printf(" %" PRId32, added.ids[i]);
	printf("%s\n", added.n_ids ? "" : " nothing");
	token_ids_free(&added);
}

/* Into another layout of the same values. */
static bool is_repacked(const struct inspection *found)
{
	enum dtype kind = found->sizes.rows.kind;
	return weight_served_type(kind) != kind || found->plan.tiles;
}

static const char *context_reason(const struct model_plan *plan)
{
	switch (plan->context_chosen) {
	case CONTEXT_AS_ASKED:
		return "as asked";
	case CONTEXT_OF_MODEL:
		return "the model's own";
	case CONTEXT_OF_MEMORY:
		return "what memory holds of the model's own";
	}
	return "";
}

static void print_plan(const struct model_plan *plan, const char *threads_reason)
{
	for (int i = 0; i < plan->n_lines; i++)
		printf("  %-24s %12.1f MiB\n", plan->lines[i].name, mib(plan->lines[i].n_bytes));
	printf("  %-24s %12.1f MiB", "total", mib(plan->total_bytes));
	if (plan->limit_bytes)
		screen_print(TOTAL_COLUMN, TOTAL_COLUMN, " of %.1f MiB (%s)", mib(plan->limit_bytes),
		             plan->limit_source ? plan->limit_source : "given");
	else
		printf("\n");
	printf("  ");
	screen_print(
	    2, 2, "context %" PRId64 " (%s), %d requests together, %d KV pages of %d tokens (%s%s), %d threads (%s)",
	    plan->context, context_reason(plan), plan->n_parallel, plan->n_kv_pages, plan->kv.page_tokens,
	    dtype_info(plan->kv.v_type)->name, plan->kv.k_type == plan->kv.v_type ? "" : "; keys F16, for they have biases",
	    plan->n_threads, threads_reason);
}

void inspection_print(const struct inspection *found)
{
	print_named("", found->path);
	print_part("config", &found->config_part);
	if (found->config_part.state == PART_UNDERSTOOD)
		print_config(&found->config);
	print_part("tokenizer", &found->tokenizer);
	if (found->loaded_tokenizer)
		print_tokenizer(found->loaded_tokenizer);
	print_part("weights", &found->weights);
	if (found->n_tensors > 0)
		printf("  tensors         %zu, %.1f MiB\n", found->n_tensors, mib(found->file_bytes));
	for (int i = 0; i < found->n_types; i++)
		printf("    %-13s %zu, %.1f MiB\n", found->types[i].name, found->types[i].n_tensors,
		       mib(found->types[i].n_bytes));
	if (found->weights.state == PART_UNDERSTOOD)
		printf("  matrices        %s%s\n", dtype_info(found->sizes.rows.kind)->name,
		       is_repacked(found) ? ", repacked at load" : "");
	if (found->config_part.state == PART_UNDERSTOOD) {
		print_part("memory", &found->memory);
		print_plan(&found->plan, found->threads_reason);
	}
}

/* ---- JSON ---- */

static void write_state(struct bytes *out, const struct part *part)
{
	json_field_text(out, "state", state_name(part->state));
	if (part->state == PART_REFUSED)
		json_field_text(out, "reason", part->error.message);
}

static void write_ids(struct bytes *out, const char *key, const int32_t *ids, size_t n_ids)
{
	json_field_key(out, key);
	for (size_t i = 0; i < n_ids; i++)
		bytes_append_format(out, "%s%" PRId32, i ? "," : "[", ids[i]);
	bytes_append_text(out, n_ids ? "]" : "[]");
}

static void write_config(struct bytes *out, const struct inspection *found)
{
	const struct model_config *config = &found->config;
	json_field_key(out, "config");
	json_open(out);
	write_state(out, &found->config_part);
	if (found->config_part.state == PART_UNDERSTOOD) {
		json_field_text(out, "architecture", config->architecture);
		json_field_text(out, "format", config->format == FORMAT_GGUF ? "gguf" : "safetensors");
		json_field_uint(out, "parameters", weights_parameter_count(config));
		json_field_int(out, "layers", config->n_layers);
		json_field_int(out, "hidden_size", config->hidden_size);
		json_field_int(out, "intermediate_size", config->intermediate_size);
		json_field_int(out, "heads", config->n_heads);
		json_field_int(out, "kv_heads", config->n_kv_heads);
		json_field_int(out, "head_dim", config->head_dim);
		json_field_int(out, "vocab_size", config->vocab_size);
		json_field_int(out, "max_positions", config->max_positions);
		json_field_double(out, "rms_norm_eps", config->rms_norm_eps);
		json_field_text(out, "rope_type", rope_type_name(config->rope.type));
		json_field_double(out, "rope_theta", config->rope.theta);
		json_field_double(out, "rope_factor", config->rope.factor);
		json_field_bool(out, "rope_divisors", config->rope.has_divisors);
		json_field_bool(out, "tie_word_embeddings", config->tie_word_embeddings);
		json_field_double(out, "rope_attention_factor", config->rope.attention_factor);
		json_field_int(out, "rotary_dim", config->rotary_dim);
		json_field_int(out, "max_context", config_max_context(config));
		json_field_int(out, "window", window_layers(config) ? config->window : 0);
		json_field_int(out, "window_layers", window_layers(config));
		json_field_bool(out, "qk_norm", config->qk_norm);
		json_field_bool(out, "attention_bias", config->qkv_bias);
		json_field_bool(out, "mlp_bias", config->mlp_bias);
		json_field_int(out, "bos_id", config->bos_id);
		write_ids(out, "eos_ids", config->eos_ids, (size_t)config->n_eos_ids);
		json_field_text(out, "stored_dtype", config->stored_dtype);
	}
	json_close(out);
}

static void write_tokenizer(struct bytes *out, const struct inspection *found)
{
	json_field_key(out, "tokenizer");
	json_open(out);
	write_state(out, &found->tokenizer);
	if (found->loaded_tokenizer) {
		int n_ends;
		struct token_ids added = {0};
		const int32_t *ends = tokenizer_end_ids(found->loaded_tokenizer, &n_ends);
		added_ids(found->loaded_tokenizer, &added);
		json_field_text(out, "kind", tokenizer_kind(found->loaded_tokenizer));
		json_field_int(out, "vocab_size", tokenizer_vocab_size(found->loaded_tokenizer));
		json_field_int(out, "bos_id", tokenizer_bos_id(found->loaded_tokenizer));
		json_field_int(out, "eos_id", tokenizer_eos_id(found->loaded_tokenizer));
		write_ids(out, "end_ids", ends, (size_t)n_ends);
		write_ids(out, "added_ids", added.ids, added.n_ids);
		token_ids_free(&added);
	}
	json_close(out);
}

static void write_weights(struct bytes *out, const struct inspection *found)
{
	json_field_key(out, "weights");
	json_open(out);
	write_state(out, &found->weights);
	if (found->n_tensors > 0) {
		json_field_uint(out, "tensors", found->n_tensors);
		json_field_uint(out, "bytes", found->file_bytes);
		json_field_key(out, "types");
		json_open(out);
		for (int i = 0; i < found->n_types; i++)
			json_field_uint(out, found->types[i].name, found->types[i].n_bytes);
		json_close(out);
	}
	if (found->weights.state == PART_UNDERSTOOD) {
		json_field_text(out, "quant_kind", dtype_info(found->sizes.rows.kind)->name);
		json_field_bool(out, "repacked", is_repacked(found));
	}
	json_close(out);
}

static void write_memory(struct bytes *out, const struct inspection *found)
{
	const struct model_plan *plan = &found->plan;
	json_field_key(out, "memory");
	json_open(out);
	write_state(out, &found->memory);
	json_field_uint(out, "total_bytes", plan->total_bytes);
	json_field_uint(out, "limit_bytes", plan->limit_bytes);
	json_field_key(out, "lines");
	bytes_append_text(out, "{");
	for (int i = 0; i < plan->n_lines; i++)
		json_field_uint(out, plan->lines[i].name, plan->lines[i].n_bytes);
	bytes_append_text(out, "}");
	json_field_text(out, "limit_source", plan->limit_source);
	json_field_int(out, "context_length", plan->context);
	json_field_text(out, "context_reason", context_reason(plan));
	json_field_int(out, "parallel", plan->n_parallel);
	json_field_int(out, "threads", plan->n_threads);
	json_field_text(out, "threads_reason", found->threads_reason);
	json_field_int(out, "kv_pages", plan->n_kv_pages);
	json_field_uint(out, "kv_page_bytes", plan->kv_page_bytes);
	json_field_int(out, "kv_page_tokens", plan->kv.page_tokens);
	json_field_text(out, "kv_type", dtype_info(plan->kv.v_type)->name);
	json_field_text(out, "key_type", dtype_info(plan->kv.k_type)->name);
	json_close(out);
}

void inspection_print_json(const struct inspection *found)
{
	struct bytes out = {0};
	json_open(&out);
	json_field_text(&out, "path", found->path);
	write_config(&out, found);
	write_tokenizer(&out, found);
	write_weights(&out, found);
	if (found->config_part.state == PART_UNDERSTOOD)
		write_memory(&out, found);
	json_close(&out);
	bytes_append_text(&out, "\n");
	if (!out.failed)
		screen_print_json(out.data, out.n_bytes);
	bytes_free(&out);
}

/* ---- the manifest ---- */

static const char *file_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* A tensor's name may be anything; a line's end in it must not begin a line. */
static void print_name(const char *name)
{
	struct bytes shown = {0};
	for (; *name; name++)
		bytes_append(&shown, (unsigned char)*name < ' ' ? "?" : name, 1);
	screen_print_text(shown.data ? shown.data : "", shown.n_bytes);
	bytes_free(&shown);
}

/* Lines for sha256sum -c, and for --model-sha256; what else there is to tell are its comments. */
void inspection_print_manifest(const struct inspected_manifest *found)
{
	char hex[DIGEST_HEX_BYTES];
	struct bytes lines = {0};
	const struct tensor *tensor;
	digest_write(&found->files.model, hex);
	printf("# %s  the model: --model-sha256\n", hex);
	manifest_write(&found->files, &lines);
	screen_print_text(lines.data && !lines.failed ? lines.data : "", lines.failed ? 0 : lines.n_bytes);
	bytes_free(&lines);
	for (size_t i = 0; (tensor = weight_file_at(found->weights, i)); i++) {
		digest_write(&found->tensors[i], hex);
		printf("# %s  ", hex);
		print_name(file_name(tensor->file));
		printf(": ");
		print_name(tensor->name);
		printf(" %s", tensor->type_name);
		for (int dim = 0; dim < tensor->n_dims; dim++)
			printf("%s%" PRId64, dim ? ", " : " [", tensor->dims[dim]);
		printf(tensor->n_dims ? "]\n" : "\n");
	}
}

static void write_digest(struct bytes *out, const struct digest *digest)
{
	char hex[DIGEST_HEX_BYTES];
	digest_write(digest, hex);
	json_field_text(out, "sha256", hex);
}

static void write_manifest_tensor(struct bytes *out, const struct tensor *tensor, const struct digest *digest)
{
	json_open(out);
	json_field_text(out, "name", tensor->name);
	json_field_text(out, "file", file_name(tensor->file));
	json_field_text(out, "type", tensor->type_name);
	json_field_key(out, "shape");
	bytes_append_text(out, "[");
	for (int i = 0; i < tensor->n_dims; i++)
		bytes_append_format(out, "%s%" PRId64, i ? "," : "", tensor->dims[i]);
	bytes_append_text(out, "]");
	json_field_uint(out, "bytes", tensor->n_bytes);
	write_digest(out, digest);
	json_close(out);
}

void inspection_print_manifest_json(const struct inspected_manifest *found)
{
	struct bytes out = {0};
	const struct tensor *tensor;
	json_open(&out);
	json_field_text(&out, "path", found->files.where);
	write_digest(&out, &found->files.model);
	json_field_key(&out, "files");
	bytes_append_text(&out, "[");
	for (size_t i = 0; i < found->files.n_files; i++) {
		const struct manifest_file *file = &found->files.files[i];
		bytes_append_text(&out, i ? "," : "");
		json_open(&out);
		json_field_text(&out, "name", file->name);
		json_field_uint(&out, "bytes", file->n_bytes);
		write_digest(&out, &file->digest);
		json_close(&out);
	}
	bytes_append_text(&out, "]");
	json_field_key(&out, "tensors");
	bytes_append_text(&out, "[");
	for (size_t i = 0; (tensor = weight_file_at(found->weights, i)); i++) {
		bytes_append_text(&out, i ? "," : "");
		write_manifest_tensor(&out, tensor, &found->tensors[i]);
	}
	bytes_append_text(&out, "]");
	json_close(&out);
	bytes_append_text(&out, "\n");
	if (!out.failed)
		screen_print_json(out.data, out.n_bytes);
	bytes_free(&out);
}
