/* struct grammar, and what its readers are given. */
#ifndef TALLOW_TEXT_GRAMMAR_PRIVATE_H
#define TALLOW_TEXT_GRAMMAR_PRIVATE_H

#include "base/arena.h"
#include "text/grammar.h"
#include "text/grammar/matcher.h"
#include "text/grammar/network.h"
#include "text/grammar/table.h"

enum { GRAMMAR_MASKS = 16, GRAMMAR_INSIDES = 16 };

/* A mask that was made: of a state of some age, or of plain tokens inside of a JSON string, for what may come there. */
struct known_mask {
	const struct grammar_vocabulary *vocabulary;
	uint32_t key; /* state; language */
	uint64_t age;
	uint32_t *words;
	size_t n_words;
};

struct grammar {
	struct table_account account; /* of all but the masks */
	struct languages *languages;
	struct network network;
	struct matcher *matcher;
	uint32_t state;
	int32_t last_token;        /* that the text ends with; -1: bytes, or nothing */
	struct arena arena;        /* names in the network: grammar_alloc */
	bool keeps_points;         /* 1.0 is not 1 to draft 4: instances keep a point */
	struct shortest *shortest; /* NULL until asked for (finishing.c) */
	uint64_t n_found;          /* bytes of shortest texts that were looked for, for who counts its work */
	struct known_mask masks[GRAMMAR_MASKS], insides[GRAMMAR_INSIDES];
	size_t next_mask, next_inside;
	bool no_memory; /* for what none of the parts knows of */
};

/* Between two tokens there may be many, but not between each two of many. */
enum { GRAMMAR_COMPILE_STEPS = 20 << 20, GRAMMAR_TOKEN_STEPS = 8 << 20, GRAMMAR_REFILL_STEPS = 1 << 19 };

/* Waits until fewer than GRAMMAR_COMPILERS compile; returns what the constraint may take. Each needs its compiling_end. */
size_t compiling_begin(void);
void compiling_end(void);
/* An empty one; NULL without memory. */
struct grammar *grammar_create(size_t max_bytes);
/* Memory for as long as the grammar lives, out of its account; NULL where that or the machine has none. */
void *grammar_alloc(struct grammar *grammar, size_t n_bytes);
/* A source that is JSON, which takes of the account until grammar_parsed; NULL where it was refused, or memory is short. */
struct json *grammar_parse(struct grammar *grammar, const char *source, size_t n_bytes, int max_depth,
                           struct grammar_report *report);
void grammar_parsed(struct grammar *grammar, struct json *document, const char *source, size_t n_bytes);
/* Reads a source of any kind; its rule is the network's root then. False where it was refused, or memory is short. */
bool grammar_read_source(struct grammar *grammar, enum grammar_kind kind, const char *source, size_t n_bytes,
                         struct grammar_report *report);
/* Where bytes lead from where the text stands; 0: they cannot follow. */
uint32_t grammar_follow(struct grammar *grammar, const char *bytes, size_t n_bytes);
/* Trims the network and sets up the matcher. */
bool grammar_make_ready(struct grammar *grammar, struct grammar_report *report);
/* An allocation failed while it was made or used: what else was found says nothing then. `report` may be NULL. */
bool grammar_lacks_memory(const struct grammar *grammar, const struct grammar_report *report);
/* The first refusal, or that memory was short. `grammar` may be NULL. */
void grammar_set_error(const struct grammar *grammar, const struct grammar_report *report, struct error *error);
/* The grammar ran out of something between two tokens. False. */
bool grammar_set_failure(const struct grammar *grammar, struct error *error);

/* Adds a remark; beyond GRAMMAR_MAX_REMARKS, or with `report` NULL, nothing. */
void report_refusal(struct grammar_report *report, const char *pointer, const char *why);
void report_note(struct grammar_report *report, const char *pointer, const char *why);

/* Readers: they fill languages and network. Refusals go to the report; false when there was one, or memory is short. */
bool schema_read(struct grammar *grammar, const char *source, size_t n_bytes, struct grammar_report *report);
bool gbnf_read(struct grammar *grammar, const char *source, size_t n_bytes, struct grammar_report *report);

#endif
