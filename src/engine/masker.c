#include "engine/masker.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/platform.h"
#include "engine/sequence.h"

struct masker {
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	/* Guarded by the mutex. */
	struct sequence **sequences; /* [n] to be done; the thread's own while it works */
	const struct model_config *config;
	int n;
	bool stops;

	bool tried, runs; /* the thread; of the caller's */
};

static void make_masks(struct sequence *const *sequences, int n, const struct model_config *config)
{
	for (int i = 0; i < n; i++)
		constraint_make_mask(sequences[i], config);
}

static void *masker_main(void *argument)
{
	struct masker *masker = argument;
	platform_name_thread("masks");
	pthread_mutex_lock(&masker->mutex);
	while (!masker->stops) {
		if (masker->n == 0) {
			pthread_cond_wait(&masker->changed, &masker->mutex);
			continue;
		}
		pthread_mutex_unlock(&masker->mutex);
		make_masks(masker->sequences, masker->n, masker->config); /* nobody changes them until they are done */
		pthread_mutex_lock(&masker->mutex);
		masker->n = 0;
		pthread_cond_broadcast(&masker->changed);
	}
	pthread_mutex_unlock(&masker->mutex);
	return NULL;
}

struct masker *masker_create(int max_sequences)
{
	struct masker *masker = calloc(1, sizeof *masker);
	if (!masker)
		return NULL;
	pthread_mutex_init(&masker->mutex, NULL);
	pthread_cond_init(&masker->changed, NULL);
	masker->sequences = calloc((size_t)max_sequences, sizeof *masker->sequences);
	if (masker->sequences)
		return masker;
	masker_destroy(masker);
	return NULL;
}

void masker_destroy(struct masker *masker)
{
	if (!masker)
		return;
	pthread_mutex_lock(&masker->mutex);
	masker->stops = true;
	pthread_cond_broadcast(&masker->changed);
	pthread_mutex_unlock(&masker->mutex);
	if (masker->runs)
		pthread_join(masker->thread, NULL);
	pthread_cond_destroy(&masker->changed);
	pthread_mutex_destroy(&masker->mutex);
	free(masker->sequences);
	free(masker);
}

void masker_begin(struct masker *masker, struct sequence *const *sequences, int n, const struct model_config *config)
{
	if (n == 0)
		return;
	if (!masker->tried)
		masker->runs = pthread_create(&masker->thread, NULL, masker_main, masker) == 0;
	masker->tried = true;
	if (!masker->runs) {
		make_masks(sequences, n, config);
		return;
	}
	pthread_mutex_lock(&masker->mutex);
	memcpy(masker->sequences, sequences, (size_t)n * sizeof(struct sequence *));
	masker->config = config;
	masker->n = n;
	pthread_cond_broadcast(&masker->changed);
	pthread_mutex_unlock(&masker->mutex);
}

void masker_wait(struct masker *masker)
{
	pthread_mutex_lock(&masker->mutex);
	while (masker->n > 0)
		pthread_cond_wait(&masker->changed, &masker->mutex);
	pthread_mutex_unlock(&masker->mutex);
}
