/* The engine's inside: which thread owns which field. Its functions lie in life.c, load.c, step.c, catch_up.c,
 * submit.c, status.c.
 *
 * One mutex guards what several threads look at. The model, the KV pages' content and a running sequence belong to the
 * engine's thread and are touched without it. Nothing is logged, and no event is waited for, while the mutex is held.
 */
#ifndef TALLOW_ENGINE_ENGINE_PRIVATE_H
#define TALLOW_ENGINE_ENGINE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/engine.h"
#include "engine/masker.h"
#include "engine/metrics.h"
#include "engine/prefix_cache.h"
#include "engine/scheduler.h"
#include "engine/sequence.h"
#include "model/model.h"

struct engine {
	/* ---- set by engine_create, read by all ---- */
	struct engine_options options; /* defaults filled in; `model` points to the next */
	struct model_options model_options;
	char *path;
	char *name;
	char *template_path; /* NULL: the model's own templates */
	int64_t created_ns;

	/* ---- of whoever starts and stops the engine: one thread ---- */
	pthread_t thread;
	bool thread_runs;

	/* ---- any thread ---- */
	atomic_bool hurry;         /* catching up ends at its next matrix */
	atomic_int wanted_threads; /* 0 = no change */
	struct constraint_memory constraints;

	/* ---- guarded by the mutex ---- */
	pthread_mutex_t mutex;
	pthread_cond_t work;    /* the engine's thread waits for something to do */
	pthread_cond_t changed; /* others wait for the state to change */
	enum engine_state state;
	enum load_stage load_stage;
	struct error error; /* when FAILED */
	bool leaving;
	bool stopping;
	bool loaded;         /* what the thread made while it loaded is there */
	bool fault_is_final; /* nothing runs any more */
	int n_faults;        /* answers in a row whose logits were not finite */
	struct error fault;  /* why the engine is unfit; else code NONE */
	uint64_t load_bytes_done, load_bytes_total;
	struct scheduler *scheduler;
	struct prefix_cache *cache;
	/* [n_sequences], by the scheduler's id; NULL = free. Of one that was admitted the engine's thread alone changes what is
	 * in it and that it is there, and so reads both without the mutex. */
	struct sequence **sequences;
	struct catch_up *catch_ups;        /* a list of answers, the newest first (catch_up.c) */
	int n_catch_ups, n_catch_up_pages; /* pages: that the step which runs holds, nobody's as soon as there is work */
	int n_active;                      /* threads that compute now */
	int64_t step_started_ns;           /* 0 while idle */
	uint64_t n_groups;                 /* of requests with one prompt, so far */
	struct engine_metrics metrics;
	struct rate rate;

	/* ---- made by the engine's thread; once `loaded`, read by all and changed by nobody ---- */
	struct tokenizer *tokenizer;
	struct grammar_vocabulary *vocabulary; /* for constraints and bad_words; NULL: see its error */
	struct chat_template *chat_template;   /* likewise */
	struct error vocabulary_error;
	struct error chat_error;
	struct error pooling_error; /* where pooling is NONE */
	enum pooling pooling;       /* of embeddings, never AUTO */
	struct sampling sampling;   /* requests' defaults; of no request, so it has no lists */
	int n_sequences;
	struct model_files *files;
	struct model *model;                 /* its config and plan; the rest is the engine's thread's */
	struct model_config config;          /* with the tokenizer's EOS */
	struct engine_status facts;          /* what engine_status says that does not change */
	char model_sha256[DIGEST_HEX_BYTES]; /* "" where nobody asked */
	bool decode_is_prefill; /* a decoded row has the bits of a prefilled one: pages of answers are shared, too */

	/* ---- the engine's thread alone ---- */
	struct sampler *sampler;
	float *kept_logits; /* [vocab_size] of a token that may have to be drawn again */
	struct masker *masker;
	struct sequence **constrained; /* [n_sequences] of the step, for the masker */
	struct forward_span *spans;    /* [n_sequences] */
	int *span_owners;              /* [n_sequences] id of the sequence of each span; -1 once that has ended */
	struct sequence *ended;        /* a list, in order: pages and places are given back, their end is not told yet */
};

/* True on the engine's thread between the plan of a step and its last event: nothing is allocated there. For the test that
 * counts (tests/unit/test_step_memory.c). */
extern _Thread_local bool engine_in_step;

/* Fills what `loaded` stands for. On failure engine_destroy frees what is there. */
bool engine_load(struct engine *engine, struct error *error) MUST_USE;
/* Makes steps until `stopping`, then ends what is left. */
void engine_serve(struct engine *engine);
/* Locked. An answer ended: faulty with logits that were not finite, or well. */
void engine_count_fault(struct engine *engine, bool faulty);
/* Locked. The sequence has ended; when nothing else is to be done, pages of its answer are made that others can use. Its
 * tokens are taken. */
void catch_up_add(struct engine *engine, struct sequence *sequence);
/* Locked, and meanwhile not. Computes some of that; false when there is none. */
bool catch_up_step(struct engine *engine);
void catch_up_clear(struct engine *engine);
/* Locked. Loaded and neither failed nor stopped. */
bool engine_is_loaded(const struct engine *engine);

#endif
