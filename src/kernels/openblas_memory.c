/* Makes OpenBLAS's serial build safe to call from several threads at once.
 *
 * Its products are pure functions but for one thing: the work buffer that each call takes from a table and gives back,
 * which the serial build does without a lock, so that two threads can take the same one (and then compute nonsense). The
 * linker redirects both functions to these (--wrap in the Makefile). Why the serial build at all: include/kernels/kernels.h
 * and the Makefile.
 */
#include <pthread.h>

#include "kernels/openblas_memory.h"

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
