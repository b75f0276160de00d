#include "simulation.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/scheduler.h"

static const int64_t second_ns = 1000000000;
static const double burst_seconds = 2, mean_cancel_after_s = 8;

const int simulation_priorities[PRIORITY_LEVELS] = {-5, 0, 5};

const struct simulation_options simulation_defaults = {
    .seed = 1,
    .hours = 24,
    .n_parallel = 16,
    .max_waiting = 64,
    .context = 4096,
    .page_tokens = 32,
    .tile_rows = 1,
    .max_prefill_rows = 512,
    .max_gap_ms = 250,
    .prefill_row_ms = 3.4,
    .prefill_row_depth_ms = 0.3,
    .decode_step_ms = 28,
    .decode_row_ms = 2.5,
    .decode_row_depth_ms = 0.6,
    .noise = 0.05,
    .requests_per_second = 0.5,
    .bursts_per_hour = 2,
    .burst_requests = 120,
    .long_share = 0.03,
    .cancel_share = 0.05,
    .mean_output = 128,
    .max_tokens = 512,
    .retries = 5,
};

/* ---- numbers ---- */

static int bucket_of(double value)
{
	double bucket = (log2(value > 0x1p-10 ? value : 0x1p-10) + 10) * TALLY_STEPS;
	return bucket < TALLY_BUCKETS - 1 ? (int)bucket : TALLY_BUCKETS - 1;
}

static void tally_add(struct tally *tally, double value, uint64_t weight)
{
	tally->counts[bucket_of(value)] += weight;
	tally->n += weight;
	tally->sum += value * (double)weight;
	tally->max = value > tally->max ? value : tally->max;
}

double tally_quantile(const struct tally *tally, double q)
{
	uint64_t below = 0, rank = (uint64_t)(q * (double)tally->n);
	for (int i = 0; i < TALLY_BUCKETS && tally->n; i++) {
		below += tally->counts[i];
		double upper = exp2((double)(i + 1) / TALLY_STEPS - 10);
		if (below > rank)
			return i == 0 ? 0 : upper < tally->max ? upper : tally->max;
	}
	return tally->max;
}

static uint64_t draw(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static double draw_uniform(uint64_t *state)
{
	return (double)(draw(state) >> 11) * 0x1p-53;
}

static double draw_exponential(uint64_t *state, double mean)
{
	return -mean * log(1 - draw_uniform(state));
}

/* ---- the load: every request of the day, in order of arrival ---- */

enum phase { OUTSIDE, WAITING, PREFILL, AGAIN, DECODE, PAUSED };

struct client {
	int64_t arrival_ns, cancel_ns; /* cancel: INT64_MAX for most */
	int level;                     /* of priority */
	int n_prompt, n_output, n_total;
	bool is_long;
	/* as it runs */
	enum phase phase;
	int64_t try_ns; /* when it asks, first or again */
	int64_t last_token_ns;
	int n_refusals, n_done, n_generated; /* done: tokens that are computed */
	int64_t n_overtaken;
};

struct world {
	const struct simulation_options *options;
	struct simulation_result *result;
	struct scheduler *scheduler;
	uint64_t random;
	struct client *clients; /* [n_clients], by arrival */
	size_t n_clients, capacity, next;
	struct client **returning; /* [n_returning] refused, will ask again */
	size_t n_returning;
	struct client **by_id; /* [n_ids] */
	int n_ids;
	int64_t now_ns;
	int64_t n_gaps, n_late;
};

static bool add_client(struct world *world, double at_s)
{
	const struct simulation_options *options = world->options;
	if (world->n_clients == world->capacity) {
		size_t capacity = world->capacity ? 2 * world->capacity : 1024;
		struct client *grown = realloc(world->clients, capacity * sizeof *grown);
		if (!grown)
			return false;
		world->clients = grown;
		world->capacity = capacity;
	}
	uint64_t *random = &world->random;
	struct client *client = &world->clients[world->n_clients++];
	*client = (struct client){.arrival_ns = (int64_t)(at_s * 1e9), .cancel_ns = INT64_MAX};
	client->is_long = draw_uniform(random) < options->long_share;
	double n_prompt = client->is_long ? 1500 + draw_uniform(random) * (options->context - 1500 - options->max_tokens)
	                                  : 16 + draw_exponential(random, 200);
	double most = client->is_long ? options->context - options->max_tokens : 1000;
	client->n_prompt = (int)(n_prompt < most ? n_prompt : most);
	double n_output = 1 + draw_exponential(random, options->mean_output);
	client->n_output = (int)(n_output < options->max_tokens ? n_output : options->max_tokens);
	client->n_total = client->n_prompt + options->max_tokens;
	double level = draw_uniform(random);
	client->level = level < 0.1 ? PRIORITY_LOW : level < 0.9 ? PRIORITY_NORMAL : PRIORITY_HIGH;
	if (draw_uniform(random) < options->cancel_share)
		client->cancel_ns = client->arrival_ns + (int64_t)(draw_exponential(random, mean_cancel_after_s) * 1e9);
	client->try_ns = client->arrival_ns;
	return true;
}

static int compare_arrivals(const void *a, const void *b)
{
	const struct client *x = a, *y = b;
	return x->arrival_ns != y->arrival_ns ? (x->arrival_ns > y->arrival_ns) - (x->arrival_ns < y->arrival_ns)
	                                      : (x->n_prompt > y->n_prompt) - (x->n_prompt < y->n_prompt);
}

/* Arrivals at a rate that rises and falls with the day (thinned from the busiest hour's), and bursts. */
static bool make_clients(struct world *world)
{
	const struct simulation_options *options = world->options;
	double end_s = options->hours * 3600;
	for (double t = 0; options->requests_per_second > 0;) {
		t += draw_exponential(&world->random, 1 / options->requests_per_second);
		if (t >= end_s)
			break;
		double of_day = sin(M_PI * t / (24 * 3600));
		if (draw_uniform(&world->random) < 0.25 + 0.75 * of_day * of_day && !add_client(world, t))
			return false;
	}
	for (double t = 0; options->bursts_per_hour > 0;) {
		t += draw_exponential(&world->random, 3600 / options->bursts_per_hour);
		if (t >= end_s)
			break;
		int n = (int)(options->burst_requests * (1 + 5 * draw_uniform(&world->random)) / 6);
		for (int i = 0; i < n; i++)
			if (!add_client(world, t + draw_uniform(&world->random) * burst_seconds))
				return false;
	}
	if (world->n_clients > 0)
		qsort(world->clients, world->n_clients, sizeof *world->clients, compare_arrivals);
	return true;
}

/* ---- what must hold ---- */

__attribute__((format(printf, 2, 3))) static void violate(struct world *world, const char *format, ...)
{
	va_list arguments;
	if (world->result->violation[0])
		return; /* the first one is what matters */
	va_start(arguments, format);
	vsnprintf(world->result->violation, sizeof world->result->violation, format, arguments);
	va_end(arguments);
}

static void check_counts(struct world *world)
{
	const struct simulation_options *options = world->options;
	int64_t n_pages = 0;
	int n_running = 0, n_waiting = 0;
	for (int id = 0; id < world->n_ids; id++) {
		const struct client *client = world->by_id[id];
		n_waiting += client && client->phase == WAITING;
		if (client && client->phase != WAITING) {
			n_running++;
			n_pages +=
			    client->phase == PAUSED ? 0 : scheduler_pages(world->scheduler, client->n_prompt + client->n_generated);
		}
	}
	if (n_running != scheduler_running(world->scheduler) || n_running > options->n_parallel)
		violate(world, "%d run, the scheduler says %d, at most %d may", n_running, scheduler_running(world->scheduler),
		        options->n_parallel);
	if (n_waiting != scheduler_waiting(world->scheduler))
		violate(world, "%d wait, the scheduler says %d", n_waiting, scheduler_waiting(world->scheduler));
	if (n_pages + scheduler_free_pages(world->scheduler) > options->n_pages ||
	    scheduler_free_pages(world->scheduler) < 0)
		violate(world, "%lld pages needed and %lld free are more than %d", (long long)n_pages,
		        (long long)scheduler_free_pages(world->scheduler), options->n_pages);
}

static void check_step(struct world *world, const struct scheduler_step *step)
{
	int n_decoding = 0;
	for (int id = 0; id < world->n_ids; id++)
		n_decoding += world->by_id[id] && world->by_id[id]->phase == DECODE;
	if (step->n_decode != n_decoding)
		violate(world, "%d decode, the step has rows for %d", n_decoding, step->n_decode);
	if (step->n_prefill_rows > world->options->max_prefill_rows)
		violate(world, "a step of %d rows", step->n_prefill_rows);
	for (int i = 0; i < step->n_slices; i++) {
		const struct scheduler_slice *slice = &step->slices[i];
		const struct client *client = world->by_id[slice->id];
		int end = (int)slice->position + slice->n_rows;
		if (!client || client->phase != (slice->again ? AGAIN : PREFILL) || slice->position != client->n_done ||
		    slice->n_rows < 1 || end > client->n_prompt + (slice->again ? client->n_generated - 1 : 0) ||
		    slice->last != (end == client->n_prompt && client->n_generated == 0) ||
		    (!slice->again && end < client->n_prompt && end % world->options->tile_rows != 0))
			violate(world, "slice %d of %d rows at %lld does not follow", i, slice->n_rows, (long long)slice->position);
	}
}

/* ---- one step ---- */

static double cost_ms(const struct world *world, const struct scheduler_step *step)
{
	const struct simulation_options *options = world->options;
	double ms = step->n_decode > 0 ? options->decode_step_ms + options->decode_row_ms * (step->n_decode - 1) : 0;
	for (int i = 0; i < step->n_decode; i++) {
		const struct client *client = world->by_id[step->decode[i]];
		ms += options->decode_row_depth_ms * (client->n_prompt + client->n_generated) / 1000;
	}
	ms += step->n_slices > 0 ? options->prefill_step_ms : 0;
	bool again = false;
	for (int i = 0; i < step->n_slices; i++) {
		const struct scheduler_slice *slice = &step->slices[i];
		double depth = (double)slice->position + slice->n_rows * 0.5;
		if (slice->again) { /* as further streams, the first of which may be alone */
			ms += slice->n_rows * (options->decode_row_ms + options->decode_row_depth_ms * depth / 1000);
			ms += !again && step->n_decode == 0 ? options->decode_step_ms : 0;
			again = true;
			continue;
		}
		ms += slice->n_rows * (options->prefill_row_ms + options->prefill_row_depth_ms * depth / 1000);
	}
	return ms;
}

static void leave(struct world *world, int id)
{
	scheduler_remove(world->scheduler, id);
	world->by_id[id]->phase = OUTSIDE;
	world->by_id[id] = NULL;
}

/* Nothing is found in a cache: the worst that a pause can cost. */
static void pause_and_go_on(struct world *world, const struct scheduler_admission *admission)
{
	for (int i = 0; i < admission->n_paused; i++) {
		struct client *client = world->by_id[admission->paused[i]];
		client->phase = PAUSED;
		world->result->n_pauses++;
		world->result->n_computed_again += client->n_done;
		client->n_done = 0;
	}
	for (int i = 0; i < admission->n_prefilling; i++)
		if (world->by_id[admission->prefilling[i]]->phase == PAUSED)
			world->by_id[admission->prefilling[i]]->phase = PREFILL;
}

static void admit(struct world *world, const struct scheduler_admission *admission)
{
	for (int i = 0; i < admission->n_admitted; i++) {
		struct client *client = world->by_id[admission->admitted[i]];
		client->phase = PREFILL;
		world->result->n_prompt_tokens += client->n_prompt;
		for (int id = 0; id < world->n_ids; id++)
			if (world->by_id[id] && world->by_id[id]->phase == WAITING && world->by_id[id]->try_ns < client->try_ns)
				world->by_id[id]->n_overtaken++;
		struct priority_result *level = &world->result->by_priority[client->level];
		tally_add(&level->waiting_ms, (double)(world->now_ns - client->try_ns) * 1e-6, 1);
		if (client->n_overtaken > level->max_overtaken)
			level->max_overtaken = client->n_overtaken;
	}
}

static void take_token(struct world *world, int id, bool beside_prefill)
{
	struct client *client = world->by_id[id];
	struct simulation_result *result = world->result;
	double ms = (double)(world->now_ns - (client->n_generated ? client->last_token_ns : client->try_ns)) * 1e-6;
	result->n_output_tokens++;
	if (client->n_generated++ > 0) {
		tally_add(beside_prefill ? &result->prefill_gap_ms : &result->gap_ms, ms, 1);
		world->n_gaps++;
		world->n_late += ms > world->options->max_gap_ms;
	} else {
		tally_add(&result->by_priority[client->level].first_token_ms, ms, 1);
		if (client->is_long)
			tally_add(&result->first_token_long_ms, ms, 1);
	}
	client->last_token_ns = world->now_ns;
	if (client->n_generated >= client->n_output) {
		result->by_priority[client->level].n_finished++;
		leave(world, id);
	}
}

/* Of one that runs. */
static enum phase phase_of(const struct client *client)
{
	if (client->phase == OUTSIDE)
		return OUTSIDE;
	if (client->n_done < client->n_prompt)
		return PREFILL;
	return client->n_done < client->n_prompt + client->n_generated - 1 ? AGAIN : DECODE;
}

static void compute(struct world *world, const struct scheduler_step *step)
{
	double noise = 1 + world->options->noise * (2 * draw_uniform(&world->random) - 1);
	int64_t elapsed_ns = (int64_t)(cost_ms(world, step) * noise * 1e6);
	tally_add(&world->result->queue_length, scheduler_waiting(world->scheduler), (uint64_t)elapsed_ns / 1000);
	world->now_ns += elapsed_ns;
	world->result->busy_s += (double)elapsed_ns * 1e-9;
	world->result->n_steps++;
	scheduler_report(world->scheduler, step, elapsed_ns);
	for (int i = 0; i < step->n_decode; i++)
		world->by_id[step->decode[i]]->n_done++, take_token(world, step->decode[i], step->n_slices > 0);
	for (int i = 0; i < step->n_slices; i++) {
		struct client *client = world->by_id[step->slices[i].id];
		client->n_done += step->slices[i].n_rows;
		if (step->slices[i].last)
			take_token(world, step->slices[i].id, false);
		client->phase = phase_of(client);
	}
}

/* ---- between steps ---- */

static void submit(struct world *world, struct client *client)
{
	struct simulation_result *result = world->result;
	if (client->cancel_ns <= world->now_ns) { /* left before it could ask again */
		result->by_priority[client->level].n_cancelled++;
		return;
	}
	enum scheduler_refusal refusal;
	struct scheduler_request request = {.n_prompt = client->n_prompt,
	                                    .n_total = client->n_total,
	                                    .priority = simulation_priorities[client->level],
	                                    .owner = world->options->n_owners ? (uint64_t)(client - world->clients) %
	                                                                            (uint64_t)world->options->n_owners
	                                                                      : 0,
	                                    .arrival_ns = client->try_ns};
	int id = scheduler_add(world->scheduler, &request, &refusal);
	if (id >= 0) {
		world->by_id[id] = client;
		client->phase = WAITING;
		result->n_came_back += client->n_refusals > 0;
		result->n_in_at_first_return += client->n_refusals == 1;
		return;
	}
	result->n_answers_429++;
	if (refusal == SCHEDULER_NEVER_FITS || client->n_refusals++ >= world->options->retries) {
		result->by_priority[client->level].n_refused++;
		return;
	}
	int64_t wait_s = (scheduler_wait_estimate_ns(world->scheduler) + second_ns - 1) / second_ns;
	tally_add(&result->retry_after_s, (double)wait_s, 1);
	client->try_ns = world->now_ns + wait_s * second_ns;
	world->returning[world->n_returning++] = client;
}

/* Who cancelled goes, who comes (or comes back) asks. */
static void meet_clients(struct world *world)
{
	for (int id = 0; id < world->n_ids; id++)
		if (world->by_id[id] && world->by_id[id]->cancel_ns <= world->now_ns) {
			world->result->by_priority[world->by_id[id]->level].n_cancelled++;
			leave(world, id);
		}
	for (size_t i = 0, n = world->n_returning; i < n;) {
		struct client *client = world->returning[i];
		if (client->try_ns > world->now_ns) {
			i++;
			continue;
		}
		/* Who is refused again is added behind the n that are looked at. */
		memmove(&world->returning[i], &world->returning[i + 1], (--world->n_returning - i) * sizeof client);
		n--;
		submit(world, client);
	}
	for (; world->next < world->n_clients && world->clients[world->next].arrival_ns <= world->now_ns; world->next++) {
		world->result->by_priority[world->clients[world->next].level].n_came++;
		submit(world, &world->clients[world->next]);
	}
}

/* Nothing to compute: on to when somebody comes. False when nobody will. */
static bool skip_idle_time(struct world *world)
{
	int64_t next_ns = world->next < world->n_clients ? world->clients[world->next].arrival_ns : INT64_MAX;
	for (size_t i = 0; i < world->n_returning; i++)
		if (world->returning[i]->try_ns < next_ns)
			next_ns = world->returning[i]->try_ns;
	if (next_ns == INT64_MAX)
		return false;
	tally_add(&world->result->queue_length, 0, (uint64_t)(next_ns - world->now_ns) / 1000);
	world->now_ns = next_ns;
	return true;
}

static void live(struct world *world)
{
	for (bool go_on = true; go_on && !world->result->violation[0];) {
		struct scheduler_admission admission;
		struct scheduler_step step;
		meet_clients(world);
		scheduler_admit(world->scheduler, world->now_ns, &admission);
		pause_and_go_on(world, &admission);
		admit(world, &admission);
		if (!scheduler_plan(world->scheduler, &step)) {
			if (scheduler_waiting(world->scheduler) > 0)
				violate(world, "%d wait and nobody runs", scheduler_waiting(world->scheduler));
			go_on = skip_idle_time(world);
			continue;
		}
		check_counts(world);
		check_step(world, &step);
		compute(world, &step);
	}
	if (!world->result->violation[0] && scheduler_free_pages(world->scheduler) != world->options->n_pages)
		violate(world, "%lld of %d pages are free at the end", (long long)scheduler_free_pages(world->scheduler),
		        world->options->n_pages);
	world->result->simulated_s = (double)world->now_ns * 1e-9;
	world->result->late_gaps = world->n_gaps ? (double)world->n_late / (double)world->n_gaps : 0;
}

bool simulation_run(const struct simulation_options *wanted, struct simulation_result *result)
{
	struct simulation_options options = *wanted;
	if (options.n_pages == 0)
		options.n_pages = (options.context + options.page_tokens - 1) / options.page_tokens * options.n_parallel;
	struct scheduler_limits limits = {
	    .n_parallel = options.n_parallel,
	    .max_waiting = options.max_waiting,
	    .max_waiting_tokens = 1000000,
	    .n_pages = options.n_pages,
	    .page_tokens = options.page_tokens,
	    .tile_rows = options.tile_rows,
	    .max_prefill_rows = options.max_prefill_rows,
	    .max_gap_ns = (int64_t)(options.max_gap_ms * 1e6),
	};
	*result = (struct simulation_result){0};
	struct world world = {.options = &options,
	                      .result = result,
	                      .random = (uint64_t)options.seed,
	                      .n_ids = options.n_parallel + options.max_waiting + SCHEDULER_OWN_PLACES};
	bool made = make_clients(&world);
	world.scheduler = scheduler_create(&limits);
	world.by_id = calloc((size_t)world.n_ids, sizeof *world.by_id);
	world.returning = calloc(world.n_clients + 1, sizeof *world.returning);
	made = made && world.scheduler && world.by_id && world.returning;
	if (made)
		live(&world);
	scheduler_destroy(world.scheduler);
	free(world.by_id);
	free(world.returning);
	free(world.clients);
	return made;
}
