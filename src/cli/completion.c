/* `tallow completion bash|zsh|fish`: a script for that shell, made of the tables of commands and options. */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"

static bool is_flag(const struct option_row *row, unsigned command)
{
	return (row->commands & command) && row->kind != OPTION_HEADING && row->kind != OPTION_PATH &&
	       row->source != FROM_ENVIRONMENT;
}

static bool takes_path(const struct option_row *row)
{
	return row->value && (strcmp(row->value, "PATH") == 0 || strcmp(row->value, "FILE") == 0 ||
	                      strcmp(row->value, "MODEL") == 0 || strcmp(row->value, "CONVERSATION") == 0);
}

/* "a|b|c" as "a b c" */
static void print_choices(const char *choices)
{
	for (; *choices; choices++)
		putchar(*choices == '|' ? ' ' : *choices);
}

/* The values of the first positional argument, where they are known by name. */
static const char *choices_of_argument(unsigned command)
{
	for (int i = 0; i < n_option_rows; i++)
		if (option_rows[i].kind == OPTION_PATH && (option_rows[i].commands & command) &&
		    strchr(option_rows[i].value, '|'))
			return option_rows[i].value;
	return NULL;
}

/* ---- bash ---- */

static void print_bash_flags(unsigned command)
{
	for (int i = 0; i < n_option_rows; i++)
		if (is_flag(&option_rows[i], command))
			printf(" --%s", option_rows[i].name);
}

static void print_bash_values(const struct command *command)
{
	for (int i = 0; i < n_option_rows; i++) {
		const struct option_row *row = &option_rows[i];
		if (!is_flag(row, command->bit) || row->kind == OPTION_FLAG)
			continue;
		printf("\t%s:--%s) ", command->name, row->name);
		if (row->kind == OPTION_CHOICE) {
			printf("COMPREPLY=($(compgen -W '");
			print_choices(row->value);
			printf("' -- \"$cur\"));");
		} else if (takes_path(row)) {
			printf("mapfile -t COMPREPLY < <(compgen -f -- \"$cur\");");
		}
		printf(" return;;\n");
	}
}

static void print_bash(void)
{
	printf("# Completion of tallow for bash: eval \"$(tallow completion bash)\"\n"
	       "_tallow() {\n"
	       "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command=serve flags\n"
	       "\tif [ \"$COMP_CWORD\" -gt 1 ] && [ \"${COMP_WORDS[1]#-}\" = \"${COMP_WORDS[1]}\" ]; then "
	       "command=${COMP_WORDS[1]}; fi\n"
	       /* --name=value comes as three words */
	       "\tif [ \"$cur\" = = ]; then cur=; elif [ \"$prev\" = = ]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
	       "\tcase $command:$prev in\n");
	for (int i = 0; i < n_commands; i++)
		print_bash_values(&commands[i]);
	printf("\tesac\n\tcase $command in\n");
	for (int i = 0; i < n_commands; i++) {
		printf("\t%s) flags='", commands[i].name);
		print_bash_flags(commands[i].bit);
		const char *choices = choices_of_argument(commands[i].bit);
		if (choices) {
			putchar(' ');
			print_choices(choices);
		}
		printf("';;\n");
	}
	printf("\tesac\n\tif [ \"$COMP_CWORD\" = 1 ]; then flags=\"$flags");
	for (int i = 0; i < n_commands; i++)
		printf(" %s", commands[i].name);
	printf("\"; fi\n"
	       "\tCOMPREPLY=($(compgen -W \"$flags\" -- \"$cur\"))\n"
	       "\tif [ \"$COMP_CWORD\" -gt 1 ] && [ -z \"${cur##[!-]*}\" ]; then mapfile -t -O ${#COMPREPLY[@]} COMPREPLY "
	       "< <(compgen -f -- \"$cur\"); fi\n"
	       "}\n"
	       "complete -o filenames -F _tallow tallow\n");
}

/* ---- zsh and fish ---- */

/* A text in single quotes of zsh's _arguments or of fish; what would end it, or a description, is left out. */
static void print_plain(const char *text, const char *without)
{
	for (; *text; text++)
		if (*text != '\'' && *text != '\\' && !strchr(without, *text))
			putchar(*text);
}

static void print_zsh_flag(const struct option_row *row)
{
	printf(" \\\n\t\t'");
	if (row->kind == OPTION_TEXTS || row->kind == OPTION_FILES)
		putchar('*');
	printf(row->kind == OPTION_FLAG ? "--%s[" : "--%s=[", row->name);
	print_plain(row->help, "[]:");
	putchar(']');
	if (row->kind == OPTION_CHOICE) {
		printf(":value:(");
		print_choices(row->value);
		putchar(')');
	} else if (row->kind != OPTION_FLAG) {
		printf(":%s:%s", row->value, takes_path(row) ? "_files" : "");
	}
	putchar('\'');
}

static void print_zsh(void)
{
	printf("#compdef tallow\n# Completion of tallow for zsh: tallow completion zsh > a folder of $fpath/_tallow\n"
	       "_tallow() {\n"
	       "\tlocal command=serve\n"
	       "\tif (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then\n"
	       "\t\tlocal -a names=(");
	for (int i = 0; i < n_commands; i++) {
		printf("\n\t\t\t'%s:", commands[i].name);
		print_plain(commands[i].summary, ":");
		putchar('\'');
	}
	printf(")\n\t\t_describe command names\n\t\treturn\n\tfi\n"
	       "\tif [[ $words[2] != -* ]]; then command=$words[2]; shift words; (( CURRENT-- )); fi\n"
	       "\tcase $command in\n");
	for (int i = 0; i < n_commands; i++) {
		printf("\t%s) _arguments", commands[i].name);
		for (int k = 0; k < n_option_rows; k++)
			if (is_flag(&option_rows[k], commands[i].bit))
				print_zsh_flag(&option_rows[k]);
		const char *choices = choices_of_argument(commands[i].bit);
		printf(" \\\n\t\t'*:argument:");
		if (choices) {
			putchar('(');
			print_choices(choices);
			printf(")';;\n");
		} else {
			printf("_files';;\n");
		}
	}
	printf("\tesac\n}\ncompdef _tallow tallow\n");
}

static void print_fish_flag(const struct command *command, const struct option_row *row)
{
	/* Without a command it is serve that the options are for. */
	printf("complete -c tallow -n '");
	printf(command->bit == FOR_SERVE ? "not __fish_seen_subcommand_from $tallow_others"
	                                 : "__fish_seen_subcommand_from %s",
	       command->name);
	printf("' -l %s", row->name);
	if (row->letter)
		printf(" -s %c", row->letter);
	if (row->kind == OPTION_CHOICE) {
		printf(" -xa '");
		print_choices(row->value);
		putchar('\'');
	} else if (row->kind != OPTION_FLAG) {
		printf(takes_path(row) ? " -rF" : " -x");
	}
	printf(" -d '");
	print_plain(row->help, "");
	printf("'\n");
}

static void print_fish(void)
{
	printf("# Completion of tallow for fish: tallow completion fish > ~/.config/fish/completions/tallow.fish\n"
	       "set -g tallow_others");
	for (int i = 0; i < n_commands; i++)
		if (commands[i].bit != FOR_SERVE)
			printf(" %s", commands[i].name);
	putchar('\n');
	for (int i = 0; i < n_commands; i++) {
		printf("complete -c tallow -n __fish_use_subcommand -xa %s -d '", commands[i].name);
		print_plain(commands[i].summary, "");
		printf("'\n");
		const char *choices = choices_of_argument(commands[i].bit);
		if (choices) {
			printf("complete -c tallow -n '__fish_seen_subcommand_from %s' -xa '", commands[i].name);
			print_choices(choices);
			printf("'\n");
		}
		for (int k = 0; k < n_option_rows; k++)
			if (is_flag(&option_rows[k], commands[i].bit))
				print_fish_flag(&commands[i], &option_rows[k]);
	}
}

bool completion_run(const struct options *options, struct error *error)
{
	const char *shell = options->path ? options->path : "";
	if (strcmp(shell, "bash") == 0)
		print_bash();
	else if (strcmp(shell, "zsh") == 0)
		print_zsh();
	else if (strcmp(shell, "fish") == 0)
		print_fish();
	else if (!*shell)
		return error_set(error, ERROR_USAGE, "which shell? tallow completion bash, zsh or fish");
	else
		return error_set(error, ERROR_USAGE, "completion is for bash, zsh or fish (got \"%.40s\")", shell);
	return true;
}
