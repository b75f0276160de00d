/* `tallow manual`: the man page tallow(1), made of the tables of commands and options, in the macros of man(7); with
 * --markdown the options alone, as README.md has them (`make reference`). */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/config_file.h"
#include "cli/version.h"

/* Text as troff must have it: dashes that stay dashes, no control line by accident. */
static void print_text(const char *text)
{
	if (*text == '.' || *text == '\'')
		printf("\\&");
	for (; *text; text++) {
		if (*text == '-')
			printf("\\-");
		else if (*text == '\\')
			printf("\\e");
		else
			putchar(*text);
	}
}

static void print_lines(const char *const *lines)
{
	for (; *lines; lines++) {
		print_text(*lines);
		putchar('\n');
	}
}

static void print_commands(void)
{
	printf(".SH COMMANDS\n");
	for (int i = 0; i < n_commands; i++) {
		printf(".TP\n.B ");
		print_text(commands[i].usage);
		printf("\n");
		print_text(commands[i].summary);
		printf(".\n");
	}
}

/* "serve, generate": which commands take a row; nothing where all do. */
static void who_takes(const struct option_row *row, char *out, size_t capacity)
{
	unsigned all = 0;
	size_t length = 0;
	for (int i = 0; i < n_commands; i++)
		all |= commands[i].bit;
	*out = '\0';
	if ((row->commands & all) == all)
		return;
	for (int i = 0; i < n_commands && length < capacity; i++)
		if (commands[i].bit & row->commands)
			length += (size_t)snprintf(out + length, capacity - length, "%s%s", length ? ", " : "", commands[i].name);
}

/* The default, where the row's text does not tell of it already. */
static const char *told_default(const struct option_row *row)
{
	return row->fallback && (strcmp(row->fallback, "0") != 0 || !strstr(row->help, "0:")) ? row->fallback : NULL;
}

static void print_option(const struct option_row *row)
{
	char variable[64], who[256];
	printf(".TP\n");
	if (row->kind == OPTION_PATH) {
		printf(".I %s\n", row->value);
	} else if (row->source == FROM_ENVIRONMENT) {
		option_variable(row, variable, sizeof variable);
		printf(".BI %s= %s\n", variable, row->value);
	} else {
		printf(".BI \"");
		if (row->letter)
			printf("\\-%c, ", row->letter);
		printf("\\-\\-");
		print_text(row->name);
		printf(row->value ? " \" \"" : "\"\n");
		if (row->value) {
			print_text(row->value);
			printf("\"\n");
		}
	}
	print_text(row->help);
	if (told_default(row)) {
		printf(" [");
		print_text(row->fallback);
		printf("]");
	}
	who_takes(row, who, sizeof who);
	if (*who)
		printf("\n(%s)", who);
	printf("\n");
}

static void print_options(void)
{
	printf(".SH OPTIONS\nEach option names the commands that take it, unless all do.\n");
	for (int i = 0; i < n_option_rows; i++) {
		const struct option_row *row = &option_rows[i];
		if (row->kind == OPTION_HEADING) {
			printf(".SS ");
			print_text(row->help);
			printf("\n");
		} else {
			print_option(row);
		}
	}
}

/* ---- Markdown ---- */

/* A text within a cell: no bar ends it. In code (`ticks`) nothing else has a meaning. */
static void print_cell(const char *text, bool ticks)
{
	for (; *text; text++) {
		if (*text == '|' || (!ticks && (*text == '<' || *text == '*')))
			putchar('\\');
		putchar(*text);
	}
}

static void print_markdown_option(const struct option_row *row)
{
	char variable[64], who[256];
	printf("| `");
	if (row->source == FROM_ENVIRONMENT) {
		option_variable(row, variable, sizeof variable);
		printf("%s=", variable);
	} else if (row->kind != OPTION_PATH) {
		printf("--%s", row->name);
		if (row->letter)
			printf("`, `-%c", row->letter);
		if (row->value)
			printf(" ");
	}
	if (row->value)
		print_cell(row->value, true);
	printf("` | ");
	print_cell(row->help, false);
	if (told_default(row)) {
		printf(" [");
		print_cell(row->fallback, false);
		printf("]");
	}
	who_takes(row, who, sizeof who);
	printf(" | %s |\n", *who ? who : "all");
}

static void print_markdown(void)
{
	static const char head[] = "| %s | | of |\n|---|---|---|\n";
	printf(head, "Arguments");
	for (int i = 0; i < n_option_rows; i++) {
		if (option_rows[i].kind == OPTION_HEADING) {
			printf("\n");
			printf(head, option_rows[i].help);
		} else {
			print_markdown_option(&option_rows[i]);
		}
	}
}

bool manual_run(const struct options *options, struct error *error)
{
	static const char *const environment[] = {
	    "Each option can be set as TALLOW_ and its name in capitals, with _ in place of dashes: TALLOW_MAX_TOKENS.",
	    "A flag wins over the environment, the environment over the file.", NULL};
	static const char *const file[] = {
	    "--config names a file of lines `name = value`, with the names of the flags; serve and health read",
	    CONFIG_FILE_DEFAULT " where there is one and no other is named.",
	    "Blank lines and lines that begin with # count for nothing. What the file says of other commands' options is "
	    "passed",
	    "over; a name that no command knows is an error.", NULL};
	(void)error;
	if (options->markdown) {
		print_markdown();
		return true;
	}
	printf(".\\\" Made by `tallow manual`.\n.TH TALLOW 1 \"\" \"tallow %s\" \"User Commands\"\n"
	       ".SH NAME\ntallow \\- " CLI_WHAT_IT_IS "\n.SH SYNOPSIS\n.B tallow\n.RI [ command ]\n.RI [ options ]\n"
	       ".SH DESCRIPTION\n"
	       "Without a command it serves: it maps a model, says that it is ready, answers health checks, and streams "
	       "tokens.\n",
	       TALLOW_VERSION);
	print_commands();
	print_options();
	printf(".SH ENVIRONMENT\n");
	print_lines(environment);
	printf(".SH FILES\n");
	print_lines(file);
	printf(".SH EXIT STATUS\n");
	print_text(CLI_EXIT_CODES);
	printf("\n");
	return true;
}
