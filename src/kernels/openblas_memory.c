/* Makes OpenBLAS's serial build safe to call from several threads at once, and takes its memory in time.
 *
 * Its products are pure functions but for one thing: the work buffer that each call takes from a table and gives back,
 * which the serial build does without a lock, so that two threads can take the same one (and then compute nonsense). The
 * linker redirects both functions to these (--wrap in the Makefile). Why the serial build at all: include/kernels/kernels.h
 * and the Makefile.
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "kernels/matmul.h"
#include "kernels/openblas_memory.h"

/* What one buffer takes of the address space, of which little is touched: 32 << 22 on x86-64, no more elsewhere
 * (BUFFER_SIZE in OpenBLAS's common_*.h). */
enum { BUFFER_BYTES = 128 << 20 };

static pthread_mutex_t table = PTHREAD_MUTEX_INITIALIZER;

void *__wrap_blas_memory_alloc(int position)
{
	pthread_mutex_lock(&table);
	void *buffer = __real_blas_memory_alloc(position);
	pthread_mutex_unlock(&table);
	return buffer;
}

void __wrap_blas_memory_free(void *buffer)
{
	pthread_mutex_lock(&table);
	__real_blas_memory_free(buffer);
	pthread_mutex_unlock(&table);
}

static bool has_room(void)
{
	void *memory = mmap(NULL, BUFFER_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return memory != MAP_FAILED && munmap(memory, BUFFER_BYTES) == 0;
}

/* Buffers that were given back stay in the table, mapped, and are what the next calls get. */
bool matmul_reserve(int n_threads, struct error *error)
{
	void **buffers = calloc((size_t)n_threads, sizeof *buffers);
	int n = 0;
	while (buffers && n < n_threads && has_room())
		buffers[n++] = __wrap_blas_memory_alloc(0);
	for (int i = 0; i < n; i++)
		__wrap_blas_memory_free(buffers[i]);
	free(buffers);
	return n == n_threads ||
	       error_set(
	           error, ERROR_MEMORY,
	           "OpenBLAS wants %d MiB of addresses for each of %d threads, and there was room for %d: raise ulimit -v "
	           "or use fewer --threads",
	           BUFFER_BYTES >> 20, n_threads, n);
}
