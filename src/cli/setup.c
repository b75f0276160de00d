/* Shared by the commands (setup.h). */
#include "cli/setup.h"

#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/platform.h"
#include "cli/version.h"
#include "engine/engine.h"
#include "server/server.h"
#include "text/tokenizer.h"

/* ---- process ---- */

/* "0-3,8" */
static bool parse_cpus(const char *text, cpu_set_t *set)
{
	CPU_ZERO(set);
	while (isdigit((unsigned char)*text)) {
		char *end;
		unsigned long first = strtoul(text, &end, 10), last = first;
		if (*end == '-' && isdigit((unsigned char)end[1]))
			last = strtoul(end + 1, &end, 10);
		if (last < first || last >= CPU_SETSIZE)
			return false;
		for (unsigned long cpu = first; cpu <= last; cpu++)
			CPU_SET(cpu, set);
		if (*end == '\0')
			return true;
		if (*end != ',')
			return false;
		text = end + 1;
	}
	return false;
}

static bool set_cpus(const char *list, struct error *error)
{
	cpu_set_t set;
	if (!parse_cpus(list, &set))
		return error_set(error, ERROR_USAGE, "--cpu-mask must be a list of CPUs such as 0-3,8 (got \"%.60s\")", list);
	if (sched_setaffinity(0, sizeof set, &set) != 0)
		return error_set(error, ERROR_USAGE, "--cpu-mask %.60s: none of these CPUs can be used: %s", list,
		                 strerror(errno));
	return true;
}

bool setup_logs_are_json(const struct options *options)
{
	return options->log_format == LOG_FORMAT_JSON ||
	       (options->log_format == LOG_FORMAT_AUTO && (options->log_file || !isatty(STDERR_FILENO)));
}

bool setup_process(const struct options *options, bool serves, struct error *error)
{
	signal(SIGPIPE, SIG_IGN); /* a reader that leaves is an error of one write, not of the process */
	enum log_level level = (enum log_level)options->log_level;
	if (!serves && !options_given(options, "log-level"))
		level = LOG_WARN;
	if (options->quiet && level < LOG_ERROR)
		level = LOG_ERROR;
	log_init(level, setup_logs_are_json(options) ? LOG_FORMAT_JSON : LOG_FORMAT_PLAIN);
	if (options->log_file && !log_open(options->log_file, error))
		return false;
	return !options->cpu_mask || set_cpus(options->cpu_mask, error);
}

/* ---- model options ---- */

void setup_weights(int choice, struct model_options *out)
{
	static const enum dtype types[] = {DTYPE_F32, DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_Q8, DTYPE_Q4};
	out->weights_auto = choice == 0;
	out->weights_type = types[choice];
}

bool setup_model_options(const struct options *options, struct model_options *out, struct error *error)
{
	static const enum dtype kv_types[] = {DTYPE_F32, DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_Q8};
	const char *path = options->model ? options->model : options->model_ref;
	if (!path)
		return error_set(error, ERROR_USAGE, "--model is missing: a model directory, a .safetensors or a .gguf file");
	*out = (struct model_options){
	    .path = path,
	    .sha256 = options->model_sha256,
	    .version = TALLOW_VERSION,
	    .isa = (enum isa)options->isa,
	    .compute = (enum compute)options->compute,
	    .n_threads = (int)options->threads,
	    .context = options->context,
	    .n_parallel = (int)options->parallel,
	    .kv_auto = options->kv == 0,
	    .kv_type = kv_types[options->kv],
	    .kv_memory_bytes = options->kv_memory_bytes,
	    .memory_limit_bytes = options->memory_limit_bytes,
	    .http_bytes = server_connection_bytes((int)options->max_connections),
	};
	setup_weights(options->weights, out);
	out->memory_limit_source = "--memory-limit";
	if (out->memory_limit_bytes == 0)
		out->memory_limit_bytes = platform_memory_limit_bytes(&platform_default_roots, &out->memory_limit_source);
	out->constraint_bytes = engine_constraint_bytes(out->memory_limit_bytes);
	return true;
}

bool setup_talk_options(const struct options *options, struct model_options *out, struct error *error)
{
	if (!setup_model_options(options, out, error))
		return false;
	out->n_parallel = 1;
	out->constraint_bytes = out->http_bytes = 0;
	return true;
}

/* ---- input ---- */

bool setup_read_input(struct bytes *out, size_t max_bytes, struct error *error)
{
	char block[65536];
	ssize_t n;
	out->max_bytes = max_bytes;
	while ((n = read(STDIN_FILENO, block, sizeof block)) > 0)
		bytes_append(out, block, (size_t)n);
	if (n < 0)
		return error_set(error, ERROR_USAGE, "cannot read standard input: %s", strerror(errno));
	if (out->failed)
		return error_set(error, ERROR_USAGE, "standard input has more than %zu bytes", max_bytes);
	return true;
}

static bool append_id(struct token_ids *ids, int32_t id)
{
	if (ids->n_ids == ids->capacity) {
		size_t capacity = ids->capacity ? ids->capacity * 2 : 256;
		int32_t *grown = realloc(ids->ids, capacity * sizeof *grown);
		if (!grown)
			return false;
		ids->ids = grown;
		ids->capacity = capacity;
	}
	ids->ids[ids->n_ids++] = id;
	return true;
}

bool setup_parse_ids(const char *text, struct token_ids *ids, struct error *error)
{
	static const char between[] = " \t\r\n,[]";
	for (text += strspn(text, between); *text; text += strspn(text, between)) {
		char *end;
		errno = 0;
		long id = strtol(text, &end, 10);
		if (!isdigit((unsigned char)*text) || errno || id > INT32_MAX || (*end && !strchr(between, *end)))
			return error_set(error, ERROR_USAGE, "token ids are numbers such as 1,403,407 (got \"%.*s\")",
			                 (int)(strcspn(text, between) < 40 ? strcspn(text, between) : 40), text);
		if (!append_id(ids, (int32_t)id))
			return error_set(error, ERROR_MEMORY, "no memory for %zu token ids", ids->n_ids);
		text = end;
	}
	return true;
}
