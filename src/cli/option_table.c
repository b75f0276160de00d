/* The table of all options (options.h). --help prints it in this order. */
#include "cli/options.h"

#define AT(field) offsetof(struct options, field)
#define HEADING(c, text)                                                                                               \
	{                                                                                                                  \
		.kind = OPTION_HEADING, .commands = (c), .help = (text)                                                        \
	}
/* Everything about a row that most rows share: name, kind, commands, value, default, place, help. */
#define ROW(n, k, c, v, d, field, text)                                                                                \
	.name = (n), .kind = (k), .commands = (c), .value = (v), .fallback = (d), .offset = AT(field), .help = (text)

enum {
	LOADS = FOR_SERVE | FOR_GENERATE | FOR_LOGITS | FOR_BENCH | FOR_PERPLEXITY, /* commands that load weights */
	PLANS = LOADS | FOR_INSPECT,                                                /* commands that make a memory plan */
	SERVES = FOR_SERVE | FOR_INSPECT | FOR_BENCH,
	TEXTS = FOR_TOKENIZE | FOR_DETOKENIZE,
};

const struct option_row option_rows[] = {
    {ROW("path", OPTION_PATH, FOR_INSPECT, "PATH", NULL, path, "model directory, .safetensors or .gguf file")},
    {ROW("path", OPTION_PATH, FOR_PERPLEXITY, "MODEL", NULL, path, "model directory, .safetensors or .gguf file")},
    {ROW("text", OPTION_PATH, FOR_PERPLEXITY, "FILE", NULL, text, "the text; - or none: standard input")},

    HEADING(PLANS | TEXTS, "Model"),
    {ROW("model", OPTION_TEXT, PLANS | TEXTS, "PATH", NULL, model,
         "model directory, a .safetensors file (its directory gives the rest) or a .gguf file")},
    {ROW("context", OPTION_INT, PLANS & ~FOR_LOGITS, "N", "0", context,
         "tokens per request; 0: the smaller of the model's and 4096"),
     .max = OPTION_NO_MAX},
    {ROW("parallel", OPTION_INT, SERVES, "N", "0", parallel,
         "requests that run together; 0: 8 per thread, at most 64, fewer where memory is short"),
     .max = 1024},
    {ROW("weights", OPTION_CHOICE, PLANS & ~FOR_BENCH, "auto|f32|f16|bf16|q8|q4", "auto", weights,
         "type of the matrices; auto: as they lie in the file; else converted at load")},
    {ROW("weights", OPTION_TEXT, FOR_BENCH, "LIST", "auto", weight_list,
         "types of the matrices, measured one after another, as bf16,q8,q4; auto: as they lie in the file")},
    {ROW("kv", OPTION_CHOICE, PLANS, "auto|f32|f16|bf16|q8", "auto", kv,
         "type of the KV cache; auto: f32 for f32 weights, else f16")},
    {ROW("kv-memory", OPTION_SIZE, PLANS & ~FOR_LOGITS, "SIZE", "0", kv_memory_bytes,
         "KV pool; 0: what the memory limit leaves, at most --parallel full contexts")},
    {ROW("memory-limit", OPTION_SIZE, PLANS, "SIZE", "0", memory_limit_bytes,
         "bound on all memory; 0: the cgroup's limit, else physical memory")},
    {ROW("threads", OPTION_INT, PLANS, "N", "0", threads,
         "compute threads; 0: what affinity and the CPU quota give, followed while running"),
     .max = 1024},
    {ROW("cpu-mask", OPTION_TEXT, LOADS, "LIST", NULL, cpu_mask, "run on these CPUs only, as 0-3,8")},
    {ROW("isa", OPTION_CHOICE, PLANS, "auto|scalar|avx2|avx2vnni|avx512|amx|neon", "auto", isa,
         "instruction set of the kernels")},
    {ROW("compute", OPTION_CHOICE, PLANS, "auto|f32", "auto", compute,
         "f32: never round activations to the weights' type")},

    HEADING(FOR_SERVE, "Worker"),
    {ROW("worker-id", OPTION_TEXT, FOR_SERVE, "ID", NULL, worker_id, "name in the callback; default tallow-PID")},
    {ROW("host", OPTION_TEXT, FOR_SERVE, "ADDRESS", "127.0.0.1", host, "address to listen on, or unix:/path.sock")},
    {ROW("port", OPTION_INT, FOR_SERVE, "N", "8080", port, "port to listen on; 0: any free one"), .max = 65535},
    {ROW("callback-url", OPTION_TEXT, FOR_SERVE, "URL", NULL, callback_url, "told by POST once the model is ready")},
    {ROW("callback-timeout", OPTION_MS, FOR_SERVE, "TIME", "30s", callback_timeout_ms,
         "how long to try before exiting with 6")},
    {ROW("advertise-host", OPTION_TEXT, FOR_SERVE, "HOST", NULL, advertise_host,
         "host in the callback's uri; default the bound address when it is a specific one, else 127.0.0.1")},
    {ROW("heartbeat-url", OPTION_TEXT, FOR_SERVE, "URL", NULL, heartbeat_url, "told by POST regularly")},
    {ROW("heartbeat-interval", OPTION_MS, FOR_SERVE, "TIME", "30s", heartbeat_interval_ms, "time between heartbeats"),
     .min = 10},
    {ROW("shutdown-timeout", OPTION_MS, FOR_SERVE, "TIME", "25s", shutdown_timeout_ms,
         "how long running requests may go on after SIGTERM")},
    {ROW("exit-with-parent", OPTION_FLAG, FOR_SERVE, NULL, NULL, exit_with_parent,
         "shut down when the parent process ends")},

    HEADING(FOR_SERVE | FOR_INSPECT, "Requests"),
    {ROW("max-tokens", OPTION_INT, FOR_SERVE, "N", "2048", max_tokens, "cap and default of a request's max_tokens"),
     .min = 1, .max = OPTION_NO_MAX},
    {ROW("queue", OPTION_INT, FOR_SERVE, "N", "64", max_queue, "requests that may wait"), .min = 1, .max = 10000},
    {ROW("max-gap-ms", OPTION_INT, FOR_SERVE, "MS", "250", max_gap_ms,
         "bound on the pause that another's long prompt puts between a stream's tokens"),
     .min = 1, .max = 60000},
    {ROW("max-connections", OPTION_INT, FOR_SERVE | FOR_INSPECT, "N", "1100", max_connections, "open connections"),
     .min = 1, .max = 100000},
    {ROW("max-body", OPTION_SIZE, FOR_SERVE, "SIZE", "1MB", max_body_bytes, "largest request body")},

    HEADING(FOR_SERVE, "Access"),
    {ROW("api-key", OPTION_TEXT, FOR_SERVE, "KEY", NULL, api_key,
         "key that requests must carry as `Authorization: Bearer KEY`"),
     .source = FROM_ENVIRONMENT},
    {ROW("api-key-file", OPTION_TEXT, FOR_SERVE, "FILE", NULL, api_key_file, "keys, one per line; reread on SIGHUP")},
    {ROW("share-cache", OPTION_FLAG, FOR_SERVE, NULL, NULL, share_cache,
         "requests with different keys may share cached prefixes (their timing then tells of each other)")},
    {ROW("insecure", OPTION_FLAG, FOR_SERVE, NULL, NULL, insecure, "serve other machines without a key")},
    {ROW("cors-origin", OPTION_TEXT, FOR_SERVE, "ORIGIN", NULL, cors_origin,
         "web pages of this origin may use the server; *: all")},

    HEADING(FOR_GENERATE, "Generation"),
    {ROW("prompt", OPTION_TEXT, FOR_GENERATE, "TEXT", NULL, prompt, "prompt; default standard input"), .letter = 'p'},
    {ROW("max-tokens", OPTION_INT, FOR_GENERATE, "N", "256", max_tokens, "tokens to generate at most"), .min = 1,
     .max = OPTION_NO_MAX},
    {ROW("temperature", OPTION_NUMBER, FOR_GENERATE, "X", "1", temperature, "0: always the likeliest token"), .max = 2},
    {ROW("top-k", OPTION_INT, FOR_GENERATE, "N", "0", top_k, "draw from the N likeliest tokens; 0: all"),
     .max = OPTION_NO_MAX},
    {ROW("top-p", OPTION_NUMBER, FOR_GENERATE, "X", "1", top_p, "draw from the likeliest tokens that sum to X"),
     .max = 1},
    {ROW("min-p", OPTION_NUMBER, FOR_GENERATE, "X", "0", min_p, "drop tokens less likely than X times the likeliest"),
     .max = 1},
    {ROW("repetition-penalty", OPTION_NUMBER, FOR_GENERATE, "X", "1", repetition_penalty,
         "above 1: tokens of prompt and output become less likely"),
     .min = 0.01, .max = 2},
    {ROW("seed", OPTION_UINT64, FOR_GENERATE, "N", NULL, seed, "same seed, same text; default drawn at random")},
    {ROW("stop", OPTION_TEXTS, FOR_GENERATE, "TEXT", NULL, stops, "end before this text; up to 4 times")},
    {ROW("ignore-eos", OPTION_FLAG, FOR_GENERATE, NULL, NULL, ignore_eos, "go on after the end-of-text token")},
    {ROW("stats", OPTION_FLAG, FOR_GENERATE, NULL, NULL, stats, "print seed, counts and speed to standard error")},

    HEADING(TEXTS, "Text"),
    {ROW("no-special", OPTION_FLAG, FOR_TOKENIZE, NULL, NULL, no_special, "do not add BOS or EOS")},
    {ROW("parse-special", OPTION_FLAG, FOR_TOKENIZE, NULL, NULL, parse_special,
         "control tokens spelled in the text become their ids")},
    {ROW("keep-special", OPTION_FLAG, FOR_DETOKENIZE, NULL, NULL, keep_special, "print control tokens, too")},

    HEADING(FOR_LOGITS, "Logits"),
    {ROW("tokens", OPTION_TEXT, FOR_LOGITS, "IDS", NULL, tokens, "token ids, as 1,403,407")},
    {ROW("all", OPTION_FLAG, FOR_LOGITS, NULL, NULL, all, "logits after every token, not only the last")},
    {ROW("npy", OPTION_TEXT, FOR_LOGITS, "FILE", NULL, npy,
         "write a NumPy array [n_tokens, vocab] of f32 instead of text; -: standard output")},
    {ROW("slice", OPTION_INT, FOR_LOGITS, "N", "0", slice,
         "rows per slice of prefill, a multiple of the tile; 0: as many as fit"),
     .max = OPTION_NO_MAX},
    {ROW("decode-from", OPTION_INT, FOR_LOGITS, "N", NULL, decode_from,
         "compute tokens from position N on one by one, as in generation; default none"),
     .max = OPTION_NO_MAX},

    HEADING(FOR_BENCH, "Measuring"),
    {ROW("prefill", OPTION_TEXT, FOR_BENCH, "LIST", NULL, prefill, "lengths of prompts; default 32,128,512,2048")},
    {ROW("depths", OPTION_TEXT, FOR_BENCH, "LIST", NULL, depths,
         "depths at which one stream decodes; default 0,512,2048,8192")},
    {ROW("streams", OPTION_TEXT, FOR_BENCH, "LIST", NULL, streams,
         "numbers of streams that decode together; default 1,2,4,8,16")},
    {ROW("quick", OPTION_FLAG, FOR_BENCH, NULL, NULL, quick, "fewer shapes and repeats")},
    {ROW("repeats", OPTION_INT, FOR_BENCH, "N", "0", repeats,
         "of each measurement, the median counts; 0: 5, fewer of what takes long"),
     .max = 101},
    {ROW("plot", OPTION_TEXT, FOR_BENCH, "FILE", NULL, plot, "write a roofline chart with the results on it, as SVG")},
    {ROW("text", OPTION_TEXT, FOR_BENCH, "FILE", NULL, text, "measure the tokenizer on this text, too")},

    HEADING(FOR_PERPLEXITY, "Comparing"),
    {ROW("reference", OPTION_FLAG, FOR_PERPLEXITY, NULL, NULL, reference,
         "load the model a second time in f32 and measure the distance from it")},

    HEADING(FOR_ALL, "General"),
    {ROW("json", OPTION_FLAG, FOR_INSPECT | FOR_BENCH | FOR_PERPLEXITY | TEXTS, NULL, NULL, json, "print JSON")},
    {ROW("log-level", OPTION_CHOICE, PLANS, "debug|info|warn|error|off", "info", log_level,
         "least severe messages on standard error; other commands than serve start from warn")},
    {ROW("log-format", OPTION_CHOICE, PLANS, "auto|plain|json", "auto", log_format,
         "auto: plain on a terminal, else JSON lines")},
    {ROW("quiet", OPTION_FLAG, PLANS, NULL, NULL, quiet, "log errors only, show no progress"), .letter = 'q'},
    {ROW("help", OPTION_FLAG, FOR_ALL, NULL, NULL, help, "print this"), .letter = 'h', .source = FROM_FLAG},
    {ROW("version", OPTION_FLAG, FOR_ALL, NULL, NULL, version, "print the version"), .source = FROM_FLAG},
};
const int n_option_rows = sizeof option_rows / sizeof *option_rows;
_Static_assert(sizeof option_rows / sizeof *option_rows <= OPTIONS_MAX_ROWS, "struct options counts rows up to this");
