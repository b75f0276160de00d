/* One rendering: its memory, what it may still use, its variables, and how it fails. */
#ifndef TALLOW_TEXT_TEMPLATE_RENDER_H
#define TALLOW_TEXT_TEMPLATE_RENDER_H

#include "base/arena.h"
#include "base/bytes.h"
#include "text/template.h"
#include "text/template/syntax.h"
#include "text/template/values.h"

struct arguments; /* calls.h */

struct binding {
	uint32_t name;
	struct value value;
};

/* Names that a block has set; what it has not set is looked up around it. */
struct scope {
	struct scope *parent; /* NULL: the template's own variables */
	struct binding *bindings;
	size_t n_bindings, capacity;
	bool is_block; /* sees of the template's own variables what the conversation set, too */
};

/* What evaluations may take of the stack, whatever frames a compiler makes of them: a server's thread has 256 KiB for all,
 * of which thread-local variables, the handlers that call us and what an evaluation calls at last take up to 64 (2 MiB where
 * a sanitizer makes frames larger, and TSan keeps 0.8 of its own there). */
enum {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	RENDER_STACK_BYTES = 640 << 10,
#else
	RENDER_STACK_BYTES = 160 << 10,
#endif
};

struct render {
	struct arena arena;
	const struct template *template;
	struct template_limits limits;
	struct template_time now;
	uint64_t steps_left;
	int depth_left;
	const char *stack;     /* where the rendering began on it: it grows towards lower addresses */
	const struct node *at; /* the node being evaluated, for messages */
	struct value *root;    /* [template->n_names] */
	bool *assigned;        /* [template->n_names]: by the template's body */
	struct scope *scope;
	struct builder *capture; /* where output goes; NULL: the rendering */
	struct bytes text;
	struct template_run *runs;
	size_t n_runs, run_capacity;
	struct error *error;
};

/* Fails with an exception as Python would name it, and the line. Returns false. */
bool render_fail(struct render *r, const char *type, const char *format, ...) PRINTF_LIKE(3, 4);
bool render_limit(struct render *r, const char *what, uint64_t limit); /* "steps" */
static inline bool render_overflow(struct render *r)
{
	return render_fail(r, "OverflowError", "integers beyond 64 bits are not supported");
}

/* n steps are taken; false when there are none left. */
static inline bool render_step(struct render *r, uint64_t n)
{
	if (r->steps_left < n)
		return render_limit(r, "steps", r->limits.max_steps);
	r->steps_left -= n;
	return true;
}

static inline bool render_enter(struct render *r)
{
	if (r->depth_left <= 0)
		return render_limit(r, "nested evaluations", (uint64_t)r->limits.max_depth);
	if (r->stack - (const char *)__builtin_frame_address(0) > RENDER_STACK_BYTES)
		return render_limit(r, "bytes of stack", RENDER_STACK_BYTES);
	r->depth_left--;
	return true;
}

static inline void render_leave(struct render *r)
{
	r->depth_left++;
}

/* Memory of the rendering; NULL, and the rendering has failed, when it may have no more. */
void *render_alloc(struct render *r, size_t n_bytes);
void *render_array(struct render *r, size_t n_items, size_t item_bytes);

/* Text into what is being rendered. */
bool render_output(struct render *r, const struct string *text);
bool render_output_bytes(struct render *r, const char *bytes, size_t n_bytes, const unsigned char *marks,
                         bool from_data);

/* ---- names ---- */

bool render_lookup(struct render *r, uint32_t name, struct value *out); /* undefined when it is not set */
bool render_assign(struct render *r, uint32_t name, const struct value *value);
struct scope *scope_new(struct render *r, struct scope *parent);

/* ---- evaluation (eval.c, statements.c, calls.c) ---- */

bool eval(struct render *r, const struct node *node, struct value *out);
bool eval_binary(struct render *r, enum op op, const struct value *a, const struct value *b, struct value *out);
bool eval_compare(struct render *r, enum op op, const struct value *a, const struct value *b, bool *out);
bool execute(struct render *r, const struct node *list); /* of statements */
enum flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE };
bool execute_list(struct render *r, const struct node *list, enum flow *flow);
/* Runs a list of statements and keeps what it writes, unless break or continue ends it (*flow). */
bool execute_capture(struct render *r, const struct node *list, enum flow *flow, struct value *out);
bool macro_call(struct render *r, const struct macro *macro, const struct arguments *arguments, struct value *out);
bool loop_recurse(struct render *r, const struct loop *loop, const struct value *items, struct value *out);
bool assign_target(struct render *r, const struct node *target, const struct value *value);

/* object.name and object[key], as the sandbox resolves them. */
bool value_attribute(struct render *r, const struct value *object, const struct value *name, struct value *out);
bool value_item(struct render *r, const struct value *object, const struct value *key, struct value *out);
bool value_slice(struct render *r, const struct value *object, const struct value bounds[3], struct value *out);

#endif
