/* config.json and, as a second part, generation_config.json: what is understood is consistent, and the memory plan can
 * be made of it. */
#include "base/json.h"
#include "fuzz.h"
#include "model/config.h"
#include "model/plan.h"

/* The bytes where they lie, so that a read past their end is seen. */
static void parse(struct fuzz_part part)
{
	struct error error = {0};
	struct json *document = json_parse((const char *)part.data, part.n_bytes, NULL, &error);
	REQUIRE(document || error.code == ERROR_INVALID_REQUEST || error.code == ERROR_MEMORY);
	json_destroy(document);
}

/* As `tallow inspect` makes it. */
static void plan(const struct model_config *config)
{
	struct error error = {0};
	struct model_weights described = {0};
	struct weight_choices sizes;
	struct model_plan plan;
	struct model_options options = {.n_threads = 2, .kv_auto = true, .weights_auto = true};
	if (weights_describe(config, DTYPE_BF16, &described, &error) &&
	    model_weight_choices(&described, config, &options, &sizes, &error) &&
	    model_plan(config, &options, &sizes, &plan, &error)) {
		uint64_t total = 0;
		for (int i = 0; i < plan.n_lines; i++)
			REQUIRE(!__builtin_add_overflow(total, plan.lines[i].n_bytes, &total));
		REQUIRE(total == plan.total_bytes && plan.n_kv_pages > 0);
	} else {
		fuzz_check_error(&error);
	}
	weights_free(&described);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
	struct fuzz_part rest = {data, n_bytes}, part;
	struct model_config config;
	struct error error = {0};
	fuzz_begin();
	fuzz_next_part(&rest, &part);
	parse(part);
	fuzz_write("config.json", part);
	if (fuzz_next_part(&rest, &part))
		fuzz_write("generation_config.json", part);
	else
		fuzz_remove("generation_config.json");
	if (config_load(fuzz_folder(), &config, &error)) {
		fuzz_check_config(&config);
		plan(&config);
	} else {
		fuzz_check_error(&error);
	}
	return 0;
}
