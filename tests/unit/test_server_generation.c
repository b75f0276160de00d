/* Generations and jobs: events kept and given again, names that belong to owners. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/platform.h"
#include "engine/stream.h"
#include "server/generation/generation.h"
#include "server/generation/jobs.h"

static struct generation *make_generation(uint64_t owner, const char *job_id)
{
	struct error error;
	struct generation *generation = generation_create(&error);
	assert_non_null(generation);
	generation->owner = owner;
	snprintf(generation->job_id, sizeof generation->job_id, "%s", job_id);
	generation->stream = stream_create(1, &error);
	assert_non_null(generation->stream);
	stream_ref(generation->stream); /* the engine's */
	return generation;
}

/* The engine's side of it has ended. */
static void generation_end(struct generation *generation)
{
	struct stream *stream = generation->stream;
	generation_destroy(generation);
	stream_unref(stream);
}

static void assert_token(struct generation *generation, int64_t index, const char *text)
{
	struct event event;
	assert_true(generation_next(generation, &event));
	assert_int_equal(event.type, EVENT_TOKEN);
	assert_int_equal(event.index, index);
	assert_int_equal(event.token, 100 + index);
	assert_int_equal(event.n_text_bytes, strlen(text));
	assert_memory_equal(event.text, text, event.n_text_bytes);
	assert_int_equal(generation->tokens_out, index + 1);
}

static void push_token(struct generation *generation, int64_t index, const char *text)
{
	assert_true(stream_push_token(generation->stream, &(struct event){.type = EVENT_TOKEN,
	                                                                  .token = 100 + (int32_t)index,
	                                                                  .index = index,
	                                                                  .text = text,
	                                                                  .n_text_bytes = strlen(text)}));
}

/* Taken in at any moment, the events are those that the reader would have had, and nothing is noted before it is given. */
static void kept_events_come_again_in_order(void **state)
{
	(void)state;
	for (int kept = 0; kept <= 5; kept++) {
		struct generation *generation = make_generation(0, "j");
		struct event event,
		    end = {.type = EVENT_END, .stop_reason = STOP_EOS, .stop_matched = -1, .completion_tokens = 3};
		for (int i = 0; i < 5; i++) {
			if (i == 0)
				stream_push_started(generation->stream, 0, 7, 4);
			else if (i < 4)
				push_token(generation, i - 1, i == 2 ? "" : "text");
			else
				assert_true(stream_push_terminal(generation->stream, &end));
			if (i < kept)
				generation_take_in(generation);
			assert_int_equal(generation_has_ended(generation), kept == 5 && i == 4);
		}
		assert_false(generation->started || generation->finished);
		assert_true(generation_next(generation, &event));
		assert_int_equal(event.type, EVENT_STARTED);
		assert_true(generation->started && generation->prompt_tokens == 7 && generation->cached_tokens == 4);
		assert_token(generation, 0, "text");
		assert_token(generation, 1, "");
		assert_token(generation, 2, "text");
		assert_false(generation->finished);
		assert_true(generation_next(generation, &event));
		assert_int_equal(event.type, EVENT_END);
		assert_true(generation->finished && generation->stop_reason == STOP_EOS && generation->tokens_out == 3);
		assert_false(generation_next(generation, &event));
		generation_end(generation);
	}
}

static void an_error_is_kept_too(void **state)
{
	(void)state;
	struct generation *generation = make_generation(0, "j");
	struct event event, failure = {.type = EVENT_ERROR, .error = {.code = ERROR_CANCELLED, .message = "m"}};
	assert_true(stream_push_terminal(generation->stream, &failure));
	generation_take_in(generation);
	assert_true(generation_has_ended(generation) && generation->error.code == ERROR_NONE);
	assert_true(generation_next(generation, &event));
	assert_true(event.type == EVENT_ERROR && generation->error.code == ERROR_CANCELLED && generation->finished);
	generation_end(generation);
}

/* With its last event taken in a job no longer runs, though nobody has opened it: no crash is about it. */
static void what_is_taken_in_to_its_end_no_longer_runs(void **state)
{
	(void)state;
	struct error error;
	struct running *running = running_create(&error);
	assert_non_null(running);
	uint64_t mark = running_mark(running, "/v1/jobs", 8, "a", 1);
	for (int failed = 1; failed >= 0; failed--) {
		struct generation *generation = make_generation(0, "j");
		struct event end = {.type = failed ? EVENT_ERROR : EVENT_END};
		assert_true(running_begin(running, mark) >= 0);
		assert_int_equal(running_crashed(running, clock_ns()), 1); /* it is under suspicion */
		generation->running = running;
		generation->running_place = running_begin(running, mark);
		generation_take_in(generation);
		assert_non_null(generation->running);
		assert_true(stream_push_terminal(generation->stream, &end));
		generation_take_in(generation);
		assert_null(generation->running);
		assert_int_equal(running_crashed(running, clock_ns()), 0);
		generation_end(generation);
		if (!failed) /* whose answer is there was no crash's cause */
			assert_true(running_may(running, mark, clock_ns()));
	}
}

static void jobs_are_found_by_owner_and_name(void **state)
{
	(void)state;
	struct jobs jobs;
	struct error error = {0};
	struct generation *first = make_generation(1, "j"), *second = make_generation(2, "j"),
	                  *again = make_generation(1, "j");
	jobs_init(&jobs);
	assert_true(jobs_put(&jobs, first, &error));
	assert_false(jobs_has(&jobs, 2, "j") || jobs_has(&jobs, 0, "j") || jobs_has(&jobs, 1, "k"));
	assert_null(jobs_take(&jobs, 2, "j"));
	assert_true(jobs_put(&jobs, second, &error));
	assert_false(jobs_put(&jobs, again, &error));
	assert_int_equal(error.code, ERROR_CONFLICT);
	assert_false(jobs_may_put(&jobs, 1, "j", &error));
	assert_int_equal(error.code, ERROR_CONFLICT);
	assert_true(jobs_may_put(&jobs, 3, "j", &error) && jobs_may_put(&jobs, 1, "k", &error) &&
	            jobs_may_put(&jobs, 1, NULL, &error));
	assert_int_equal(jobs_count(&jobs), 2);
	assert_true(jobs_has(&jobs, 2, "j"));
	assert_ptr_equal(jobs_take(&jobs, 2, "j"), second);
	assert_ptr_equal(jobs_take(&jobs, 1, "j"), first);
	assert_null(jobs_take(&jobs, 1, "j"));
	assert_int_equal(jobs_count(&jobs), 0);
	jobs_destroy(&jobs);
	generation_end(first);
	generation_end(second);
	generation_end(again);
}

/* A list that is full of jobs that run takes no more; those that ended make room, what failed first. */
static void jobs_that_ended_make_room(void **state)
{
	(void)state;
	struct jobs jobs;
	struct error error = {0};
	struct stream *streams[JOBS_MAX_WAITING + 2];
	char name[16];
	jobs_init(&jobs);
	for (int i = 0; i < JOBS_MAX_WAITING; i++) {
		snprintf(name, sizeof name, "j%d", i);
		struct generation *job = make_generation(i % 2 ? 1 : 2, name);
		streams[i] = job->stream;
		assert_true(jobs_put(&jobs, job, &error));
	}
	assert_true(jobs_have_answers(&jobs));
	struct generation *third = make_generation(3, "new"), *own = make_generation(1, "new");
	streams[JOBS_MAX_WAITING] = third->stream;
	streams[JOBS_MAX_WAITING + 1] = own->stream;
	assert_false(jobs_put(&jobs, third, &error) || jobs_may_put(&jobs, 3, NULL, &error));
	assert_int_equal(error.code, ERROR_QUEUE_FULL);
	/* The second owner's j2 ends well and its j4 fails. */
	struct event end = {.type = EVENT_END};
	assert_true(stream_push_terminal(streams[2], &end));
	stream_cancel(streams[4], ERROR_CANCELLED);
	jobs_pull(&jobs);
	assert_false(jobs_put(&jobs, own, &error)); /* what others ended is no place of its own */
	assert_true(jobs_may_put(&jobs, 3, "new", &error) && jobs_has(&jobs, 2, "j4")); /* who only asks takes no place */
	assert_true(jobs_put(&jobs, third, &error));
	assert_false(jobs_has(&jobs, 2, "j4"));
	assert_true(jobs_has(&jobs, 2, "j2") && jobs_has(&jobs, 3, "new"));
	assert_int_equal(jobs_count(&jobs), JOBS_MAX_WAITING);
	stream_cancel(streams[5], ERROR_CANCELLED);
	jobs_pull(&jobs);
	assert_true(jobs_put(&jobs, own, &error));
	assert_false(jobs_has(&jobs, 1, "j5"));
	jobs_destroy(&jobs);
	for (int i = 0; i < JOBS_MAX_WAITING + 2; i++)
		stream_unref(streams[i]);
}

static void only_answers_are_waited_for(void **state)
{
	(void)state;
	struct jobs jobs;
	struct error error = {0};
	struct generation *job = make_generation(1, "j");
	jobs_init(&jobs);
	assert_false(jobs_have_answers(&jobs));
	assert_true(jobs_put(&jobs, job, &error));
	assert_true(jobs_have_answers(&jobs));
	stream_cancel(job->stream, ERROR_CANCELLED);
	jobs_pull(&jobs);
	assert_false(jobs_have_answers(&jobs));
	struct stream *stream = job->stream;
	jobs_destroy(&jobs);
	stream_unref(stream);
}

static void jobs_that_nobody_opens_end(void **state)
{
	(void)state;
	struct jobs jobs;
	struct error error = {0};
	struct generation *job = make_generation(1, "j");
	struct stream *stream = job->stream;
	jobs_init(&jobs);
	int64_t before_ns = clock_ns();
	assert_true(jobs_put(&jobs, job, &error));
	int64_t after_ns = clock_ns();
	jobs_sweep(&jobs, before_ns + (JOB_OPEN_TIMEOUT_MS - 1000) * 1000000ll);
	assert_true(jobs_has(&jobs, 1, "j"));
	jobs_sweep(&jobs, after_ns + (JOB_OPEN_TIMEOUT_MS + 1000) * 1000000ll);
	assert_false(jobs_has(&jobs, 1, "j"));
	assert_true(atomic_load(stream_cancel_flag(stream)));
	stream_unref(stream);
	jobs_destroy(&jobs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(kept_events_come_again_in_order),
	    cmocka_unit_test(an_error_is_kept_too),
	    cmocka_unit_test(jobs_are_found_by_owner_and_name),
	    cmocka_unit_test(jobs_that_ended_make_room),
	    cmocka_unit_test(only_answers_are_waited_for),
	    cmocka_unit_test(jobs_that_nobody_opens_end),
	    cmocka_unit_test(what_is_taken_in_to_its_end_no_longer_runs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
