/* Compiling is bounded for the process: how much one constraint takes, and how many are compiled at a time. */
#include <pthread.h>

#include "text/grammar/grammar_private.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t one_ended = PTHREAD_COND_INITIALIZER;
static int n_compiling;
static size_t most_bytes = GRAMMAR_MAX_BYTES;

void grammars_allow(size_t max_bytes)
{
	pthread_mutex_lock(&mutex);
	most_bytes = max_bytes;
	pthread_mutex_unlock(&mutex);
}

size_t compiling_begin(void)
{
	pthread_mutex_lock(&mutex);
	while (n_compiling == GRAMMAR_COMPILERS)
		pthread_cond_wait(&one_ended, &mutex);
	n_compiling++;
	size_t max_bytes = most_bytes;
	pthread_mutex_unlock(&mutex);
	return max_bytes;
}

void compiling_end(void)
{
	pthread_mutex_lock(&mutex);
	n_compiling--;
	pthread_cond_signal(&one_ended);
	pthread_mutex_unlock(&mutex);
}
