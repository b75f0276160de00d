#include "cli/version.h"

#include <stdio.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/platform.h"
#include "cli/chat/lines.h"
#include "kernels/kernels.h"
#include "server/server.h"
#include "text/tokenizer.h"
#include "worker/worker.h"

/* The Makefile tells. */
#ifndef TALLOW_COMMIT
#define TALLOW_COMMIT "unknown"
#endif

static void print_libraries(void)
{
	static void (*const append[])(struct bytes *) = {
	    server_library_version, server_compression_version, json_library_version,   kernels_library_version,
	    text_library_versions,  worker_library_version,     digest_library_version, lines_library_version};
	struct bytes names = {0};
	for (size_t i = 0; i < sizeof append / sizeof *append; i++) {
		bytes_append_text(&names, i ? ", " : "");
		append[i](&names);
	}
	printf("libraries: %s\n", names.data ? names.data : "");
	bytes_free(&names);
}

void version_print(void)
{
	struct platform_cpu cpu;
	platform_cpu(&cpu);
	printf("tallow %s\ncommit: %s\ncompiler: %s\n", TALLOW_VERSION, TALLOW_COMMIT, "gcc " __VERSION__);
	print_libraries();
	printf("instruction sets here:");
	for (enum isa isa = ISA_SCALAR; isa < ISA_COUNT; isa++)
		if (!isa_missing_feature(isa, &cpu))
			printf(" %s", isa_name(isa));
	printf("\n");
}
