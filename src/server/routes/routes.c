/* The table of routes. Paths are compared as they came, never decoded first: `//health`, `/%68ealth` and `/x/../health`
 * are other paths, so no two spellings can mean one route to a proxy and another to us. */
#include <string.h>

#include "server/dialects/dialect.h"
#include "server/server_private.h"

#define GET_METHODS    "GET, HEAD, OPTIONS"
#define POST_METHODS   "POST, OPTIONS"
#define DELETE_METHODS "DELETE, OPTIONS"

static const struct route routes[] = {
    {"/execute", "POST", POST_METHODS, false, false, false, &worker_dialect, handle_execute},
    {"/v1/inference", "POST", POST_METHODS, false, false, false, &orchestrator_inference_dialect, handle_job},
    {"/v1/inference/{}/stream", "GET", GET_METHODS, false, false, false, &worker_dialect, handle_job_stream},
    {"/v1/jobs", "POST", POST_METHODS, false, false, false, &orchestrator_job_dialect, handle_job},
    {"/v1/jobs/{}", "DELETE", DELETE_METHODS, false, false, false, &orchestrator_job_dialect, handle_job_end},
    {"/v1/jobs/{}/stream", "GET", GET_METHODS, false, false, false, &orchestrator_job_dialect, handle_job_stream},
    {"/v1/infer", "POST", POST_METHODS, false, false, false, &orchestrator_infer_dialect, handle_infer},
    {"/cancel", "POST", POST_METHODS, false, false, false, &worker_dialect, handle_cancel},
    {"/shutdown", "POST", POST_METHODS, false, true, false, &worker_dialect, handle_shutdown},
    {"/v1/chat/completions", "POST", POST_METHODS, false, false, false, &openai_chat_dialect, handle_execute},
    {"/v1/completions", "POST", POST_METHODS, false, false, false, &openai_completion_dialect, handle_execute},
    {"/v1/responses", "POST", POST_METHODS, false, false, false, &responses_dialect, handle_execute},
    {"/v1/messages", "POST", POST_METHODS, false, false, false, &messages_dialect, handle_execute},
    {"/v1/messages/count_tokens", "POST", POST_METHODS, false, false, false, &messages_dialect, handle_count_tokens},
    {"/api/chat", "POST", POST_METHODS, false, false, false, &ollama_chat_dialect, handle_execute},
    {"/api/generate", "POST", POST_METHODS, false, false, false, &ollama_generate_dialect, handle_execute},
    {"/api/embed", "POST", POST_METHODS, false, false, false, &ollama_chat_dialect, handle_ollama_embed},
    {"/api/embeddings", "POST", POST_METHODS, false, false, false, &ollama_chat_dialect, handle_ollama_embeddings},
    {"/api/tags", "GET", GET_METHODS, false, false, true, &ollama_chat_dialect, handle_ollama_tags},
    {"/api/ps", "GET", GET_METHODS, false, false, true, &ollama_chat_dialect, handle_ollama_ps},
    {"/api/version", "GET", GET_METHODS, false, false, true, &ollama_chat_dialect, handle_ollama_version},
    {"/api/show", "POST", POST_METHODS, false, false, false, &ollama_chat_dialect, handle_ollama_show},
    {"/api/pull", "POST", POST_METHODS, false, false, false, &ollama_chat_dialect, handle_ollama_refused},
    {"/api/push", "POST", POST_METHODS, false, false, false, &ollama_chat_dialect, handle_ollama_refused},
    {"/api/create", "POST", POST_METHODS, false, false, false, &ollama_chat_dialect, handle_ollama_refused},
    {"/api/copy", "POST", POST_METHODS, false, false, false, &ollama_chat_dialect, handle_ollama_refused},
    {"/api/delete", "DELETE", DELETE_METHODS, false, false, false, &ollama_chat_dialect, handle_ollama_refused},
    {"/v1/embeddings", "POST", POST_METHODS, false, false, false, &openai_chat_dialect, handle_embeddings},
    {"/v1/models", "GET", GET_METHODS, false, false, true, &openai_chat_dialect, handle_models},
    {"/v1/models/{}", "GET", GET_METHODS, false, false, true, &openai_chat_dialect, handle_model},
    {"/tokenize", "POST", POST_METHODS, false, false, false, &openai_chat_dialect, handle_tokenize},
    {"/detokenize", "POST", POST_METHODS, false, false, false, &openai_chat_dialect, handle_detokenize},
    {"/apply-template", "POST", POST_METHODS, false, false, false, &openai_chat_dialect, handle_apply_template},
    {"/", "GET", GET_METHODS, true, false, false, &worker_dialect, handle_page},
    {"/health", "GET", GET_METHODS, true, false, true, &worker_dialect, handle_health},
    {"/livez", "GET", GET_METHODS, true, false, true, &worker_dialect, handle_livez},
    {"/v1/ready", "GET", GET_METHODS, false, false, true, &worker_dialect, handle_ready},
    {"/v1/loading/progress", "GET", GET_METHODS, false, false, true, &worker_dialect, handle_loading},
    {"/info", "GET", GET_METHODS, false, false, true, &worker_dialect, handle_info},
    {"/openapi.json", "GET", GET_METHODS, false, false, true, &worker_dialect, handle_openapi},
    {"/metrics", "GET", GET_METHODS, false, true, true, &worker_dialect, handle_metrics},
};

const struct route *routes_all(size_t *n_routes)
{
	*n_routes = sizeof routes / sizeof routes[0];
	return routes;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Decodes a percent-encoded path segment of n_bytes; false when it is malformed, empty, too long or holds %00. */
static bool decode_argument(struct exchange *exchange, const char *text, size_t n_bytes)
{
	size_t n_out = 0;
	for (size_t i = 0; i < n_bytes; i++) {
		int value = (unsigned char)text[i];
		if (value == '%') {
			if (i + 2 >= n_bytes)
				return false;
			int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
			if (high < 0 || low < 0)
				return false;
			value = high * 16 + low;
			i += 2;
		}
		if (value == 0 || n_out == PATH_ARGUMENT_BYTES)
			return false;
		exchange->path_argument[n_out++] = (char)value;
	}
	exchange->path_argument[n_out] = '\0';
	exchange->n_path_argument = n_out;
	return n_out > 0;
}

static bool route_matches(const struct route *route, struct exchange *exchange, struct head_text path)
{
	const char *hole = strstr(route->path, "{}");
	size_t n_before = hole ? (size_t)(hole - route->path) : strlen(route->path);
	size_t n_after = hole ? strlen(hole + 2) : 0;
	if (path.n_bytes < n_before + n_after || memcmp(path.at, route->path, n_before) != 0)
		return false;
	if (!hole)
		return path.n_bytes == n_before;
	const char *argument = path.at + n_before;
	size_t n_argument = path.n_bytes - n_before - n_after;
	return memcmp(argument + n_argument, hole + 2, n_after) == 0 && !memchr(argument, '/', n_argument) &&
	       decode_argument(exchange, argument, n_argument);
}

const struct route *route_find(struct exchange *exchange, struct head_text path)
{
	for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++)
		if (route_matches(&routes[i], exchange, path))
			return &routes[i];
	return NULL;
}

/* Whose path it is, or would be. What begins with /v1 is OpenAI's but for what is named before it; without that, a client has
 * been given an address that lacks it. */
static const struct dialect *dialect_of(struct head_text path)
{
	static const struct {
		const char *prefix;
		const struct dialect *dialect;
	} known[] = {
	    {"/api", &ollama_chat_dialect},       {"/v1/messages", &messages_dialect},
	    {"/v1/inference", &worker_dialect},   {"/v1/infer", &worker_dialect},
	    {"/v1/jobs", &worker_dialect},        {"/v1/ready", &worker_dialect},
	    {"/v1/loading", &worker_dialect},     {"/v1", &openai_chat_dialect},
	    {"/chat", &openai_chat_dialect},      {"/completions", &openai_chat_dialect},
	    {"/responses", &openai_chat_dialect}, {"/embeddings", &openai_chat_dialect},
	    {"/models", &openai_chat_dialect},
	};
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		size_t n_bytes = strlen(known[i].prefix);
		if (path.n_bytes >= n_bytes && memcmp(path.at, known[i].prefix, n_bytes) == 0 &&
		    (path.n_bytes == n_bytes || path.at[n_bytes] == '/'))
			return known[i].dialect;
	}
	return &worker_dialect;
}

const struct dialect *route_dialect(const struct head *head)
{
	struct head_text version;
	const struct dialect *dialect = dialect_of(head->path);
	bool is_anthropics = dialect == &openai_chat_dialect && head_find(head, "Anthropic-Version", &version) > 0;
	return is_anthropics ? &messages_dialect : dialect;
}

bool route_missing(const struct dialect *dialect, struct error *error)
{
	struct bytes there = {0};
	for (size_t i = 0; dialect != &worker_dialect && i < sizeof routes / sizeof routes[0]; i++) {
		const struct route *route = &routes[i];
		struct head_text path = {.at = route->path, .n_bytes = strlen(route->path)};
		if (dialect_of(path) == dialect && route->handler != handle_ollama_refused && !strstr(route->path, "{}"))
			bytes_append_format(&there, "%s%s %s", there.n_bytes > 0 ? ", " : "", route->method, route->path);
	}
	error_set(error, ERROR_NOT_FOUND, "no such path; %s%s",
	          there.n_bytes > 0 ? "of this API there are " : "GET /openapi.json describes those that there are",
	          there.n_bytes > 0 ? there.data : "");
	bytes_free(&there);
	return false;
}
