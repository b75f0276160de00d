/* The option table: parsing, precedence, values, and what it says about mistakes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/option_values.h"
#include "cli/options.h"

enum { MAX_ARGUMENTS = 16 };

/* Parses arguments as given after the command's name, up to the NULL. */
static bool parse(struct options *options, unsigned command, struct error *error, ...)
{
	char *argv[MAX_ARGUMENTS] = {(char *)"tallow"};
	int argc = 1;
	va_list arguments;
	va_start(arguments, error);
	for (char *next; argc < MAX_ARGUMENTS && (next = va_arg(arguments, char *));)
		argv[argc++] = next;
	va_end(arguments);
	return options_parse(options, command, argc, argv, error);
}

#define PARSES(options, command, ...)                                                                                  \
	do {                                                                                                               \
		struct error parse_error = {0};                                                                                \
		if (!parse(options, command, &parse_error, __VA_ARGS__, (char *)NULL))                                         \
			fail_msg("%s", parse_error.message);                                                                       \
	} while (0)

#define REFUSES(command, expected, ...)                                                                                \
	do {                                                                                                               \
		struct error parse_error = {0};                                                                                \
		struct options refused;                                                                                        \
		assert_false(parse(&refused, command, &parse_error, __VA_ARGS__, (char *)NULL));                               \
		assert_int_equal(parse_error.code, ERROR_USAGE);                                                               \
		assert_string_equal(parse_error.message, expected);                                                            \
	} while (0)

/* ---- values ---- */

static void sizes(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint64_t n_bytes;
	} good[] = {
	    {"0", 0},
	    {"123", 123},
	    {"512MiB", 512ull << 20},
	    {"2GB", 2000000000},
	    {"1.5GiB", 1610612736},
	    {"10kb", 10000},
	    {"1TiB", 1ull << 40},
	    {"7B", 7},
	    {"18446744073709551615", UINT64_MAX},
	};
	static const char *const bad[] = {"",     "-1",    "GB",  "1 GB",           "1G",   "1XB",
	                                  "0x10", "1e400", "nan", "99999999999TiB", "1MiBs"};
	uint64_t n_bytes = 42;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_false(value_size(bad[i], &n_bytes));
		assert_int_equal(n_bytes, 42);
	}
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		assert_true(value_size(good[i].text, &n_bytes));
		assert_true(n_bytes == good[i].n_bytes);
	}
}

static void durations(void **state)
{
	(void)state;
	int64_t ms = 42;
	assert_false(value_duration_ms("", &ms) || value_duration_ms("-1s", &ms) || value_duration_ms("5 s", &ms) ||
	             value_duration_ms("5d", &ms) || value_duration_ms("inf", &ms) || value_duration_ms("1e300h", &ms));
	assert_int_equal(ms, 42);
	assert_true(value_duration_ms("30", &ms) && ms == 30000);
	assert_true(value_duration_ms("0.5", &ms) && ms == 500);
	assert_true(value_duration_ms("250ms", &ms) && ms == 250);
	assert_true(value_duration_ms("2m", &ms) && ms == 120000);
	assert_true(value_duration_ms("1h", &ms) && ms == 3600000);
}

static void numbers(void **state)
{
	(void)state;
	int64_t i = 42;
	uint64_t u = 42;
	double d = 42;
	bool b = false;
	assert_false(value_int64("", &i) || value_int64("1.0", &i) || value_int64(" 1", &i) || value_int64("+1", &i) ||
	             value_int64("0x10", &i) || value_int64("9223372036854775808", &i));
	assert_true(value_int64("-9223372036854775808", &i) && i == INT64_MIN);
	assert_false(value_uint64("-1", &u) || value_uint64("18446744073709551616", &u));
	assert_true(value_uint64("18446744073709551615", &u) && u == UINT64_MAX);
	assert_false(value_double("nan", &d) || value_double("inf", &d) || value_double("1,5", &d) ||
	             value_double("0x1p3", &d) || value_double("1e999", &d) || value_double(".", &d));
	assert_true(value_double("-0.25", &d) && d == -0.25);
	assert_true(value_double(".5", &d) && d == 0.5);
	assert_true(value_bool("yes", &b) && b);
	assert_true(value_bool("off", &b) && !b);
	assert_false(value_bool("2", &b) || value_bool("", &b));
}

static void distances(void **state)
{
	(void)state;
	assert_int_equal(edit_distance("", ""), 0);
	assert_int_equal(edit_distance("", "abc"), 3);
	assert_int_equal(edit_distance("kitten", "sitting"), 3);
	assert_int_equal(edit_distance("model", "modle"), 2);
	assert_int_equal(value_choice("auto|scalar|avx2", "avx2"), 2);
	assert_int_equal(value_choice("auto|scalar|avx2", "avx"), -1);
	assert_int_equal(value_choice("auto|scalar|avx2", ""), -1);
}

/* ---- parsing ---- */

static void defaults(void **state)
{
	(void)state;
	struct options options;
	PARSES(&options, FOR_SERVE, "--model", "m");
	assert_string_equal(options.model, "m");
	assert_string_equal(options.host, "127.0.0.1");
	assert_int_equal(options.port, 8080);
	assert_int_equal(options.max_tokens, 2048);
	assert_int_equal(options.callback_timeout_ms, 30000);
	assert_int_equal(options.heartbeat_interval_ms, 30000);
	assert_int_equal(options.shutdown_timeout_ms, 25000);
	assert_null(options.callback_url);
	assert_true(options_given(&options, "model"));
	assert_false(options_given(&options, "port"));
	PARSES(&options, FOR_GENERATE, "--model", "m");
	assert_int_equal(options.max_tokens, 256);
	assert_true(options.temperature == 1 && options.top_p == 1 && options.repetition_penalty == 1);
	assert_true(options.typical_p == 1 && options.top_n_sigma == 0 && options.min_tokens == 0);
	PARSES(&options, FOR_GENERATE, "--model", "m", "--presence-penalty", "-2", "--frequency-penalty=-0.5");
	assert_true(options.presence_penalty == -2 && options.frequency_penalty == -0.5);
	PARSES(&options, FOR_LOGITS, "--model", "m");
	assert_int_equal(options.decode_from, -1);
}

/* Every row's default is a value of its kind, for every command that has it; names fit; helps are there. */
static void the_table_is_sound(void **state)
{
	(void)state;
	for (unsigned command = 1; command <= FOR_BENCH; command *= 2) {
		struct options options;
		PARSES(&options, command, "--version");
		for (int i = 0; i < n_option_rows; i++) {
			const struct option_row *row = &option_rows[i];
			assert_non_null(row->help);
			for (int j = 0; j < i && row->name; j++)
				assert_false(option_rows[j].name && strcmp(option_rows[j].name, row->name) == 0 &&
				             (option_rows[j].commands & row->commands & command));
		}
	}
}

static void as_the_orchestrator_writes_them(void **state)
{
	(void)state;
	struct options options;
	PARSES(&options, FOR_SERVE, "--worker-id", "w-1", "--model", "/models/x", "--port", "0", "--callback-url",
	       "http://127.0.0.1:9/cb", "--kv-memory=64MiB", "--insecure");
	assert_string_equal(options.worker_id, "w-1");
	assert_int_equal(options.port, 0);
	assert_string_equal(options.callback_url, "http://127.0.0.1:9/cb");
	assert_int_equal(options.kv_memory_bytes, 64 << 20);
	assert_true(options.insecure);
	PARSES(&options, FOR_SERVE, "--insecure=false", "--model", "a", "--model", "b");
	assert_false(options.insecure);
	assert_string_equal(options.model, "b");
}

static void letters_lists_and_paths(void **state)
{
	(void)state;
	struct options options;
	PARSES(&options, FOR_GENERATE, "-p", "-- not a flag", "--stop", "a", "--stop=b", "--seed", "18446744073709551615");
	assert_string_equal(options.prompt, "-- not a flag");
	assert_int_equal(options.n_stops, 2);
	assert_string_equal(options.stops[1], "b");
	assert_true(options.seed == UINT64_MAX);
	PARSES(&options, FOR_INSPECT, "--json", "folder");
	assert_string_equal(options.path, "folder");
	PARSES(&options, FOR_INSPECT, "--", "--folder");
	assert_string_equal(options.path, "--folder");
	REFUSES(FOR_INSPECT, "unexpected argument \"b\"", "a", "b");
	REFUSES(FOR_SERVE, "unexpected argument \"x\"", "x");
	REFUSES(FOR_GENERATE, "--stop may be given at most 4 times", "--stop", "1", "--stop", "2", "--stop", "3", "--stop",
	        "4", "--stop", "5");
}

static void mistakes_are_named(void **state)
{
	(void)state;
	REFUSES(FOR_SERVE, "unknown option --modle; the nearest is --model", "--modle", "x");
	REFUSES(FOR_SERVE, "unknown option --calback-url=x; the nearest is --callback-url", "--calback-url=x");
	REFUSES(FOR_SERVE, "unknown option -x; the nearest is --kv", "-x");
	REFUSES(FOR_GENERATE, "--npy is an option of another command (nearest here: --kv)", "--npy", "f");
	REFUSES(FOR_SERVE, "--port needs a value", "--port");
	REFUSES(FOR_SERVE, "--port must be an integer from 0 to 65535 (got \"65536\")", "--port", "65536");
	REFUSES(FOR_SERVE, "--port must be an integer from 0 to 65535 (got \"\")", "--port=");
	REFUSES(FOR_SERVE,
	        "--isa must be one of auto|scalar|avx2|avx2vnni|avx512bw|avx512vnni|avx512|amx|neon (got \"sse\")", "--isa",
	        "sse");
	REFUSES(FOR_SERVE, "--insecure must be true or false (got \"maybe\")", "--insecure=maybe");
	REFUSES(FOR_SERVE, "--kv-memory must be a size such as 512MiB, 2GB or plain bytes (got \"1G\")", "--kv-memory",
	        "1G");
	REFUSES(FOR_GENERATE, "--temperature must be a number from 0 to 2 (got \"2.1\")", "--temperature", "2.1");
	REFUSES(FOR_SERVE, "a key on the command line can be read by every user; use TALLOW_API_KEY or --api-key-file",
	        "--api-key", "k");
}

static void environment(void **state)
{
	(void)state;
	struct options options;
	setenv("TALLOW_PORT", "9000", 1);
	setenv("TALLOW_MAX_TOKENS", "17", 1);
	setenv("TALLOW_EXIT_WITH_PARENT", "yes", 1);
	setenv("TALLOW_API_KEY", "k", 1);
	setenv("TALLOW_STOP", "from-environment", 1);
	setenv("TALLOW_HOST", "", 1);
	PARSES(&options, FOR_SERVE, "--max-tokens", "18");
	assert_int_equal(options.port, 9000);
	assert_int_equal(options.max_tokens, 18); /* the flag wins */
	assert_true(options.exit_with_parent);
	assert_string_equal(options.api_key, "k");
	assert_string_equal(options.host, "127.0.0.1"); /* empty is unset */
	assert_true(options_given(&options, "port"));
	PARSES(&options, FOR_GENERATE, "--top-k", "1");
	assert_int_equal(options.n_stops, 1);
	PARSES(&options, FOR_GENERATE, "--stop", "flag");
	assert_int_equal(options.n_stops, 1); /* the flag replaces */
	assert_string_equal(options.stops[0], "flag");
	setenv("TALLOW_PORT", "many", 1);
	REFUSES(FOR_SERVE, "TALLOW_PORT must be an integer from 0 to 65535 (got \"many\")", "--model", "m");
	PARSES(&options, FOR_SERVE, "--help"); /* help comes even then */
	assert_true(options.help);
	setenv("TALLOW_API_KEY", "", 1);
	setenv("TALLOW_PORT", "1", 1);
	PARSES(&options, FOR_SERVE, "--model", "m");
	assert_string_equal(options.api_key, ""); /* an empty key is a mistake for the server to refuse, not no key */
	unsetenv("TALLOW_PORT");
	unsetenv("TALLOW_MAX_TOKENS");
	unsetenv("TALLOW_EXIT_WITH_PARENT");
	unsetenv("TALLOW_API_KEY");
	unsetenv("TALLOW_STOP");
	unsetenv("TALLOW_HOST");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sizes),
	    cmocka_unit_test(durations),
	    cmocka_unit_test(numbers),
	    cmocka_unit_test(distances),
	    cmocka_unit_test(defaults),
	    cmocka_unit_test(the_table_is_sound),
	    cmocka_unit_test(as_the_orchestrator_writes_them),
	    cmocka_unit_test(letters_lists_and_paths),
	    cmocka_unit_test(mistakes_are_named),
	    cmocka_unit_test(environment),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
