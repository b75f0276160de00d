#include "server/generation/constraints.h"

static struct grammar *compile_again(const struct generation *generation, struct error *error)
{
	const struct asked_constraint *asked = &generation->asked.constraint;
	return grammar_compile(asked->kind, asked->source, asked->n_bytes, NULL, error);
}

bool constraints_multiply(struct generation *generation, struct grammar *grammars[ENGINE_MAX_CHOICES],
                          struct error *error)
{
	int n = generation->n_choices;
	if (!generation->grammar)
		return true;
	size_t n_bytes = grammar_bytes(generation->grammar);
	if (n_bytes > (size_t)CONSTRAINTS_MAX_BYTES / (size_t)n)
		return error_set(
		    error, ERROR_CONSTRAINT,
		    "%d choices of a constraint of %zu KiB take more than the %d MiB that a request may have for them", n,
		    n_bytes >> 10, CONSTRAINTS_MAX_BYTES >> 20);
	grammars[0] = generation->grammar;
	generation->grammar = NULL;
	for (int i = 1; i < n; i++) {
		grammars[i] = compile_again(generation, error);
		if (grammars[i])
			continue;
		while (i > 0)
			grammar_destroy(grammars[--i]);
		return false;
	}
	return true;
}
