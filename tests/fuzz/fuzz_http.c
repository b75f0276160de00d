/* What a client sends: the head of a request and, behind it, a chunked body. Pieces of any size give the same; what was
 * taken holds what head.h and chunks.h promise. */
#include <string.h>

#include "fuzz.h"
#include "server/http/chunks.h"
#include "server/http/head.h"

/* Goes over the bytes in pieces. */
static enum head_result scan(struct fuzz_part input, size_t piece, size_t *n_head, enum error_code *code)
{
	struct head_scanner scanner = {0};
	struct error error = {0};
	enum head_result result = HEAD_PARTIAL;
	*n_head = 0;
	while (result == HEAD_PARTIAL && *n_head < input.n_bytes) {
		size_t n_piece = input.n_bytes - *n_head < piece ? input.n_bytes - *n_head : piece, n_used = 0;
		result = head_scan(&scanner, (const char *)input.data + *n_head, n_piece, &n_used, &error);
		REQUIRE(n_used <= n_piece && (result != HEAD_PARTIAL || n_used == n_piece));
		*n_head += n_used;
	}
	*code = error.code;
	return result;
}

static void check_text(struct fuzz_part input, struct head_text text)
{
	const char *begin = (const char *)input.data;
	for (size_t i = 0; i < text.n_bytes; i++)
		REQUIRE((unsigned char)text.at[i] >= 0x20 || text.at[i] == '\t');
	if (text.n_bytes > 1) /* "/" may stand for an empty path */
		REQUIRE(text.at >= begin && text.at + text.n_bytes <= begin + input.n_bytes);
}

static void check_head(struct fuzz_part input, const struct head *head)
{
	struct head_text value;
	check_text(input, head->method);
	check_text(input, head->path);
	check_text(input, head->host);
	REQUIRE(head->method.n_bytes > 0 && head->path.n_bytes > 0 && !memchr(head->path.at, '?', head->path.n_bytes));
	REQUIRE(head->n_fields <= HEAD_MAX_FIELDS && !(head->chunked && head->has_length));
	for (int i = 0; i < head->n_fields; i++) {
		check_text(input, head->fields[i].name);
		check_text(input, head->fields[i].value);
		REQUIRE(!memchr(head->fields[i].name.at, ' ', head->fields[i].name.n_bytes));
	}
	REQUIRE(head_find(head, "Content-Length", &value) == head->has_length);
	REQUIRE(head_find(head, "Transfer-Encoding", &value) == head->chunked);
	REQUIRE(head_find(head, "Host", &value) <= 1);
}

/* How much of the body was taken, and a sum of its data. */
static size_t decode(struct fuzz_part body, size_t piece, enum chunks_state *state, uint64_t *sum)
{
	struct chunk_decoder decoder = {0};
	size_t at = 0;
	*sum = 0;
	while (at < body.n_bytes && decoder.state != CHUNKS_ENDED && decoder.state != CHUNKS_BAD) {
		char data[512];
		size_t n_piece = body.n_bytes - at < piece ? body.n_bytes - at : piece, n_data = 0;
		at += chunks_decode(&decoder, (const char *)body.data + at, n_piece, data, &n_data);
		REQUIRE(n_data <= n_piece);
		for (size_t i = 0; i < n_data; i++)
			*sum = *sum * 31 + (unsigned char)data[i];
	}
	*state = decoder.state;
	return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
	struct fuzz_part input = {data, n_bytes};
	size_t n_head, n_again;
	enum error_code code, code_again;
	fuzz_begin();
	enum head_result result = scan(input, SIZE_MAX, &n_head, &code);
	REQUIRE(scan(input, 1, &n_again, &code_again) == result && n_again == n_head && code_again == code);
	if (result != HEAD_WHOLE)
		return 0;
	static struct head head;
	struct error error = {0};
	if (!head_parse((const char *)data, n_head, &head, &error)) {
		REQUIRE(error.code != ERROR_NONE && error.message[0] != '\0');
		return 0;
	}
	check_head(input, &head);
	struct fuzz_part body = {data + n_head, n_bytes - n_head};
	enum chunks_state state, state_again;
	uint64_t sum, sum_again;
	size_t n_body = decode(body, 512, &state, &sum);
	REQUIRE(decode(body, 1, &state_again, &sum_again) == n_body && state_again == state && sum_again == sum);
	return 0;
}
