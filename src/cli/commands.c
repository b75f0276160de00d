/* The table of commands (commands.h). --help lists them in this order. */
#include "cli/commands.h"

#include "cli/bench.h"
#include "cli/setup.h"

static bool bench_command(const struct options *options, struct error *error)
{
	struct bench_options bench = {
	    .weights = options->weight_list,
	    .prefill = options->prefill,
	    .depths = options->depths,
	    .streams = options->streams,
	    .json = options->json,
	    .quick = options->quick,
	    .repeats = (int)options->repeats,
	    .text_path = options->text,
	    .plot_path = options->plot,
	};
	if (!setup_model_options(options, &bench.model, error))
		return false;
	return bench_run(&bench, error);
}

const struct command commands[] = {
    {"serve", FOR_SERVE, "tallow [serve] --model PATH [--port N] [--callback-url URL] ...",
     "load a model and serve it over HTTP", serve_run},
    {"run", FOR_RUN, "tallow run MODEL ...", "find a model by name, choose what fits this machine, talk with it",
     run_run},
    {"list", FOR_LIST, "tallow list [--models-dir DIR] [--json]",
     "print the models on this machine, and which run here", list_run},
    {"chat", FOR_CHAT, "tallow chat --model PATH ...", "talk with a model, at the terminal or through a pipe",
     chat_run},
    {"generate", FOR_GENERATE, "tallow generate --model PATH -p TEXT ...", "continue a prompt on standard output",
     generate_run},
    {"inspect", FOR_INSPECT, "tallow inspect PATH ...",
     "print what is understood of a model, and the memory it would take", inspect_run},
    {"bench", FOR_BENCH, "tallow bench --model PATH ...", "measure prefill, decode and the tokenizer", bench_command},
    {"doctor", FOR_DOCTOR, "tallow doctor [--json]", "tell what this machine gives, and what would make it give more",
     doctor_run},
    {"health", FOR_HEALTH, "tallow health [--host ADDRESS] [--port N]",
     "ask the worker of this machine whether it is ready: 0, or 1 and why not", health_run},
    {"tokenize", FOR_TOKENIZE, "tallow tokenize --model PATH < text", "turn standard input into token ids",
     tokenize_run},
    {"detokenize", FOR_DETOKENIZE, "tallow detokenize --model PATH < ids", "turn token ids into text", detokenize_run},
    {"render", FOR_RENDER, "tallow render CONVERSATION.json --model PATH",
     "print what a chat template makes of a conversation", render_run},
    {"constrain", FOR_CONSTRAIN, "tallow constrain --model PATH --json-schema FILE [--check FILE]... [--json]",
     "say what of a schema or grammar is enforced, and whether texts are accepted", constrain_run},
    {"logits", FOR_LOGITS, "tallow logits --model PATH --tokens 1,403,407 ...",
     "compute logits, to compare with any reference", logits_run},
    {"perplexity", FOR_PERPLEXITY, "tallow perplexity MODEL FILE ...",
     "measure how well a model predicts a text, and how far it is from f32", perplexity_run},
    {"completion", FOR_COMPLETION, "tallow completion bash|zsh|fish",
     "print a script that completes commands and options", completion_run},
    {"manual", FOR_MANUAL, "tallow manual [--markdown]", "print the man page", manual_run},
};
const int n_commands = sizeof commands / sizeof *commands;
