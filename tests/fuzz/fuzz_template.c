/* A chat template and, as a second part, a conversation for it. */
#include <string.h>

#include "base/json.h"
#include "fuzz.h"
#include "text/template.h"
#include "text/unicode.h"

static const char sample[] =
    "{\"messages\":[{\"role\":\"user\",\"content\":\"H\xC3\xA9 <x>\",\"n\":1.5},{\"role\":\"tool\","
    "\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}],\"tools\":[{\"name\":\"f\"}],"
    "\"chat_template_kwargs\":{\"nums\":[3,1,2],\"d\":{\"b\":1,\"a\":{\"k\":null}}}}";

static void check_message(const struct error *error)
{
	size_t n = strnlen(error->message, sizeof error->message);
	REQUIRE(n < sizeof error->message);
	for (size_t i = 0; i < n; i++)
		REQUIRE((unsigned char)error->message[i] >= 0x20);
}

static void check_rendering(const struct rendering *rendering)
{
	size_t at = 0;
	for (size_t i = 0; i < rendering->n_runs; i++) {
		REQUIRE(rendering->runs[i].start == at && rendering->runs[i].end > at);
		REQUIRE(i == 0 || rendering->runs[i].from_data != rendering->runs[i - 1].from_data);
		at = rendering->runs[i].end;
	}
	REQUIRE(at == rendering->n_bytes && rendering->text[at] == 0);
	REQUIRE(unicode_valid_prefix(rendering->text, rendering->n_bytes) == rendering->n_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
	struct fuzz_part rest = {data, n_bytes}, source, part = {(const uint8_t *)sample, sizeof sample - 1};
	struct template_constant constants[] = {{"bos_token", "<s>", 3}};
	struct error error = {0};
	fuzz_begin();
	fuzz_next_part(&rest, &source);
	fuzz_next_part(&rest, &part);
	struct json *conversation = json_parse((const char *)part.data, part.n_bytes, &(struct json_limits){0}, &error);
	if (!conversation)
		return 0;
	struct template *template = template_compile((const char *)source.data, source.n_bytes, &error);
	if (template) {
		struct template_input input = {.conversation = conversation,
		                               .constants = constants,
		                               .n_constants = 1,
		                               .now = {2026, 1, 31, 9, 5, 7, 0},
		                               .limits = {.max_steps = 200000, .max_memory_bytes = 32 << 20}};
		struct rendering rendering = {0};
		if (template_render(template, &input, &rendering, &error)) {
			check_rendering(&rendering);
		} else {
			REQUIRE(error.code == ERROR_TEMPLATE || error.code == ERROR_INVALID_REQUEST || error.code == ERROR_MEMORY);
			check_message(&error);
		}
		rendering_free(&rendering);
		template_destroy(template);
	} else {
		fuzz_check_error(&error);
	}
	json_destroy(conversation);
	return 0;
}
