/* From the command line to a command, and from its error to an exit code (include/cli/cli.h). */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/platform.h"
#include "cli/commands.h"
#include "cli/option_values.h"
#include "cli/screen.h"
#include "cli/setup.h"
#include "cli/version.h"
#include "worker/worker.h"

/* ---- help ---- */

enum { SUMMARY_COLUMN = 15 };

static void print_help(const struct command *command, bool all)
{
	printf("tallow %s - %s\n\nusage: %s\n       %s.\n", TALLOW_VERSION, CLI_WHAT_IT_IS, command->usage,
	       command->summary);
	if (all) {
		printf("\nCommands (tallow COMMAND --help tells more)\n");
		for (int i = 0; i < n_commands; i++) {
			printf("  %-12s ", commands[i].name);
			screen_print(SUMMARY_COLUMN, SUMMARY_COLUMN, "%s", commands[i].summary);
		}
		printf("\nOptions of serve\n");
	}
	options_print(command->bit);
	screen_print(0, 0, "Exit codes: " CLI_EXIT_CODES);
}

/* ---- choosing the command ---- */

static const struct command *find_command(const char *name, struct error *error)
{
	const struct command *nearest = &commands[0];
	for (int i = 0; i < n_commands; i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
		if (edit_distance(commands[i].name, name) < edit_distance(nearest->name, name))
			nearest = &commands[i];
	}
	error_set(error, ERROR_USAGE, "unknown command %.60s; the nearest is %s (tallow --help lists all)", name,
	          nearest->name);
	return NULL;
}

/* ---- the end ---- */

/* What the caller of a command got wrong has codes of its own for HTTP; here it is usage, unless the table says what else
 * it is. */
static int exit_code_of(const struct error *error)
{
	const struct error_info *info = error_info(error->code);
	bool callers_fault = info->http_status >= 400 && info->http_status < 500 && info->exit_code == 70;
	return callers_fault ? 2 : info->exit_code;
}

/* The reason as one plain line, last; before it, where logs are JSON, the same for machines. */
static int report(const struct error *error, const struct options *logged)
{
	int code = exit_code_of(error);
	if (logged && setup_logs_are_json(logged))
		log_event(LOG_ERROR, "exit", NULL, LOG_INT("exit_code", code),
		          LOG_TEXT("code", error_info(error->code)->wire_name), LOG_TEXT("message", error->message));
	char line[sizeof error->message + 16];
	int n_bytes = snprintf(line, sizeof line, "tallow: %s\n", error->message);
	log_raw(STDERR_FILENO, line, (size_t)n_bytes, NULL);
	return code;
}

int cli_main(int argc, char **argv)
{
	platform_fill_standard_descriptors();
	struct options options;
	struct error error = {0};
	bool named = argc > 1 && argv[1][0] != '-';
	const struct command *command = named ? find_command(argv[1], &error) : &commands[0];
	if (command && command->bit == FOR_SERVE)
		worker_hold_signals(); /* before anything that takes time */
	if (!command || !options_parse(&options, command->bit, named ? argc - 1 : argc, named ? argv + 1 : argv, &error))
		return report(&error, NULL);
	bool runs = !options.help && !options.version, ok = true;
	if (runs && !setup_process(&options, command->bit == FOR_SERVE, &error))
		return report(&error, NULL);
	if (options.version)
		version_print();
	else if (options.help)
		print_help(command, !named);
	else
		ok = command->run(&options, &error);
	if (fflush(stdout) != 0 && ok)
		ok = error_set(&error, ERROR_INTERNAL, "cannot write to standard output");
	int code = ok ? 0 : report(&error, runs && command->bit == FOR_SERVE ? &options : NULL);
	log_stop();
	return code;
}
