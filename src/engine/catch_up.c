/* Catching up: pages of answers for the next turn of a conversation.
 *
 * Where decoding has bits of its own, the pages that it filled are of no use to others, and everywhere the last token of an
 * answer was never computed. So when nothing else is to be done, the full pages of what was said last are computed again as
 * prefill would, into the prefix cache, and a next turn finds them with the bits of a cold run. A step's pages are held during
 * that step alone; a request that comes meanwhile ends it at its next matrix. Once all is caught up nothing runs.
 *
 * It was weighed against leaving it to the next turn: that is the same work, at a time when somebody waits for it.
 */
#include <stdlib.h>

#include "engine/engine_private.h"

enum { MAX_ANSWERS = 32, ROWS_AT_ONCE = 128 };

struct catch_up {
	struct catch_up *next;
	struct prefix_chain chain; /* before the first page */
	int32_t *tokens;           /* [n_pages, page_tokens] */
	int n_pages, n_known; /* known: that the cache had when somebody last looked; if it has less, room was needed */
	int32_t pages[];      /* [n_pages], of a step */
};

static void drop_after(struct engine *engine, struct catch_up **place)
{
	while (*place) {
		struct catch_up *answer = *place;
		*place = answer->next;
		engine->n_catch_ups--;
		free(answer->tokens);
		free(answer);
	}
}

void catch_up_clear(struct engine *engine)
{
	drop_after(engine, &engine->catch_ups);
}

void catch_up_add(struct engine *engine, struct sequence *sequence)
{
	int n_pages = (int)(sequence->n_tokens / engine->facts.kv_page_tokens);
	if (n_pages <= sequence->n_published || sequence->request.embeds || sequence->outcome == OUTCOME_FAILED ||
	    sequence_output_tokens(sequence) == 0 || engine->state != ENGINE_READY)
		return;
	struct catch_up *answer = malloc(sizeof *answer + (size_t)n_pages * sizeof answer->pages[0]);
	if (!answer)
		return; /* the next turn computes it */
	*answer = (struct catch_up){
	    .next = engine->catch_ups,
	    .chain = {.key = sequence->chain.key, .rope_variant = sequence->chain.rope_variant},
	    .tokens = sequence->tokens,
	    .n_pages = n_pages,
	    .n_known = sequence->n_published,
	};
	sequence->tokens = NULL;
	sequence->request.prompt = NULL;
	engine->catch_ups = answer;
	if (++engine->n_catch_ups <= MAX_ANSWERS)
		return;
	struct catch_up **last = &engine->catch_ups;
	while ((*last)->next)
		last = &(*last)->next;
	drop_after(engine, last);
}

/* Pages of the answer, from the first on, that the cache has: held, with the chain behind them. */
static int find_pages(struct engine *engine, struct catch_up *answer, struct prefix_chain *chain)
{
	int64_t page_tokens = engine->facts.kv_page_tokens;
	int n = 0;
	*chain = answer->chain;
	while (n < answer->n_pages &&
	       (answer->pages[n] = prefix_cache_find(engine->cache, chain, answer->tokens + n * page_tokens)) >= 0)
		n++;
	return n;
}

/* Locked but for the forward itself. Fills pages [n_found, n) and publishes them unless somebody hurries. */
static void compute_pages(struct engine *engine, struct catch_up *answer, struct prefix_chain chain, int n_found, int n)
{
	int64_t page_tokens = engine->facts.kv_page_tokens;
	struct forward_span span = {
	    .tokens = answer->tokens + n_found * page_tokens,
	    .n_rows = (n - n_found) * (int)page_tokens,
	    .phase = ROWS_PREFILL,
	    .position = n_found * page_tokens,
	    .rope_variant = chain.rope_variant,
	    .pages = answer->pages,
	    .n_pages = n,
	    .logits = LOGITS_NONE,
	    .cancel = &engine->hurry,
	};
	engine->n_catch_up_pages = n;
	atomic_store(&engine->hurry, false); /* whoever came before this was planned for */
	pthread_mutex_unlock(&engine->mutex);
	prefix_cache_wipe(engine->cache);
	model_forward(engine->model, &span, 1);
	pthread_mutex_lock(&engine->mutex);
	engine->n_catch_up_pages = 0;
	for (int i = n_found; i < n && !span.cancelled; i++) {
		prefix_cache_add(engine->cache, &chain, answer->tokens + i * page_tokens, answer->pages[i]);
		answer->n_known = i + 1;
	}
}

bool catch_up_step(struct engine *engine)
{
	struct catch_up *answer = engine->catch_ups;
	if (!answer || engine->state != ENGINE_READY)
		return false;
	struct prefix_chain chain;
	int most = ROWS_AT_ONCE / engine->facts.kv_page_tokens;
	int n_found = find_pages(engine, answer, &chain), n = n_found;
	bool goes_on = n_found >= answer->n_known && n_found < answer->n_pages;
	while (goes_on && n < answer->n_pages && n - n_found < (most > 1 ? most : 1) &&
	       (answer->pages[n] = prefix_cache_take(engine->cache, chain.key)) >= 0)
		n++;
	if (n > n_found)
		compute_pages(engine, answer, chain, n_found, n);
	prefix_cache_release(engine->cache, answer->pages, n);
	if (n == n_found || answer->n_known == answer->n_pages) {
		engine->catch_ups = answer->next;
		answer->next = NULL;
		drop_after(engine, &answer);
	}
	return true;
}
