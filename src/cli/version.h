/* What --version tells. */
#ifndef TALLOW_CLI_VERSION_H
#define TALLOW_CLI_VERSION_H

#define TALLOW_VERSION "0.2.0"

/* The version, the commit it was built from, compiler, libraries, and the instruction sets whose kernels this CPU can run. */
void version_print(void);

#endif
