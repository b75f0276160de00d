/* Options of all commands. One table (option_table.c) drives parsing, `--help` and the environment variables: every flag
 * --some-name is also TALLOW_SOME_NAME, and the flag wins. A new option is a field here and a row there.
 *
 *     struct options options;
 *     if (!options_parse(&options, FOR_SERVE, argc, argv, &error)) ...   // ERROR_USAGE
 */
#ifndef TALLOW_CLI_OPTIONS_H
#define TALLOW_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Which commands take an option; a set. */
enum command_set {
	FOR_SERVE = 1,
	FOR_GENERATE = 2,
	FOR_INSPECT = 4,
	FOR_TOKENIZE = 8,
	FOR_DETOKENIZE = 16,
	FOR_LOGITS = 32,
	FOR_BENCH = 64,
	FOR_PERPLEXITY = 128,
	FOR_RENDER = 256,
	FOR_CONSTRAIN = 512,
	FOR_COMPLETION = 1024,
	FOR_MANUAL = 2048,
	FOR_DOCTOR = 4096,
	FOR_CHAT = 8192,
	FOR_RUN = 16384,
	FOR_LIST = 32768,
	FOR_HEALTH = 65536,
	FOR_ALL = ~0,
};

enum { OPTIONS_MAX_STOPS = 4, OPTIONS_MAX_FILES = 1024, OPTIONS_MAX_ROWS = 160 };

enum option_given { NOT_GIVEN, GIVEN_BY_FILE, GIVEN_BY_ENVIRONMENT, GIVEN_BY_FLAG };

struct option_files {
	int n;
	const char *paths[OPTIONS_MAX_FILES];
};

/* Values after defaults, file, environment and flags, the later winning. Text is borrowed from them. Numbers are in the
 * ranges that the table gives; 0 means "chosen for you" where the table says so. */
struct options {
	const char *path; /* the first positional argument; `text` is perplexity's second */

	/* model and memory */
	const char *model, *name;
	const char *model_sha256; /* hex digits, or the path of a manifest */
	const char *model_ref;    /* the orchestrator's word: the path where there is no `model`, else its name */
	int64_t context, parallel, threads;
	uint64_t kv_memory_bytes, memory_limit_bytes;
	const char *cpu_mask;
	int weights; /* index into "auto|f32|f16|bf16|q8|q4" */
	int pooling; /* enum pooling */
	int kv;      /* index into "auto|f32|f16|bf16|q8" */
	int isa;     /* enum isa */
	int compute; /* enum compute */

	/* log */
	int log_level;  /* enum log_level */
	int log_format; /* enum log_format */
	const char *log_file;

	/* sampling */
	int n_stops;
	const char *stops[OPTIONS_MAX_STOPS];
	const char *prompt;
	double temperature, top_p, min_p, typical_p, top_n_sigma;
	double repetition_penalty, presence_penalty, frequency_penalty;
	int64_t top_k, min_tokens;
	uint64_t seed;

	/* worker */
	const char *worker_id, *host, *callback_url, *advertise_host, *heartbeat_url, *hive_url, *queen_url;
	int device, backend; /* each means the CPU, whatever its spelling */
	int64_t port, callback_timeout_ms, heartbeat_interval_ms, shutdown_delay_ms, shutdown_timeout_ms;

	/* requests */
	int64_t max_tokens, max_queue, max_queued_tokens, max_gap_ms, max_connections;
	uint64_t max_body_bytes;
	const char *tool_format;
	int reasoning_format; /* enum reasoning_output */

	/* access */
	const char *api_key; /* the environment's own, which serve wipes */
	const char *api_key_file, *cors_origin;
	struct option_files allowed_hosts; /* names */
	bool shared_key_file, no_sandbox, no_page, metrics_vllm_names;

	/* logits, bench */
	const char *tokens, *npy, *text;
	const char *weight_list, *prefill, *depths, *streams, *plot;
	int64_t slice, decode_from, repeats;

	/* chat, run, list */
	const char *system, *models_dir;

	/* render */
	const char *chat_template, *bos_token, *eos_token, *now;

	/* constrain */
	const char *json_schema, *regex, *grammar;
	struct option_files checks;

	const char *config; /* a file with options (config_file.h) */

	/* switches */
	bool help, version, quiet, json;
	bool no_generation_defaults;
	bool check_only, exit_with_parent, supervise, insecure, share_cache, strict_model, check_weights, manifest;
	bool ignore_eos, stats;
	bool no_special, parse_special, keep_special;
	bool all, quick, reference, same_weights, markdown;

	unsigned char given[OPTIONS_MAX_ROWS]; /* by row of the table: enum option_given */
};

enum option_kind {
	OPTION_HEADING, /* a line between groups in --help; not an option */
	OPTION_FLAG,    /* bool */
	OPTION_TEXT,    /* const char * */
	OPTION_TEXTS,   /* repeatable: const char *[OPTIONS_MAX_STOPS], counted in n_stops */
	OPTION_FILES,   /* repeatable: struct option_files, of paths or names */
	OPTION_INT,     /* int64_t in min..max */
	OPTION_UINT64,  /* uint64_t, every value */
	OPTION_NUMBER,  /* double in min..max */
	OPTION_SIZE,    /* uint64_t bytes */
	OPTION_MS,      /* int64_t milliseconds */
	OPTION_CHOICE,  /* int: index into `value`, "a|b|c" */
	OPTION_PATH,    /* const char *: the positional argument, which has no flag */
};

#define OPTION_NO_MAX 9e15 /* doubles hold integers exactly up to here */

enum option_source { FROM_FLAG_AND_ENVIRONMENT, FROM_FLAG, FROM_ENVIRONMENT };

struct option_row {
	const char *name; /* without the dashes */
	enum option_kind kind;
	unsigned commands;    /* enum command_set */
	const char *value;    /* what --help calls the value; the choices of OPTION_CHOICE */
	const char *fallback; /* the default as one would write it; NULL = zero */
	const char *help;
	size_t offset; /* in struct options */
	double min, max;
	enum option_source source;
	char letter;          /* short form, or 0 */
	const char *variable; /* one more environment variable, which gives way to TALLOW_...; or NULL */
};

extern const struct option_row option_rows[];
extern const int n_option_rows;

/* argv[0] is skipped. ERROR_USAGE names the option, what it expects and what it got; unknown ones are answered with the
 * nearest name. With --help or --version the rest is not checked. A file with options is --config's, or for serve the one in
 * /etc, if it is there; what it says of other commands' options is passed over. */
bool options_parse(struct options *options, unsigned command, int argc, char **argv, struct error *error) MUST_USE;
/* True when the option (by name) was set by flag, environment or file. */
bool options_given(const struct options *options, const char *name);
/* One option later, as by its flag; back to its default; its value as text, for options of one number. The name is that of an
 * option of the command. */
bool options_set(struct options *options, unsigned command, const char *name, const char *text,
                 struct error *error) MUST_USE;
bool options_unset(struct options *options, unsigned command, const char *name, struct error *error) MUST_USE;
void options_show(const struct options *options, unsigned command, const char *name, char *out, size_t capacity);
/* "TALLOW_MAX_TOKENS" of "max-tokens". */
void option_variable(const struct option_row *row, char *out, size_t capacity);
/* The lines of --help about the options of a command, to standard output. */
void options_print(unsigned command);

#endif
