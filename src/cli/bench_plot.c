/* The roofline as SVG: operations per byte across, operations per second up, both logarithmic; a slanted roof for the
 * memory, a level one for each kind of arithmetic, and a mark for each row of the table.
 *
 * No two texts may lie on each other, and nobody knows beforehand where marks will be: what is drawn leaves its box
 * behind, and a label takes the nearest place around its mark that is free.
 */
#include <math.h>
#include <string.h>

#include "base/bytes.h"
#include "cli/bench_private.h"

enum {
	WIDTH = 1080,
	HEIGHT = 700,
	LEFT = 78, /* of the plotting area */
	RIGHT = WIDTH - 32,
	TOP = 104,
	BOTTOM = HEIGHT - 66,
	MARK = 5, /* half its width */
	MAX_BOXES = 2048,
	LABEL_BYTES = 120,
};

static const double near_pixels = 13; /* marks that are nearer to each other share a label */
static const double char_pixels = 6.4, line_pixels = 13;
static const char beside_line[] = "class=\"roof\" stroke-dasharray=\"5 4\" stroke-opacity=\".55\"";
static const double pi = 3.14159265358979323846;
/* One colour per weight type, told apart by colour-blind eyes, too. */
static const char *const colours[] = {"#1f5fa8", "#c2570c", "#0f7f62", "#9b2f7e", "#6b5b00", "#4b5563"};
enum { N_COLOURS = sizeof colours / sizeof *colours };

struct box {
	double left, top, right, bottom;
};

struct point {
	const struct bench_row *row;
	int result;
	double x, y;  /* pixels */
	double share; /* of the ceiling */
	bool labelled;
};

enum { MAX_POINTS = BENCH_MAX_LIST * BENCH_MAX_ROWS };

struct plot {
	struct bytes svg;
	const struct bench_report *report;
	double x_min, x_max, y_min, y_max; /* values at the borders */
	struct point points[MAX_POINTS];
	int n_points;
	struct box boxes[MAX_BOXES];
	int n_boxes;
};

struct roof {
	const char *name;
	double gop_s;
};

enum { MAX_ROOFS = ARITHMETIC_COUNT };

static int list_roofs(const struct bench_report *report, struct roof *roofs)
{
	const struct ceilings *c = &report->ceilings;
	int n = 0;
	for (int i = 0; i < ARITHMETIC_COUNT; i++)
		if (c->gop_s[i] > 0)
			roofs[n++] = (struct roof){arithmetic_names[i], c->gop_s[i]};
	return n;
}

/* ---- places ---- */

static double x_of(const struct plot *plot, double per_byte)
{
	return LEFT + (RIGHT - LEFT) * log(per_byte / plot->x_min) / log(plot->x_max / plot->x_min);
}

static double y_of(const struct plot *plot, double gop_s)
{
	return BOTTOM - (BOTTOM - TOP) * log(gop_s / plot->y_min) / log(plot->y_max / plot->y_min);
}

static void take_box(struct plot *plot, struct box box)
{
	if (plot->n_boxes < MAX_BOXES)
		plot->boxes[plot->n_boxes++] = box;
}

static bool is_free(const struct plot *plot, struct box box)
{
	if (box.left < LEFT + 4 || box.right > RIGHT - 4 || box.top < TOP + 2 || box.bottom > BOTTOM - 4)
		return false;
	for (int i = 0; i < plot->n_boxes; i++) {
		const struct box *other = &plot->boxes[i];
		if (box.left < other->right && other->left < box.right && box.top < other->bottom && other->top < box.bottom)
			return false;
	}
	return true;
}

static struct box box_around(double x, double y, double width, double height)
{
	return (struct box){x - width / 2, y - height / 2, x + width / 2, y + height / 2};
}

/* ---- text ---- */

static void put_text(struct plot *plot, double x, double y, const char *attributes, const char *text)
{
	bytes_append_format(&plot->svg, "<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, attributes);
	for (const char *at = text; *at; at++) {
		if (*at == '&' || *at == '<' || *at == '>')
			bytes_append_text(&plot->svg, *at == '&' ? "&amp;" : *at == '<' ? "&lt;" : "&gt;");
		else
			bytes_append(&plot->svg, at, 1);
	}
	bytes_append_text(&plot->svg, "</text>\n");
}

static void put_line(struct plot *plot, double x1, double y1, double x2, double y2, const char *attributes)
{
	bytes_append_format(&plot->svg, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" %s/>\n", x1, y1, x2, y2,
	                    attributes);
}

/* ---- axes ---- */

static void draw_tick(struct plot *plot, bool across, double value, bool whole)
{
	char text[24];
	const char *line = whole ? "stroke=\"#d5dae1\"" : "stroke=\"#eceff3\"";
	snprintf(text, sizeof text, "%g", value);
	if (across) {
		double x = x_of(plot, value);
		put_line(plot, x, TOP, x, BOTTOM, line);
		put_text(plot, x, BOTTOM + 18, "class=\"tick\" text-anchor=\"middle\"", text);
	} else {
		double y = y_of(plot, value);
		put_line(plot, LEFT, y, RIGHT, y, line);
		put_text(plot, LEFT - 8, y + 4, "class=\"tick\" text-anchor=\"end\"", text);
	}
}

static void draw_ticks(struct plot *plot, bool across, double min, double max)
{
	static const int steps[] = {1, 2, 5};
	for (int decade = (int)floor(log10(min)); decade <= (int)ceil(log10(max)); decade++)
		for (int i = 0; i < 3; i++) {
			double value = steps[i] * pow(10, decade);
			if (value >= min * 1.001 && value <= max / 1.001)
				draw_tick(plot, across, value, i == 0);
		}
}

static void draw_axes(struct plot *plot)
{
	draw_ticks(plot, true, plot->x_min, plot->x_max);
	draw_ticks(plot, false, plot->y_min, plot->y_max);
	bytes_append_format(&plot->svg,
	                    "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"none\" stroke=\"#9aa3af\"/>\n", LEFT,
	                    TOP, RIGHT - LEFT, BOTTOM - TOP);
	put_text(plot, (LEFT + RIGHT) / 2.0, BOTTOM + 46, "class=\"axis\" text-anchor=\"middle\"",
	         "operations per byte read");
	bytes_append_format(&plot->svg,
	                    "<text class=\"axis\" text-anchor=\"middle\" transform=\"translate(24 %.1f) rotate(-90)\">"
	                    "billion operations per second</text>\n",
	                    (TOP + BOTTOM) / 2.0);
}

/* ---- roofs ---- */

/* A slanted line: its start, its direction and its length in pixels. */
struct slant {
	double x, y, angle, length;
};

enum { SLANT_PIECE = 5 };

static struct slant slant_of(const struct plot *plot, double gb_s, double highest_gop_s)
{
	double start = fmax(plot->y_min / gb_s, plot->x_min); /* it leaves through the floor or the left wall */
	double x = x_of(plot, start), y = y_of(plot, start * gb_s);
	double width = x_of(plot, highest_gop_s / gb_s) - x, height = y_of(plot, highest_gop_s) - y;
	return (struct slant){.x = x, .y = y, .angle = atan2(height, width), .length = hypot(width, height)};
}

/* The i-th small box of a text of n boxes around the slant's point `middle`, `away` pixels above it. */
static struct box slant_box(const struct slant *slant, double middle, double away, int i, int n)
{
	double along = middle + (i - (n - 1) / 2.0) * SLANT_PIECE;
	double x = slant->x + along * cos(slant->angle) + away * sin(slant->angle);
	double y = slant->y + along * sin(slant->angle) - away * cos(slant->angle);
	return box_around(x, y, 11, 11);
}

/* Along the slant and `away` above it (below when negative), where it is free; false when it is nowhere. */
static bool name_slant(struct plot *plot, const struct slant *slant, double away, const char *text)
{
	enum { PLACES = 24 };
	int n_pieces = (int)((double)strlen(text) * 7 / SLANT_PIECE);
	for (int i = 0; i < PLACES; i++) {
		int nth = (i + 1) / 2;
		double middle = slant->length * (0.62 + (i % 2 ? 0.03 : -0.03) * nth);
		bool is_clear = true;
		for (int j = 0; j < n_pieces && is_clear; j++)
			is_clear = is_free(plot, slant_box(slant, middle, away, j, n_pieces));
		if (!is_clear)
			continue;
		for (int j = 0; j < n_pieces; j++)
			take_box(plot, slant_box(slant, middle, away, j, n_pieces));
		struct box box = slant_box(slant, middle, away, 0, 1);
		bytes_append_format(&plot->svg,
		                    "<text class=\"roof-name\" text-anchor=\"middle\" dy=\"4\" "
		                    "transform=\"translate(%.1f %.1f) rotate(%.2f)\">%s</text>\n",
		                    (box.left + box.right) / 2, (box.top + box.bottom) / 2, slant->angle * 180 / pi, text);
		return true;
	}
	return false;
}

static void draw_slant(struct plot *plot, const struct slant *slant, const char *attributes)
{
	put_line(plot, slant->x, slant->y, slant->x + slant->length * cos(slant->angle),
	         slant->y + slant->length * sin(slant->angle), attributes);
}

/* Labels keep off the roof. */
static void take_slant(struct plot *plot, const struct slant *slant)
{
	int n_pieces = (int)(slant->length / SLANT_PIECE);
	for (int i = 0; i < n_pieces; i++)
		take_box(plot, box_around(slant->x + i * SLANT_PIECE * cos(slant->angle),
		                          slant->y + i * SLANT_PIECE * sin(slant->angle), 6, 6));
}

static double roof_left(const struct plot *plot, const struct roof *roof)
{
	return fmax(x_of(plot, roof->gop_s / plot->report->ceilings.read_gb_s), LEFT);
}

static void draw_arithmetic_roof(struct plot *plot, const struct roof *roof)
{
	double y = y_of(plot, roof->gop_s), left = roof_left(plot, roof);
	put_line(plot, left, y, RIGHT, y, "class=\"roof\"");
	take_box(plot, (struct box){left, y - 3, RIGHT, y + 3});
}

/* On the roof, else below it; as far to the right as is free. */
static void name_arithmetic_roof(struct plot *plot, const struct roof *roof)
{
	enum { STEP = 8 };
	char text[LABEL_BYTES];
	snprintf(text, sizeof text, "%s %.0f GOP/s", roof->name, roof->gop_s);
	double y = y_of(plot, roof->gop_s), width = (double)strlen(text) * 7;
	int n_places = (int)((RIGHT - roof_left(plot, roof) - width) / STEP);
	for (int i = 0; i < 2 * n_places; i++) {
		double right = RIGHT - 6 - (i % n_places) * STEP, top = i < n_places ? y - 18 : y + 4;
		struct box box = {right - width, top, right, top + 14};
		if (!is_free(plot, box))
			continue;
		take_box(plot, box);
		put_text(plot, right, top + 12, "class=\"roof-name\" text-anchor=\"end\"", text);
		return;
	}
}

/* ---- marks ---- */

static bool is_together(const struct bench_row *row)
{
	return row->phase == BENCH_DECODE && row->n_streams > 1;
}

static void draw_mark(struct plot *plot, const struct bench_row *row, double x, double y, const char *colour)
{
	const char *style = "stroke=\"#fff\" stroke-width=\"1.2\"";
	if (row->phase == BENCH_PREFILL)
		bytes_append_format(&plot->svg, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%d\" fill=\"%s\" %s>", x, y, MARK, colour,
		                    style);
	else if (is_together(row))
		bytes_append_format(&plot->svg, "<path d=\"M%.1f %.1fl6 10.5h-12z\" fill=\"%s\" %s>", x, y - 6.5, colour,
		                    style);
	else
		bytes_append_format(&plot->svg, "<path d=\"M%.1f %.1fl6 6l-6 6l-6 -6z\" fill=\"%s\" %s>", x, y - 6, colour,
		                    style);
}

static void end_mark(struct plot *plot, const struct bench_row *row)
{
	bytes_append_text(&plot->svg, row->phase == BENCH_PREFILL ? "</circle>\n" : "</path>\n");
}

static void draw_point(struct plot *plot, const struct point *point)
{
	const struct bench_row *row = point->row;
	draw_mark(plot, row, point->x, point->y, colours[point->result % N_COLOURS]);
	/* Shown when the pointer rests on it. */
	bytes_append_format(
	    &plot->svg, "<title>%s, %s of %lld tokens, streams %d: %.2f tokens/s, %.2f of the ceiling</title>",
	    plot->report->results[point->result].weights, row->phase == BENCH_PREFILL ? "prefill" : "decode at a depth",
	    (long long)row->tokens, row->n_streams, bench_median(row->rates, row->n_samples), point->share);
	end_mark(plot, row);
	take_box(plot, box_around(point->x, point->y, 2 * MARK + 4, 2 * MARK + 4));
}

/* Bytes and operations of two rows of one kind. */
static bool share_label(const struct point *a, const struct point *b)
{
	return a->result == b->result && a->row->phase == b->row->phase && is_together(a->row) == is_together(b->row) &&
	       hypot(a->x - b->x, a->y - b->y) < near_pixels;
}

/* "512", "depth 0, 512", "8 streams": of the point and of all that are too near to have a label of their own. */
static void name_points(struct plot *plot, int first, char *text, size_t capacity)
{
	struct point *point = &plot->points[first];
	bool together = is_together(point->row);
	size_t n = (size_t)snprintf(text, capacity, "%s", point->row->phase == BENCH_PREFILL || together ? "" : "depth ");
	for (int i = first; i < plot->n_points && n < capacity; i++) {
		struct point *other = &plot->points[i];
		if (other->labelled || !share_label(point, other))
			continue;
		other->labelled = true;
		n += (size_t)snprintf(text + n, capacity - n, "%s%lld", i > first ? ", " : "",
		                      together ? (long long)other->row->n_streams : (long long)other->row->tokens);
	}
	if (together && n < capacity)
		snprintf(text + n, capacity - n, " streams");
}

/* The line from a mark to its label: from the mark's edge to the nearest point of the label's box. */
struct leader {
	double x1, y1, x2, y2, length;
};

enum { LEADER_PIECE = 3, LEADER_LEAST = 9 }; /* a label that is nearer needs none */

static struct leader leader_to(const struct point *point, const struct box *place)
{
	struct leader leader = {.x2 = fmin(fmax(point->x, place->left), place->right),
	                        .y2 = fmin(fmax(point->y, place->top), place->bottom)};
	double across = leader.x2 - point->x, down = leader.y2 - point->y, length = hypot(across, down);
	double edge = fmin(1, (MARK + 4) / length);
	leader.x1 = point->x + across * edge;
	leader.y1 = point->y + down * edge;
	leader.length = length * (1 - edge);
	return leader;
}

/* Whether it crosses no mark, label or other leader; takes its way when `take`. */
static bool walk_leader(struct plot *plot, const struct leader *leader, bool take)
{
	int n_pieces = (int)(leader->length / LEADER_PIECE);
	for (int i = 1; i < n_pieces; i++) {
		double part = (double)i / n_pieces;
		struct box box = box_around(leader->x1 + (leader->x2 - leader->x1) * part,
		                            leader->y1 + (leader->y2 - leader->y1) * part, 3, 3);
		if (take)
			take_box(plot, box);
		else if (!is_free(plot, box))
			return false;
	}
	return true;
}

/* Tries rings of places around the mark, the nearest first. In the thick of it a leader may have to cross others. */
static bool find_place(struct plot *plot, const struct point *point, double width, bool may_cross, struct box *place)
{
	enum { RINGS = 16, DIRECTIONS = 16, RING_PIXELS = 8 };
	/* To the right, left, below, above, then between. */
	static const int order[DIRECTIONS] = {0, 8, 4, 12, 2, 14, 6, 10, 1, 15, 7, 9, 3, 13, 5, 11};
	for (int ring = 0; ring < RINGS; ring++)
		for (int i = 0; i < DIRECTIONS; i++) {
			double angle = order[i] * 2 * pi / DIRECTIONS;
			double away = MARK + 4 + ring * RING_PIXELS;
			*place = box_around(point->x + cos(angle) * (away + width / 2),
			                    point->y + sin(angle) * (away + line_pixels / 2), width, line_pixels);
			struct leader leader = leader_to(point, place);
			if (is_free(plot, *place) && (may_cross || walk_leader(plot, &leader, false)))
				return true;
		}
	return false;
}

static void draw_label(struct plot *plot, int i)
{
	char text[LABEL_BYTES], attributes[80];
	const struct point *point = &plot->points[i];
	name_points(plot, i, text, sizeof text);
	struct box place;
	double width = (double)strlen(text) * char_pixels + 4;
	if (!find_place(plot, point, width, false, &place) && !find_place(plot, point, width, true, &place))
		return; /* its title still tells */
	struct leader leader = leader_to(point, &place);
	if (leader.length > LEADER_LEAST) {
		put_line(plot, leader.x1, leader.y1, leader.x2, leader.y2, "class=\"leader\"");
		walk_leader(plot, &leader, true);
	}
	take_box(plot, place);
	snprintf(attributes, sizeof attributes, "class=\"label\" text-anchor=\"middle\" fill=\"%s\"",
	         colours[point->result % N_COLOURS]);
	put_text(plot, (place.left + place.right) / 2, place.bottom - 3, attributes, text);
}

/* ---- the whole ---- */

static void include(struct plot *plot, double per_byte, double gop_s)
{
	plot->x_min = fmin(plot->x_min, per_byte);
	plot->x_max = fmax(plot->x_max, per_byte);
	plot->y_min = fmin(plot->y_min, gop_s);
	plot->y_max = fmax(plot->y_max, gop_s);
}

static void choose_range(struct plot *plot, const struct roof *roofs, int n_roofs)
{
	plot->x_min = plot->y_min = INFINITY;
	for (int i = 0; i < n_roofs; i++)
		include(plot, roofs[i].gop_s / plot->report->ceilings.read_gb_s, roofs[i].gop_s);
	for (int i = 0; i < plot->n_points; i++) {
		const struct bench_row *row = plot->points[i].row;
		include(plot, row->gflop / row->gb, row->gflop * bench_steps_per_second(row));
	}
	plot->x_min /= 1.7;
	plot->x_max *= 1.7;
	plot->y_min /= 1.8;
	plot->y_max *= 1.5;
}

static void list_points(struct plot *plot)
{
	for (int i = 0; i < plot->report->n_results; i++) {
		const struct bench_result *result = &plot->report->results[i];
		for (int j = 0; j < result->n_rows; j++) {
			const struct bench_row *row = &result->rows[j];
			if (bench_measured(row) && j != result->scaling)
				plot->points[plot->n_points++] =
				    (struct point){.row = row, .result = i, .share = bench_median(row->shares, row->n_samples)};
		}
	}
}

static void draw_legend(struct plot *plot)
{
	static const struct bench_row kinds[] = {
	    {.phase = BENCH_PREFILL}, {.phase = BENCH_DECODE, .n_streams = 1}, {.phase = BENCH_DECODE, .n_streams = 2}};
	static const char *const names[] = {"prefill, by tokens", "decode, one stream, by depth",
	                                    "decode, streams together"};
	double x = LEFT;
	for (int i = 0; i < plot->report->n_results; i++) {
		const char *name = plot->report->results[i].weights;
		bytes_append_format(&plot->svg, "<rect x=\"%.1f\" y=\"%d\" width=\"14\" height=\"14\" rx=\"3\" fill=\"%s\"/>\n",
		                    x, TOP - 29, colours[i % N_COLOURS]);
		put_text(plot, x + 20, TOP - 17, "class=\"legend\"", name);
		x += 20 + (double)strlen(name) * 8 + 18;
	}
	/* Not along its line, where the marks are. */
	char text[LABEL_BYTES];
	snprintf(text, sizeof text, "memory read beside the rows, median %.1f GB/s", plot->report->read_median_gb_s);
	x = RIGHT - (double)strlen(text) * 6.7;
	put_text(plot, x, 55, "class=\"legend\"", text);
	put_line(plot, x - 38, 51, x - 8, 51, beside_line);
	x = RIGHT;
	for (int i = 2; i >= 0; i--) {
		x -= (double)strlen(names[i]) * 6.7;
		put_text(plot, x, TOP - 17, "class=\"legend\"", names[i]);
		draw_mark(plot, &kinds[i], x - 13, TOP - 21, "#4b5563");
		end_mark(plot, &kinds[i]);
		x -= 36;
	}
}

static void draw_head(struct plot *plot)
{
	char text[160];
	bytes_append_format(&plot->svg,
	                    "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
	                    "font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif\">\n"
	                    "<style>.title{font-size:19px;font-weight:600;fill:#17202c}.sub{font-size:12.5px;fill:#56606d}"
	                    ".tick{font-size:11px;fill:#56606d}.axis{font-size:12.5px;fill:#2b3440}"
	                    ".legend{font-size:12px;fill:#2b3440}.roof{stroke:#2b3440;stroke-width:1.6}"
	                    ".roof-name{font-size:12px;fill:#2b3440}.leader{stroke:#9aa3af;stroke-width:.8}"
	                    ".label,.roof-name{paint-order:stroke;stroke:#fff;stroke-width:3px;stroke-linejoin:round}"
	                    ".label{font-size:11px}</style>\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
	                    WIDTH, HEIGHT, WIDTH, HEIGHT);
	put_text(plot, LEFT, 34, "class=\"title\"", "Tallow: what is reached of what the machine allows");
	snprintf(text, sizeof text, "%s, %d threads, kernels %s", plot->report->cpu.name, plot->report->n_threads,
	         plot->report->n_results ? plot->report->results[0].kernels : "");
	put_text(plot, LEFT, 55, "class=\"sub\"", text);
}

static void draw(struct plot *plot)
{
	struct roof roofs[MAX_ROOFS];
	int n_roofs = list_roofs(plot->report, roofs);
	double highest = 0;
	list_points(plot);
	choose_range(plot, roofs, n_roofs);
	draw_head(plot);
	draw_legend(plot);
	draw_axes(plot);
	for (int i = 0; i < n_roofs; i++) {
		draw_arithmetic_roof(plot, &roofs[i]);
		highest = fmax(highest, roofs[i].gop_s);
	}
	double best_gb_s = plot->report->ceilings.read_gb_s, beside_gb_s = plot->report->read_median_gb_s;
	struct slant best = slant_of(plot, best_gb_s, highest), beside = slant_of(plot, beside_gb_s, highest);
	draw_slant(plot, &best, "class=\"roof\"");
	take_slant(plot, &best);
	draw_slant(plot, &beside, beside_line);
	for (int i = 0; i < plot->n_points; i++) {
		struct point *point = &plot->points[i];
		point->x = x_of(plot, point->row->gflop / point->row->gb);
		point->y = y_of(plot, point->row->gflop * bench_steps_per_second(point->row));
		draw_point(plot, point);
	}
	for (int i = 0; i < n_roofs; i++)
		name_arithmetic_roof(plot, &roofs[i]);
	char text[LABEL_BYTES];
	snprintf(text, sizeof text, "memory read, best %.1f GB/s", best_gb_s);
	if (!name_slant(plot, &best, 14, text))
		name_slant(plot, &best, -14, text);
	for (int i = 0; i < plot->n_points; i++)
		if (!plot->points[i].labelled)
			draw_label(plot, i);
	bytes_append_text(&plot->svg, "</svg>\n");
}

bool bench_plot(const struct bench_report *report, FILE *file)
{
	static struct plot plot; /* too large for a stack */
	memset(&plot, 0, sizeof plot);
	plot.report = report;
	draw(&plot);
	bool ok = !plot.svg.failed && fwrite(plot.svg.data, 1, plot.svg.n_bytes, file) == plot.svg.n_bytes;
	bytes_free(&plot.svg);
	return ok;
}
