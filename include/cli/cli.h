/* The command line: `tallow COMMAND ...`, or flags alone, which is `tallow serve`. */
#ifndef TALLOW_CLI_CLI_H
#define TALLOW_CLI_CLI_H

/* Runs the command and returns the process's exit code (README, "Exit codes"): 0 ended as asked, 2 usage, 3 model cannot
 * be loaded, 4 not enough memory, 5 cannot bind, 6 callback never accepted, 70 internal error. Every other code than 0
 * comes with one plain line on standard error. */
int cli_main(int argc, char **argv);

#endif
