/* OpenBLAS's internal buffer table, as the linker renames it; see openblas_memory.c. */
#ifndef TALLOW_KERNELS_OPENBLAS_MEMORY_H
#define TALLOW_KERNELS_OPENBLAS_MEMORY_H

void *__real_blas_memory_alloc(int position);
void __real_blas_memory_free(void *buffer);
void *__wrap_blas_memory_alloc(int position);
void __wrap_blas_memory_free(void *buffer);

#endif
