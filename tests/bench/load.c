/* A load generator for a running server: clients that send one streaming request after another, over libcurl.
 *
 *     load --url http://127.0.0.1:8080 --clients 1,4,8,16 --requests 4 --prompt-tokens 128 --max-tokens 128
 *          [--health] [--long-prompt 4000] [--server tallow|llama]
 *
 * For each number of clients: time to first token, the gap between a stream's tokens, tokens per second of all
 * together. --health asks GET /health every 20 ms meanwhile. --long-prompt adds one client whose prompt has about that
 * many tokens, sent while the others stream. --server llama speaks to llama.cpp's llama-server instead.
 */
#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_CLIENTS = 256, LINE_BYTES = 4096, HEALTH_INTERVAL_MS = 20 };

struct options {
	const char *url, *clients, *server;
	int requests, prompt_tokens, max_tokens, long_prompt;
	bool health;
};

/* ---- numbers ---- */

struct series {
	double *values;
	size_t n, capacity;
};

static void series_add(struct series *series, double value)
{
	if (series->n == series->capacity) {
		series->capacity = series->capacity ? 2 * series->capacity : 256;
		series->values = realloc(series->values, series->capacity * sizeof *series->values);
		if (!series->values)
			abort();
	}
	series->values[series->n++] = value;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double quantile(struct series *series, double q)
{
	if (!series->n)
		return 0;
	qsort(series->values, series->n, sizeof *series->values, compare);
	return series->values[(size_t)(q * (double)(series->n - 1) + 0.5)];
}

static void print_series(const char *name, struct series *series)
{
	printf("  %-22s p50 %8.1f   p95 %8.1f   p99 %8.1f   max %8.1f ms   (%zu)\n", name, quantile(series, 0.5) * 1e3,
	       quantile(series, 0.95) * 1e3, quantile(series, 0.99) * 1e3, quantile(series, 1) * 1e3, series->n);
	free(series->values);
	*series = (struct series){0};
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- one request ---- */

struct load;

struct client {
	struct load *load;
	CURL *easy;
	int index, done;
	bool busy, is_long, failed;
	double sent, last_token;
	int n_tokens, prompt_tokens;
	char line[LINE_BYTES];
	size_t n_line;
	char *body;
};

struct load {
	const struct options *options;
	CURLM *multi;
	struct client clients[MAX_CLIENTS + 1]; /* the last: the long prompt's */
	struct series first_token, gap, gap_during_long, health;
	int n_clients, n_failed, n_sent;
	double words_per_token;
	long n_tokens;
	bool long_running, long_sent;
	double long_seconds;
	CURL *health_easy;
	bool health_busy;
	double health_sent;
};

static void note_token(struct client *client)
{
	double t = now();
	struct load *load = client->load;
	if (client->n_tokens++ == 0)
		client->is_long ? (void)(load->long_seconds = t - client->sent)
		                : series_add(&load->first_token, t - client->sent);
	else if (!client->is_long)
		series_add(load->long_running ? &load->gap_during_long : &load->gap, t - client->last_token);
	if (client->is_long)
		load->long_running = false; /* its prefill is over */
	client->last_token = t;
	load->n_tokens++;
}

/* One line of the event stream. llama-server sends a piece of text per event, the last with "stop":true. */
static void read_line(struct client *client, const char *line)
{
	static const char *const names[] = {"\"prompt_tokens\":", "\"tokens_evaluated\":"};
	for (int i = 0; i < 2; i++) {
		const char *at = strstr(line, names[i]);
		if (at)
			client->prompt_tokens = atoi(at + strlen(names[i]));
	}
	if (strcmp(client->load->options->server, "llama") == 0) {
		if (strncmp(line, "data: ", 6) == 0 && strstr(line, "\"stop\":false"))
			note_token(client);
		return;
	}
	if (strcmp(line, "event: token") == 0)
		note_token(client);
	else if (strcmp(line, "event: error") == 0)
		client->failed = true;
}

static size_t receive(char *data, size_t size, size_t n, void *context)
{
	struct client *client = context;
	for (size_t i = 0; i < size * n; i++) {
		if (data[i] == '\n') {
			client->line[client->n_line] = 0;
			client->n_line = 0;
			read_line(client, client->line);
		} else if (client->n_line + 1 < LINE_BYTES && data[i] != '\r') {
			client->line[client->n_line++] = data[i];
		}
	}
	return size * n;
}

static size_t discard(char *data, size_t size, size_t n, void *context)
{
	(void)data, (void)context;
	return size * n;
}

/* A prompt that shares no beginning with another: of words. */
static char *make_body(const struct load *load, int request, int n_words, int max_tokens)
{
	static const char *const words[] = {"the", "red", "house", "and", "a",      "small", "dog", "went",
	                                    "to",  "see", "his",   "old", "friend", "by",    "sea", "in"};
	size_t capacity = (size_t)n_words * 10 + 512, n = 0;
	char *body = malloc(capacity);
	if (!body)
		abort();
	bool llama = strcmp(load->options->server, "llama") == 0;
	n += (size_t)snprintf(
	    body + n, capacity - n, "{\"temperature\":0,\"%s\":%d,\"ignore_eos\":true,\"stream\":true,%s\"prompt\":\"%d",
	    llama ? "n_predict" : "max_tokens", max_tokens, llama ? "\"cache_prompt\":false," : "", request);
	uint64_t state = (uint64_t)request * 2654435761u + 12345;
	for (int i = 1; i < n_words; i++) {
		state = state * 6364136223846793005u + 1442695040888963407u;
		n += (size_t)snprintf(body + n, capacity - n, " %s", words[state >> 60]);
	}
	snprintf(body + n, capacity - n, "\"}");
	return body;
}

static void set_url(CURL *easy, const struct load *load, const char *path)
{
	char url[512];
	snprintf(url, sizeof url, "%s%s", load->options->url, path);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
}

static void send_request(struct client *client, int n_words, int max_tokens)
{
	struct load *load = client->load;
	if (!client->easy)
		client->easy = curl_easy_init();
	else
		curl_easy_reset(client->easy);
	client->body = make_body(load, load->n_sent++, n_words, max_tokens);
	client->n_tokens = 0;
	client->n_line = 0;
	client->busy = true;
	client->failed = false;
	set_url(client->easy, load, strcmp(load->options->server, "llama") == 0 ? "/completion" : "/execute");
	curl_easy_setopt(client->easy, CURLOPT_POSTFIELDS, client->body);
	curl_easy_setopt(client->easy, CURLOPT_WRITEFUNCTION, receive);
	curl_easy_setopt(client->easy, CURLOPT_WRITEDATA, client);
	curl_easy_setopt(client->easy, CURLOPT_PRIVATE, client);
	client->sent = now();
	curl_multi_add_handle(load->multi, client->easy);
}

static void finish_request(struct client *client, CURLcode result)
{
	long status = 0;
	struct load *load = client->load;
	curl_easy_getinfo(client->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status != 200 || result != CURLE_OK || client->failed) {
		if (load->n_failed++ < 3)
			fprintf(stderr, "request failed: %s, status %ld\n", curl_easy_strerror(result), status);
	}
	curl_multi_remove_handle(load->multi, client->easy);
	free(client->body);
	client->body = NULL;
	client->busy = false;
	client->done++;
}

/* ---- the loop ---- */

static void ask_health(struct load *load)
{
	if (!load->options->health || load->health_busy || (now() - load->health_sent) * 1e3 < HEALTH_INTERVAL_MS)
		return;
	if (!load->health_easy) {
		load->health_easy = curl_easy_init();
		set_url(load->health_easy, load, "/health");
		curl_easy_setopt(load->health_easy, CURLOPT_WRITEFUNCTION, discard);
		curl_easy_setopt(load->health_easy, CURLOPT_PRIVATE, NULL);
	}
	load->health_busy = true;
	load->health_sent = now();
	curl_multi_add_handle(load->multi, load->health_easy);
}

static void take_messages(struct load *load)
{
	CURLMsg *message;
	int left;
	while ((message = curl_multi_info_read(load->multi, &left))) {
		if (message->msg != CURLMSG_DONE)
			continue;
		if (message->easy_handle == load->health_easy) {
			series_add(&load->health, now() - load->health_sent);
			curl_multi_remove_handle(load->multi, load->health_easy);
			load->health_busy = false;
			continue;
		}
		char *client = NULL;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &client);
		finish_request((struct client *)(void *)client, message->data.result);
	}
}

/* True while something runs. start(load, client) sends the next request of an idle client, or returns false. */
static void run(struct load *load, bool (*start)(struct load *, struct client *))
{
	for (bool any = true; any;) {
		int running;
		any = false;
		for (int i = 0; i < load->n_clients; i++)
			if (!load->clients[i].busy)
				any |= start(load, &load->clients[i]);
			else
				any = true;
		any |= load->clients[MAX_CLIENTS].busy;
		if (any)
			ask_health(load);
		curl_multi_perform(load->multi, &running);
		take_messages(load);
		if (any)
			curl_multi_poll(load->multi, NULL, 0, load->options->health ? 5 : 100, NULL);
	}
	if (load->health_busy)
		curl_multi_remove_handle(load->multi, load->health_easy);
}

static void load_init(struct load *load, const struct options *options, int n_clients)
{
	*load = (struct load){.options = options, .multi = curl_multi_init(), .n_clients = n_clients};
	for (int i = 0; i <= MAX_CLIENTS; i++)
		load->clients[i] = (struct client){.load = load, .index = i, .is_long = i == MAX_CLIENTS};
}

static void load_free(struct load *load)
{
	for (int i = 0; i <= MAX_CLIENTS; i++)
		curl_easy_cleanup(load->clients[i].easy);
	curl_easy_cleanup(load->health_easy);
	curl_multi_cleanup(load->multi);
}

/* ---- throughput and latency ---- */

/* Words are not tokens: one request tells how many of them make one. */
static bool start_calibration(struct load *load, struct client *client)
{
	(void)load;
	if (client->done > 0)
		return false;
	send_request(client, 200, 1);
	return true;
}

static double measure_words_per_token(const struct options *options)
{
	static struct load load;
	load_init(&load, options, 1);
	run(&load, start_calibration);
	int n_tokens = load.clients[0].prompt_tokens;
	load_free(&load);
	return n_tokens > 0 ? 200.0 / n_tokens : 1;
}

static int words(const struct load *load, int n_tokens)
{
	int n = (int)(load->words_per_token * n_tokens);
	return n > 1 ? n : 1;
}

static bool start_measured(struct load *load, struct client *client)
{
	const struct options *options = load->options;
	/* The long prompt comes when every client streams. */
	bool all_stream = options->long_prompt > 0 && !load->long_sent;
	for (int i = 0; all_stream && i < load->n_clients; i++)
		all_stream = load->clients[i].n_tokens > 2;
	if (all_stream) {
		load->long_sent = load->long_running = true;
		send_request(&load->clients[MAX_CLIENTS], words(load, options->long_prompt), 2);
	}
	if (client->done >= options->requests)
		return false;
	send_request(client, words(load, options->prompt_tokens), options->max_tokens);
	return true;
}

static int measure(const struct options *options, int n_clients, double words_per_token)
{
	static struct load load;
	load_init(&load, options, n_clients);
	load.words_per_token = words_per_token;
	load.n_sent = n_clients * 1000003; /* no two runs share prompts */
	double start = now();
	run(&load, start_measured);
	double seconds = now() - start;
	printf("%d clients, %d requests each: %.1f tokens/s, %d failed\n", n_clients, options->requests,
	       (double)load.n_tokens / seconds, load.n_failed);
	print_series("time to first token", &load.first_token);
	print_series("gap between tokens", &load.gap);
	if (load.long_sent) {
		printf("  a prompt of %d tokens in between: first token after %.1f s\n",
		       load.clients[MAX_CLIENTS].prompt_tokens, load.long_seconds);
		print_series("gap meanwhile", &load.gap_during_long);
	}
	if (options->health)
		print_series("GET /health", &load.health);
	fflush(stdout);
	int failed = load.n_failed;
	load_free(&load);
	return failed;
}

/* ---- options ---- */

static bool take_option(struct options *options, const char *name, const char *value)
{
	struct {
		const char *name, **text;
		int *number;
	} rows[] = {{"--url", &options->url, NULL},
	            {"--clients", &options->clients, NULL},
	            {"--server", &options->server, NULL},
	            {"--requests", NULL, &options->requests},
	            {"--prompt-tokens", NULL, &options->prompt_tokens},
	            {"--max-tokens", NULL, &options->max_tokens},
	            {"--long-prompt", NULL, &options->long_prompt}};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		if (strcmp(name, rows[i].name) != 0)
			continue;
		if (rows[i].text)
			*rows[i].text = value;
		else
			*rows[i].number = atoi(value);
		return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	struct options options = {
	    .clients = "1,4,8,16", .server = "tallow", .requests = 2, .prompt_tokens = 128, .max_tokens = 128};
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--health") == 0) {
			options.health = true;
		} else if (i + 1 >= argc || !take_option(&options, argv[i], argv[i + 1])) {
			fprintf(stderr, "load: unknown option or missing value: %s (see the head of load.c)\n", argv[i]);
			return 2;
		} else {
			i++;
		}
	}
	if (!options.url) {
		fprintf(stderr, "load: --url is missing\n");
		return 2;
	}
	curl_global_init(CURL_GLOBAL_DEFAULT);
	int failed = 0;
	double words_per_token = measure_words_per_token(&options);
	for (const char *at = options.clients; *at;) {
		char *end;
		long n = strtol(at, &end, 10);
		if (end == at || n < 1 || n > MAX_CLIENTS) {
			fprintf(stderr, "load: --clients wants numbers of 1 to %d\n", MAX_CLIENTS);
			return 2;
		}
		failed += measure(&options, (int)n, words_per_token);
		at = *end ? end + 1 : end;
	}
	curl_global_cleanup();
	return failed ? 1 : 0;
}
