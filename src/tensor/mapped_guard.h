/* What a file can do to whoever has it mapped: lose pages (it was cut, or its disk fails), which the kernel tells by a signal
 * that ends the process, or change in place, which it does not tell at all.
 *
 * Regions that are guarded get zeros in place of what they lost, and it is remembered (mapped_lost in tensor/weight_file.h).
 */
#ifndef TALLOW_TENSOR_MAPPED_GUARD_H
#define TALLOW_TENSOR_MAPPED_GUARD_H

#include <stdbool.h>
#include <sys/stat.h>

#include "tensor/mapped_file.h"

/* `info` is what fstat said when the file was mapped. False beyond MAPPED_MAX_FILES. */
bool mapped_guard(const char *path, const struct mapped_file *file, const struct stat *info) MUST_USE;
/* Before it is unmapped. */
void mapped_unguard(const struct mapped_file *file);

#endif
