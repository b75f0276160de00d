/* Chat templates: our own, with what Jinja2 makes of them (tests/templates); published ones where the fixtures are; where
 * each byte comes from; limits. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "text/template.h"
#include "text/unicode.h"

enum { MAX_FILE = 64 << 20 };

static const struct template_limits no_limits;

static struct json *read_json(const char *path)
{
	struct error error = {0};
	struct json *json = json_parse_file(path, MAX_FILE, &(struct json_limits){.max_depth = 128}, &error);
	if (!json)
		fail_msg("%s", error.message);
	return json;
}

static struct json *parse(const char *text)
{
	struct error error = {0};
	struct json *json = json_parse(text, strlen(text), &(struct json_limits){0}, &error);
	if (!json)
		fail_msg("%s", error.message);
	return json;
}

/* Compiles and renders; false with the error of either. */
static bool render(const char *source, size_t n_source, const struct template_input *input, struct rendering *out,
                   struct error *error)
{
	struct template *template = template_compile(source, n_source, error);
	bool ok = template && template_render(template, input, out, error);
	template_destroy(template);
	return ok;
}

/* ---- what Jinja2 makes of them ---- */

static size_t read_constants(const struct json *object, struct template_constant out[8])
{
	size_t n = 0;
	for (const struct json *member = json_first(object); member && n < 8; member = json_next(member), n++) {
		out[n].name = json_key(member, NULL);
		out[n].text = json_string(member, &out[n].n_bytes);
	}
	return n;
}

static bool starts_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

/* Whether the error is the one that Python raises: of its type, and where a template's author meets it, word by word. */
static bool same_refusal(const struct error *error, const char *wanted)
{
	static const char *const exact[] = {"UndefinedError", "SecurityError", "TemplateRuntimeError"};
	char type[80];
	snprintf(type, sizeof type, "%.*s:", (int)strcspn(wanted, ":"), wanted);
	if (starts_with(wanted, "TemplateSyntaxError"))
		return error->code == ERROR_MODEL && strstr(error->message, "line ") && strstr(error->message, "column ");
	if (error->code != ERROR_TEMPLATE)
		return false;
	if (starts_with(wanted, "TemplateError: "))
		return strcmp(error->message, wanted + strlen("TemplateError: ")) == 0;
	for (size_t i = 0; i < sizeof exact / sizeof *exact; i++)
		if (starts_with(wanted, exact[i]))
			return starts_with(error->message, wanted) &&
			       starts_with(error->message + strlen(wanted), " (chat template");
	return starts_with(error->message, type);
}

static void check_runs(const struct rendering *rendering)
{
	size_t at = 0;
	for (size_t i = 0; i < rendering->n_runs; i++) {
		assert_true(rendering->runs[i].start == at && rendering->runs[i].end > at);
		assert_true(i == 0 || rendering->runs[i].from_data != rendering->runs[i - 1].from_data);
		at = rendering->runs[i].end;
	}
	assert_int_equal(at, rendering->n_bytes);
	assert_int_equal(unicode_valid_prefix(rendering->text, rendering->n_bytes), rendering->n_bytes);
	assert_int_equal(rendering->text[rendering->n_bytes], 0);
}

/* [template, text] or [template, null, error] */
static bool check_case(const struct json *item, const struct template_input *input)
{
	struct rendering rendering = {0};
	struct error error = {0};
	size_t n_source, n_wanted = 0;
	const struct json *text = json_next(json_first(item));
	const char *source = json_string(json_first(item), &n_source);
	const char *wanted = json_string(text, &n_wanted);
	const char *refusal = wanted ? NULL : json_string(json_next(text), NULL);
	bool ok = render(source, n_source, input, &rendering, &error), same;
	if (ok)
		check_runs(&rendering);
	if (wanted)
		same = ok && rendering.n_bytes == n_wanted && memcmp(rendering.text, wanted, n_wanted) == 0;
	else
		same = !ok && same_refusal(&error, refusal);
	if (!same)
		print_error("%s\n  wanted: %s\n  got:    %s\n", source, wanted ? wanted : refusal,
		            ok ? rendering.text : error.message);
	rendering_free(&rendering);
	return same;
}

static void check_file(const char *name)
{
	struct template_constant constants[8];
	struct json *setup = read_json("tests/templates/conversation.json");
	char path[200];
	size_t n_failed = 0, n = 0;
	struct template_input input = {.conversation = json_get(setup, "conversation"), .constants = constants};
	input.n_constants = read_constants(json_get(setup, "constants"), constants);
	assert_true(template_time_parse(json_string(json_get(setup, "now"), NULL), &input.now));
	snprintf(path, sizeof path, "tests/templates/%s.json", name);
	struct json *cases = read_json(path);
	for (const struct json *item = json_first(cases); item; item = json_next(item), n++)
		n_failed += !check_case(item, &input);
	assert_true(n > 40);
	assert_int_equal(n_failed, 0);
	json_destroy(cases);
	json_destroy(setup);
}

static void test_expressions(void **state)
{
	(void)state;
	check_file("expressions");
}

static void test_filters(void **state)
{
	(void)state;
	check_file("filters");
}

static void test_methods(void **state)
{
	(void)state;
	check_file("methods");
}

static void test_statements(void **state)
{
	(void)state;
	check_file("statements");
}

/* ---- published templates ---- */

static char *read_text(const char *path, size_t *n)
{
	FILE *file = fopen(path, "rb");
	char *text = malloc(1 << 20);
	assert_non_null(file);
	assert_non_null(text);
	*n = fread(text, 1, 1 << 20, file);
	fclose(file);
	return text;
}

static bool check_published(const char *folder, const struct json *cases, const struct json *item)
{
	struct template_constant constants[] = {{.name = "bos_token"}, {.name = "eos_token"}};
	char path[600];
	size_t n_source;
	struct rendering rendering = {0};
	struct error error = {0};
	const char *wanted = json_string(json_get(item, "py"), NULL),
	           *refusal = json_string(json_get(item, "py_error"), NULL);
	const char *name = json_string(json_get(item, "case"), NULL);
	struct template_input input = {.conversation = json_get(cases, name),
	                               .constants = constants,
	                               .n_constants = 2,
	                               .now = {2025, 7, 10, 12, 0, 0, 0}};
	for (int i = 0; i < 2; i++)
		constants[i].text = json_string(json_get(item, constants[i].name), &constants[i].n_bytes);
	snprintf(path, sizeof path, "%s/templates/%s", folder, json_string(json_get(item, "template_file"), NULL));
	char *source = read_text(path, &n_source);
	bool ok = render(source, n_source, &input, &rendering, &error);
	bool same = ok ? wanted && strcmp(rendering.text, wanted) == 0 : refusal && same_refusal(&error, refusal);
	if (ok)
		check_runs(&rendering);
	if (!same)
		print_error("%s, %s: %s\n", path, name, ok ? "another text" : error.message);
	rendering_free(&rendering);
	free(source);
	return same;
}

static void test_published(void **state)
{
	(void)state;
	const char *fixtures = getenv("TALLOW_FIXTURES");
	char folder[400], path[500];
	size_t n = 0, n_failed = 0;
	snprintf(folder, sizeof folder, "%s/chat", fixtures ? fixtures : "");
	snprintf(path, sizeof path, "%s/renderings.json", folder);
	FILE *there = fopen(path, "r");
	if (!there)
		skip();
	fclose(there);
	struct json *document = read_json(path);
	const struct json *list = json_get(document, "renderings");
	for (const struct json *item = json_first(list); item; item = json_next(item), n++)
		n_failed += !check_published(folder, json_get(document, "cases"), item);
	assert_int_equal(n, 270);
	assert_int_equal(n_failed, 0);
	json_destroy(document);
}

/* ---- where bytes come from ---- */

/* In `marks` a d stands for each byte of the conversation and a t for each of the template. */
static void check_marks(const char *source, const char *text, const char *marks)
{
	static const char conversation[] =
	    "{\"messages\":[{\"role\":\"bird\",\"content\":\"<|end|> x\"},{\"role\":\"a\",\"content\":\" Y\\n\"}],"
	    "\"tools\":[{\"name\":\"f\",\"n\":12}],\"chat_template_kwargs\":{\"k\":\"kw\"}}";
	struct template_constant constants[] = {{"bos_token", "<s>", 3}};
	struct json *json = parse(conversation);
	struct template_input input = {.conversation = json, .constants = constants, .n_constants = 1};
	struct rendering rendering = {0};
	struct error error = {0};
	char got[200] = "";
	if (!render(source, strlen(source), &input, &rendering, &error))
		fail_msg("%s: %s", source, error.message);
	check_runs(&rendering);
	assert_true(rendering.n_bytes < sizeof got);
	for (size_t i = 0; i < rendering.n_runs; i++)
		memset(got + rendering.runs[i].start, rendering.runs[i].from_data ? 'd' : 't',
		       rendering.runs[i].end - rendering.runs[i].start);
	assert_string_equal(rendering.text, text);
	assert_string_equal(got, marks);
	rendering_free(&rendering);
	json_destroy(json);
}

static void test_origins(void **state)
{
	(void)state;
	check_marks("<|{{ messages[0].role }}|>{{ bos_token }}", "<|bird|><s>", "ttddddttttt");
	check_marks("{{ '<' + messages[0].role + '>' }}", "<bird>", "tddddt");
	check_marks("{{ '<' ~ messages[0].role ~ 1 }}", "<bird1", "tddddt");
	check_marks("{{ ('<' + messages[0].role + '>')[1:3] }}", "bi", "dd");
	check_marks("{{ ('<' + messages[0].role)[::-1] }}", "drib<", "ddddt");
	check_marks("<{{ ''[::-1] }}{{ (messages[0].role[:0])[::-1] }}{{ 'ab'[0:1:-1] }}>", "<>", "tt");
	check_marks("{{ ('a' + messages[0].role)|upper }}", "ABIRD", "tdddd");
	check_marks("{{ ('é' + messages[0].role)|upper }}", "ÉBIRD", "ttdddd");
	check_marks("{{ ('-' + messages[1].content + '-')|replace('Y', '<Z>') }}", "- <Z>\n-", "tdtttdt");
	check_marks("{{ 'a b'|replace('b', messages[0].role) }}", "a bird", "ttdddd");
	check_marks("{{ (' ' + messages[1].content)|trim }}", "Y", "d");
	check_marks("{{ ['a', messages[0].role]|join('+') }}", "a+bird", "ttdddd");
	check_marks("{{ messages|map(attribute='role')|join(',') }}", "bird,a", "ddddtd");
	check_marks("{{ messages[0].content.split(' ')[0] }}", "<|end|>", "ddddddd");
	check_marks("{{ messages[1].content|tojson }}", "\" Y\\n\"", "dddddd");
	check_marks("{{ {'a': messages[0].role}|tojson }}", "{\"a\": \"bird\"}",
	            "tttttt"
	            "dddddd"
	            "t");
	check_marks("{{ [1, [2]]|tojson(indent='-' ~ messages[1].role) }}", "[\n-a1,\n-a[\n-a-a2\n-a]\n]",
	            "tttdttttdtttdtdtttdttt");
	check_marks("{{ [1, 2]|tojson(separators=(';' ~ messages[0].role, messages[0].role ~ ':')) }}", "[1;bird2]",
	            "tttddddtt");
	check_marks("{{ {'k': 1}|tojson(separators=(',', '<' ~ messages[0].role ~ ':')) }}", "{\"k\"<bird:1}",
	            "tttttddddttt");
	check_marks("{{ tools|tojson(separators=('-' ~ k, ':')) }}", "[{\"name\":\"f\"-kw\"n\":12}]",
	            "ddddddddddddddddddddddd");
	check_marks("{{ ('{:' ~ messages[0].role[0] ~ '>3}|{:->2}').format('x', 'y') }}", "bbx|-y", "ddtttt");
	check_marks("{{ tools|tojson }}", "[{\"name\": \"f\", \"n\": 12}]", "dddddddddddddddddddddddd");
	check_marks("{{ tools[0].n + 1 }}{{ loop|default(3) }}", "133", "ddt");
	check_marks("{{ tools[0] }}", "{'name': 'f', 'n': 12}", "dddddddddddddddddddddd");
	check_marks("{{ '%s:%s' % ('a', messages[0].role) }}", "a:bird", "ttdddd");
	check_marks("{{ '{}{:>6}'.format('a', messages[0].role) }}", "a  bird", "tttdddd");
	check_marks("{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m(messages[0].role) }}", "[bird]", "tddddt");
	check_marks("{% set x %}[{{ k }}]{% endset %}{{ x }}", "[kw]", "tddt");
	check_marks("{% filter upper %}a{{ k }}{% endfilter %}", "AKW", "tdd");
	check_marks("{% for c in messages[0].role %}{{ c }}.{% endfor %}", "b.i.r.d.", "dtdtdtdt");
	check_marks("{% for k in messages[1] %}{{ k }}{% endfor %}", "rolecontent", "ddddddddddd");
	check_marks("{{ 'x' * 2 }}{{ messages[0].role * 2 }}", "xxbirdbird", "ttdddddddd");
	check_marks("{{ 'ab'|indent(1, true) }}{{ messages[0].role|capitalize }}", " abBird", "tttdddd");
	check_marks("{{ 'bird' if messages[0].role == 'bird' else '' }}", "bird", "tttt");
	check_marks("{{ messages[0].role|length }}{{ messages[0].role|string|e }}", "4bird", "tdddd");
	check_marks(
	    "{% set ns = namespace(t='') %}{% for m in messages %}{% set ns.t = ns.t + '<' + m.role + '>' %}{% endfor %}"
	    "{{ ns.t }}",
	    "<bird><a>", "tddddttdt");
}

/* Templates make control tokens of the roles that every conversation has; a role of another name is a text like any. */
static void test_known_roles(void **state)
{
	(void)state;
	static const char source[] = "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}{% endfor %}";
	struct json *json = parse("{\"messages\":[{\"role\":\"user\",\"content\":\"user\"},"
	                          "{\"role\":\"users\",\"content\":\"\"}]}");
	struct template_input input = {.conversation = json};
	struct rendering rendering = {0};
	struct error error = {0};
	if (!render(source, sizeof source - 1, &input, &rendering, &error))
		fail_msg("%s", error.message);
	assert_string_equal(rendering.text, "<|user|>user<|users|>");
	assert_int_equal(rendering.n_runs, 5);
	assert_true(!rendering.runs[0].from_data && rendering.runs[0].end == 8);
	assert_true(rendering.runs[3].from_data && rendering.runs[3].start == 14 && rendering.runs[3].end == 19);
	rendering_free(&rendering);
	json_destroy(json);
}

/* ---- limits ---- */

static void check_limit(const char *source, const char *what)
{
	struct json *json = parse("{\"messages\":[]}");
	struct template_input input = {.conversation = json, .limits = no_limits};
	struct rendering rendering = {0};
	struct error error = {0};
	if (render(source, strlen(source), &input, &rendering, &error))
		fail_msg("%s: rendered %zu bytes", source, rendering.n_bytes);
	if (error.code != ERROR_TEMPLATE || !strstr(error.message, what))
		fail_msg("%s: %s", source, error.message);
	json_destroy(json);
}

static void test_limits(void **state)
{
	(void)state;
	check_limit("{% for x in range(10**9) %}{% endfor %}", "Range too big");
	check_limit("{% set r = range(9999)|list %}{% for x in r %}{% for y in r %}{% endfor %}{% endfor %}", "steps");
	check_limit("{% set ns = namespace(s='ab') %}{% for x in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
	            "bytes of memory");
	check_limit("{% set ns = namespace(s=[1]) %}{% for x in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
	            "bytes of memory");
	check_limit("{{ 'ab' * 10**15 }}", "bytes of memory");
	check_limit("{{ [1] * 10**15 }}", "bytes of memory");
	check_limit("{{ 'a'.center(10**15) }}", "steps");
	check_limit("{{ '%999999999d' % 1 }}", "width too big");
	check_limit("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nested evaluations");
	check_limit("{% macro m(x) %}{% for y in [x] recursive %}{{ loop([y]) }}{% endfor %}{% endmacro %}{{ m(1) }}",
	            "nested evaluations");
	check_limit("{% set ns = namespace(l=[]) %}{% for x in range(9999) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}",
	            "nested evaluations");
	check_limit("{% set ns = namespace(l=[]) %}{% for x in range(9999) %}{% set ns.l = [ns.l] %}{% endfor %}"
	            "{{ ns.l == [ns.l] }}{{ ns.l|tojson }}",
	            "nested evaluations");
	check_limit("{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}", "nested evaluations");
	check_limit("{% set s = 'abcdefgh' * 99999 %}{% for x in range(999) %}{{ s }}{% endfor %}", "bytes of output");
	check_limit("{{ 9223372036854775807 + 1 }}", "64 bits");
	check_limit("{{ 2 ** 64 }}", "64 bits");
	check_limit("{{ 4e99|int }}", "64 bits");
	check_limit("{{ '4e99'|int }}", "64 bits");
	check_limit("{{ (4e99 * 4e300)|int }}", "infinity");
	check_limit("{{ 10 ** 10 ** 10 }}", "64 bits");
}

static void test_memory_of_runs(void **state)
{
	(void)state;
	static const char source[] = "{% for i in [1] * 1000 %}<{{ messages[0].content }}{% endfor %}";
	struct json *json = parse("{\"messages\":[{\"content\":\"b\"}]}");
	struct template_input input = {.conversation = json, .limits.max_memory_bytes = 50000};
	struct rendering rendering = {0};
	struct error error = {0};
	assert_false(render(source, sizeof source - 1, &input, &rendering, &error));
	assert_int_equal(error.code, ERROR_TEMPLATE);
	assert_non_null(strstr(error.message, "50000 bytes of memory"));
	input.limits.max_memory_bytes = 100000;
	assert_true(render(source, sizeof source - 1, &input, &rendering, &error));
	assert_int_equal(rendering.n_runs, 2000);
	rendering_free(&rendering);
	json_destroy(json);
}

static void check_text(const char *source, const char *text)
{
	struct json *json = parse("{\"messages\":[]}");
	struct template_input input = {.conversation = json};
	struct rendering rendering = {0};
	struct error error = {0};
	if (!render(source, strlen(source), &input, &rendering, &error))
		fail_msg("%s: %s", source, error.message);
	assert_string_equal(rendering.text, text);
	rendering_free(&rendering);
	json_destroy(json);
}

/* What is long to do takes steps: `k` is 64 bytes of a's, `s` some 192,000 of them, `big` 30,000 numbers. */
static void check_steps(const char *source)
{
	static const char setup[] = "{% set k = 'aaaaaaaaaaaaaaaa' * 4 %}{% set s = k * 3000 %}{% set big = [1] * 30000 %}";
	struct json *json = parse("{\"messages\":[]}");
	struct template_input input = {.conversation = json, .limits.max_steps = 20000};
	struct rendering rendering = {0};
	struct error error = {0};
	struct bytes whole = {0};
	bytes_append_text(&whole, setup);
	if (!render(whole.data, whole.n_bytes, &input, &rendering, &error))
		fail_msg("%s", error.message);
	rendering_free(&rendering);
	bytes_append_text(&whole, source);
	if (render(whole.data, whole.n_bytes, &input, &rendering, &error))
		fail_msg("%s: rendered", source);
	if (error.code != ERROR_TEMPLATE || !strstr(error.message, "20000 steps"))
		fail_msg("%s: %s", source, error.message);
	bytes_free(&whole);
	json_destroy(json);
}

static void check_steps_of_names(void)
{
	struct bytes source = {0};
	bytes_append_text(&source, "{% for i in [1] %}");
	for (int i = 0; i < 500; i++)
		bytes_append_format(&source, "{%% set a%d = 1 %%}", i);
	bytes_append_text(&source, "{{ a499 }}{% endfor %}");
	check_steps(source.data);
	bytes_free(&source);
}

static void check_steps_of_variables(void)
{
	struct json *json = parse("{\"messages\":[],\"chat_template_kwargs\":{\"a\":1,\"b\":2,\"c\":3,\"d\":4}}");
	struct template_input input = {.conversation = json, .limits.max_steps = 10};
	struct rendering rendering = {0};
	struct error error = {0};
	assert_false(render("{{ d }}", 7, &input, &rendering, &error));
	assert_non_null(strstr(error.message, "10 steps"));
	input.limits.max_steps = 15;
	assert_true(render("{{ d }}", 7, &input, &rendering, &error));
	assert_string_equal(rendering.text, "4");
	rendering_free(&rendering);
	json_destroy(json);
}

static void test_steps(void **state)
{
	(void)state;
	static const char *const sources[] = {
	    /* items compared, added, tested */
	    "{{ (['nan'|float] * 1000)|unique|list|length }}",
	    "{{ 2 in big }}",
	    "{{ big.count(2) }}",
	    "{{ big.index(2) }}",
	    "{{ big == big }}",
	    "{{ big < big }}",
	    "{{ big|sum }}",
	    "{{ big|map('default')|list|length }}",
	    "{{ big|select('none')|list|length }}",
	    "{{ {1: 2}[big] }}{% set t = (1,) * 30000 %}{% for i in range(9) %}{{ {1: 2}[t] }}{% endfor %}",
	    /* texts compared, and looked up */
	    "{% set b = s ~ 'b' %}{% set c = s ~ 'c' %}{% for i in range(9) %}{{ b < c }}{% endfor %}",
	    "{% set b = s ~ 'b' %}{% set c = s ~ 'c' %}{% for i in range(9) %}{{ b == c }}{% endfor %}",
	    "{{ s.startswith(('b',) * 20000) }}",
	    "{% for i in range(9) %}{{ s.removesuffix(s) }}{% endfor %}",
	    "{% for i in range(9) %}{{ {s: 1}[s] }}{% endfor %}",
	    "{% for i in range(9) %}{{ {s: 1}|attr(s) }}{% endfor %}",
	    "{% for i in range(9) %}{{ dict(a=1, b=2, c=3, d=4, e=5, f=6, g=7, h=8, i=9, j=0).get(s) }}{% endfor %}",
	    "{% for i in range(9) %}{{ [1]|map(attribute=s)|list|length }}{% endfor %}",
	    "{% set f = '%(' ~ s ~ ')s' %}{% for i in range(9) %}{{ f % {s: ''} }}{% endfor %}",
	    /* texts searched */
	    "{% for i in range(9) %}{{ 'x'.strip(s) }}{% endfor %}",
	    "{{ (k * 240).rsplit(k * 120 ~ 'b')|length }}",
	    "{{ (k * 240).rpartition(k * 120 ~ 'b')|length }}",
	    "{{ s.count('a') }}",
	    "{{ s.find('b' ~ k) }}{{ s.find('b' ~ k) }}",
	    "{{ 'b' ~ k in s }}{{ 'b' ~ k in s }}",
	    "{{ s.replace('b' ~ k, '')|length }}",
	    /* texts read */
	    "{% set b = ' ' * 9000 %}{% for i in range(99) %}{{ b|int }}{% endfor %}",
	    "{% set b = ' ' * 9000 %}{% for i in range(99) %}{{ b|float }}{% endfor %}",
	    "{{ (s|urlencode)[:0] }}",
	    "{{ (s|e)[:0] }}",
	    "{{ s.replace('', '')[:0] }}",
	    "{{ strftime_now(s)|length }}",
	    "{{ ([s]|string)[:0] }}",
	    "{{ s|tojson|length }}",
	    /* floats with many digits */
	    "{% for i in range(200) %}{{ 1e300 % 3 }}{% endfor %}",
	    "{% for i in range(200) %}{{ 1e300|round }}{% endfor %}",
	    "{% for i in range(200) %}{{ 1e300|filesizeformat }}{% endfor %}",
	    "{% for i in range(200) %}{{ '%.0e' % 1e300 }}{% endfor %}",
	    "{% for i in range(200) %}{{ 1e300|tojson }}{% endfor %}",
	};
	for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
		check_steps(sources[i]);
	check_steps_of_names();
	check_steps_of_variables();
}

/* Where a sum or a product on the way would pass 64 bits. */
static void test_large_integers(void **state)
{
	(void)state;
	check_text("{{ 'a'.center(-9223372036854775807) }}{{ 'b'.ljust(-9223372036854775807) }}"
	           "{{ 'c'.rjust(-9223372036854775807) }}{{ 'd'|center(-9223372036854775807) }}"
	           "{{ '-e'.zfill(-9223372036854775807) }}",
	           "abcd-e");
	check_text("{{ (-9223372036854775807) % 3 }} {{ 9223372036854775807 % -3 }} "
	           "{{ (-9223372036854775807 - 1) % -1 }} {{ 9223372036854775807 % -9223372036854775807 }} "
	           "{{ -7 % 3 }} {{ 7 % -3 }} {{ -6 % 3 }}",
	           "2 -2 0 0 2 -2 0");
	check_text("{{ range(-9200000000000000000, 9200000000000000000, 6200000000000000000)|list }}",
	           "[-9200000000000000000, -3000000000000000000, 3200000000000000000]");
	check_text("{{ range(-9200000000000000000, 9200000000000000000, 6200000000000000000)[2] }}", "3200000000000000000");
	check_text("{{ range(0, 9, 2)[1:3] }}{{ range(5)[::-2] }}", "range(2, 6, 2)range(4, -1, -2)");
	check_limit("{{ range(9223372036854775800, 9223372036854775807, 5)[:] }}", "64 bits");
	check_limit("{{ range(0, 6, 2)[::9223372036854775807] }}", "64 bits");
	check_text("{{ 1234567890123456789|round(-1) }} {{ -1234567890123456789|round(-1) }} {{ 25|round(-1) }} "
	           "{{ 35|round(-1) }} {{ -25|round(-1) }} {{ 26|round(-1) }} {{ 9223372036854775807|round(-400) }} "
	           "{{ 4999999999999999999|round(-19) }} {{ true|round(-1) }} {{ 5|round(2) }}",
	           "1234567890123456790 -1234567890123456790 20 40 -20 30 0 0 0 5");
	check_limit("{{ 9223372036854775807|round(-1) }}", "64 bits");
	check_limit("{{ -9223372036854775807|round(-19) }}", "64 bits");
}

/* A generator that asks itself for its items, before it has any and while it makes them. */
static void test_own_items(void **state)
{
	(void)state;
	static const char error[] = "ValueError: generator already executing";
	check_limit("{% set ns = namespace() %}{% set ns.h = [ns]|map(attribute='h')|map('list') %}{{ ns.h|list }}", error);
	check_limit(
	    "{% set ns = namespace() %}{% set ns.h = [[ns], [ns]]|map('map', attribute='h')|map('first')|map('list') %}"
	    "{{ ns.h|list }}",
	    error);
	check_text("{% set g = [1, 2]|map('string') %}{{ g|first }}{{ g|list }}{{ g|list }}", "1['2'][]");
}

static void check_refused_source(char *source, size_t n, const char *what)
{
	struct error error = {0};
	assert_null(template_compile(source, n, &error));
	assert_int_equal(error.code, ERROR_MODEL);
	if (!strstr(error.message, what))
		fail_msg("wanted %s, got %s", what, error.message);
	free(source);
}

static char *repeated(const char *text, size_t times, size_t *n)
{
	size_t n_text = strlen(text);
	char *out = malloc(n_text * times + 1);
	assert_non_null(out);
	for (size_t i = 0; i < times; i++)
		memcpy(out + i * n_text, text, n_text);
	out[n_text * times] = 0;
	*n = n_text * times;
	return out;
}

static void test_hostile_sources(void **state)
{
	(void)state;
	size_t n;
	char *source = repeated("a", 10 << 20, &n);
	check_refused_source(source, n, "at most");
	source = repeated("{% if t %}", 9999, &n);
	check_refused_source(source, n, "nested deeper");
	source = repeated("{% for x in y %}", 9999, &n);
	check_refused_source(source, n, "nested deeper");
	for (int i = 0; i < 6; i++) {
		static const char *const deep[] = {"(", "[", "{1:", "not ", "- ", "a[", "a if b else "};
		char *part = repeated(deep[i], 50000, &n);
		char *whole = malloc(n + 4);
		assert_non_null(whole);
		memcpy(whole, "{{ ", 3);
		memcpy(whole + 3, part, n + 1);
		free(part);
		check_refused_source(whole, n + 3, "nested");
	}
	check_refused_source(strdup("a\xff"), 2, "UTF-8");
	check_refused_source(strdup("{{ x }}\n  {{ y|nofilter }}"), 26, "line 2 column 8: No filter named 'nofilter'.");
	check_refused_source(strdup("{% if a %}\n{% nope %}"), 21, "line 2 column 4: unknown tag 'nope'");
}

/* A long chain is no nesting for the parser, and too deep for the evaluation. */
static void test_long_chains(void **state)
{
	(void)state;
	static const char *const links[] = {"+1", "|string", ".a", "[0]", "()", " is defined", " and 1", "~1"};
	for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
		size_t n;
		char *part = repeated(links[i], 20000, &n), *whole = malloc(n + 10);
		struct json *json = parse("{\"messages\":[]}");
		struct template_input input = {.conversation = json};
		struct rendering rendering = {0};
		struct error error = {0};
		assert_non_null(whole);
		sprintf(whole, "{{ 1%s }}", part);
		bool ok = render(whole, strlen(whole), &input, &rendering, &error);
		assert_true(ok == (links[i][0] == '~'));
		assert_true(ok || error.code == ERROR_TEMPLATE || error.code == ERROR_MODEL);
		rendering_free(&rendering);
		json_destroy(json);
		free(part);
		free(whole);
	}
}

/* Each names its line, so lines are counted once for all of them. */
static void test_many_choices(void **state)
{
	(void)state;
	size_t n;
	char *choices = repeated("1 if 1,", 100000, &n);
	struct bytes source = {0};
	bytes_append_text(&source, "\n\n{{ [");
	bytes_append(&source, choices, n);
	bytes_append_text(&source, "\n(1 if 0).x] }}");
	check_limit(source.data, "on line 4 evaluated to false");
	bytes_free(&source);
	free(choices);
}

/* Ten thousand messages of a kilobyte each pass every limit, also through a template that adds them all up. */
static void test_large_conversation(void **state)
{
	(void)state;
	static const char source[] =
	    "{% set ns = namespace(all='', list=[]) %}{% for m in messages %}{% set ns.all = ns.all + m.content|trim %}"
	    "{% set ns.list = ns.list + [m.role] %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
	    "{{ ns.all|length }} {{ ns.list|length }}";
	struct bytes text = {0};
	struct error error = {0};
	bytes_append_text(&text, "{\"messages\":[");
	for (int i = 0; i < 10000; i++)
		bytes_append_format(&text, "%s{\"role\":\"user\",\"content\":\"%01000d\"}", i ? "," : "", i);
	bytes_append_text(&text, "]}");
	struct json *json = json_parse(text.data, text.n_bytes, &(struct json_limits){0}, &error);
	assert_non_null(json);
	struct template_input input = {.conversation = json};
	struct rendering rendering = {0};
	if (!render(source, sizeof source - 1, &input, &rendering, &error))
		fail_msg("%s", error.message);
	assert_true(rendering.n_bytes > 10000000);
	assert_string_equal(rendering.text + rendering.n_bytes - 14, "10000000 10000");
	rendering_free(&rendering);
	json_destroy(json);
	bytes_free(&text);
}

/* ---- threads ---- */

struct shared_run {
	const struct template *template;
	const struct json *conversation;
	bool ok;
};

static void *render_in_thread(void *argument)
{
	struct shared_run *run = argument;
	struct template_input input = {.conversation = run->conversation};
	run->ok = true;
	for (int i = 0; i < 50; i++) {
		struct rendering rendering = {0};
		struct error error = {0};
		run->ok &=
		    template_render(run->template, &input, &rendering, &error) && strcmp(rendering.text, "a:hi 6\n\n") == 0;
		rendering_free(&rendering);
	}
	return NULL;
}

static void test_threads_share_a_template(void **state)
{
	(void)state;
	static const char source[] = "{% for m in messages %}{{ m.role }}:{{ 'hi' }} {{ 'length'|length }}\n\n{% endfor %}";
	struct error error = {0};
	struct json *json = parse("{\"messages\":[{\"role\":\"a\"}]}");
	struct template *template = template_compile(source, sizeof source - 1, &error);
	struct shared_run runs[4];
	pthread_t threads[4];
	assert_non_null(template);
	for (int i = 0; i < 4; i++) {
		runs[i] = (struct shared_run){template, json, false};
		assert_int_equal(pthread_create(&threads[i], NULL, render_in_thread, &runs[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		assert_true(runs[i].ok);
	}
	template_destroy(template);
	json_destroy(json);
}

/* The server's threads have stacks of 256 KiB, of which its handlers and thread-local variables take some. */
enum { STACK_BYTES = 224 << 10 };

static char *deep_defaults(void)
{
	static const char start[] = "{% macro f(n) %}{{ ", end[] = " }}{% endmacro %}{{ f() }}";
	struct bytes source = {0};
	bytes_append_text(&source, start);
	for (int i = 0; i < 60; i++)
		bytes_append_text(&source, "x|default(");
	bytes_append_text(&source, "f()");
	for (int i = 0; i < 60; i++)
		bytes_append_text(&source, ")");
	bytes_append(&source, end, sizeof end);
	assert_false(source.failed);
	return source.data;
}

static void *recurse_in_thread(void *argument)
{
	static const char too_deep[] = "the chat template takes more than"; /* evaluations or stack: as frames are */
	/* Generators that each ask another one for its items, by filters with the largest frames. */
	static const char *const chains[] = {"[ns.g]|map('sort')", "['']|map('tojson', separators=ns.g)",
	                                     "[1]|select('in', ns.g)", "[ns.g]|map('groupby', 0)", "[ns.g]|map('join')"};
	char source[300], *deep = deep_defaults();
	for (size_t i = 0; i < sizeof chains / sizeof *chains; i++) {
		snprintf(source, sizeof source,
		         "{%% set ns = namespace(g=['a']) %%}{%% for i in range(900) %%}{%% set ns.g = %s %%}{%% endfor %%}"
		         "{{ ns.g|list|length }}",
		         chains[i]);
		check_limit(source, too_deep);
	}
	check_limit(deep, too_deep);
	check_limit("{% macro f(n=x|default(x|default(x|default(f())))) %}{% endmacro %}{{ f() }}", too_deep);
	check_limit("{% macro m(x) %}{% if x %}{% for y in [1] %}{% with z = y %}{{ [(m(x)|trim) ~ 'a', {'k': 1}][0] }}"
	            "{% endwith %}{% endfor %}{% endif %}{% endmacro %}{{ m(1) }}",
	            too_deep);
	free(deep);
	*(bool *)argument = true;
	return NULL;
}

static void test_small_stack(void **state)
{
	(void)state;
	pthread_attr_t attributes;
	pthread_t thread;
	bool done = false;
	pthread_attr_init(&attributes);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) /* as server.c gives them more */
	assert_int_equal(pthread_attr_setstacksize(&attributes, 8 * STACK_BYTES), 0);
#else
	assert_int_equal(pthread_attr_setstacksize(&attributes, STACK_BYTES), 0);
#endif
	assert_int_equal(pthread_create(&thread, &attributes, recurse_in_thread, &done), 0);
	pthread_join(thread, NULL);
	pthread_attr_destroy(&attributes);
	assert_true(done);
}

static void test_bad_conversations(void **state)
{
	(void)state;
	static const char *const bad[] = {"[]", "{}", "{\"messages\":1}", "{\"messages\":null}",
	                                  "{\"messages\":[],\"chat_template_kwargs\":[]}"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct json *json = parse(bad[i]);
		struct template_input input = {.conversation = json};
		struct rendering rendering = {0};
		struct error error = {0};
		assert_false(render("x", 1, &input, &rendering, &error));
		assert_int_equal(error.code, ERROR_INVALID_REQUEST);
		json_destroy(json);
	}
}

static void test_times(void **state)
{
	(void)state;
	struct template_time t;
	static const char *const bad[] = {"",
	                                  "2026-01-31",
	                                  "2026-02-30T00:00:00Z",
	                                  "2026-01-31T24:00:00Z",
	                                  "2026-01-31T00:00:00x",
	                                  "2026-13-01T00:00:00Z",
	                                  "2026-01-31T00:00:00+1:00"};
	assert_true(template_time_parse("2024-02-29T23:59:60.25+05:30", &t));
	assert_true(t.year == 2024 && t.month == 2 && t.day == 29 && t.second == 60 && t.microsecond == 250000);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_false(template_time_parse(bad[i], &t));
	t = template_time_now();
	assert_true(t.year >= 2024 && t.month >= 1 && t.month <= 12);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_expressions),
	    cmocka_unit_test(test_filters),
	    cmocka_unit_test(test_methods),
	    cmocka_unit_test(test_statements),
	    cmocka_unit_test(test_published),
	    cmocka_unit_test(test_origins),
	    cmocka_unit_test(test_known_roles),
	    cmocka_unit_test(test_limits),
	    cmocka_unit_test(test_steps),
	    cmocka_unit_test(test_memory_of_runs),
	    cmocka_unit_test(test_large_integers),
	    cmocka_unit_test(test_own_items),
	    cmocka_unit_test(test_hostile_sources),
	    cmocka_unit_test(test_long_chains),
	    cmocka_unit_test(test_many_choices),
	    cmocka_unit_test(test_large_conversation),
	    cmocka_unit_test(test_threads_share_a_template),
	    cmocka_unit_test(test_small_stack),
	    cmocka_unit_test(test_bad_conversations),
	    cmocka_unit_test(test_times),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
