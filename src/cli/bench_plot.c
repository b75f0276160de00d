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

enum { MAX_ROOFS = 3 };

static int list_roofs(const struct bench_report *report, struct roof *roofs)
{
	const struct ceilings *c = &report->ceilings;
	int n = 0;
	roofs[n++] = (struct roof){"f32 GEMM", c->sgemm_gflop_s};
	if (c->bf16_gflop_s > 0)
		roofs[n++] = (struct roof){"bf16 dot products", c->bf16_gflop_s};
	if (c->int8_gop_s > 0)
		roofs[n++] = (struct roof){"int8 dot products", c->int8_gop_s};
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

static void draw_memory_roof(struct plot *plot, double highest_gop_s)
{
	enum { PIECE = 5 };
	const struct ceilings *c = &plot->report->ceilings;
	double start = plot->y_min / c->read_gb_s; /* where the roof leaves through the floor, or the left wall */
	start = start > plot->x_min ? start : plot->x_min;
	double end = highest_gop_s / c->read_gb_s;
	double x1 = x_of(plot, start), y1 = y_of(plot, start * c->read_gb_s);
	double x2 = x_of(plot, end), y2 = y_of(plot, highest_gop_s);
	put_line(plot, x1, y1, x2, y2, "class=\"roof\"");
	double angle = atan2(y2 - y1, x2 - x1), length = hypot(x2 - x1, y2 - y1);
	for (double at = 0; at < length; at += PIECE)
		take_box(plot, box_around(x1 + at * cos(angle), y1 + at * sin(angle), 2 * PIECE, 2 * PIECE));
	/* Above the roof and along it, in its upper part: the marks lie below. */
	char text[LABEL_BYTES];
	snprintf(text, sizeof text, "memory read %.1f GB/s", c->read_gb_s);
	double half = (double)strlen(text) * 7 / 2, middle = length * 0.62;
	double x = x1 + middle * cos(angle) + 9 * sin(angle), y = y1 + middle * sin(angle) - 9 * cos(angle);
	bytes_append_format(&plot->svg,
	                    "<text class=\"roof-name\" text-anchor=\"middle\" transform=\"translate(%.1f %.1f) "
	                    "rotate(%.2f)\">%s</text>\n",
	                    x, y, angle * 180 / pi, text);
	for (double at = -half; at <= half; at += PIECE)
		take_box(plot, box_around(x + at * cos(angle), y + at * sin(angle) - 5, 14, 16));
}

static void draw_arithmetic_roof(struct plot *plot, const struct roof *roof)
{
	char text[LABEL_BYTES];
	double x = x_of(plot, roof->gop_s / plot->report->ceilings.read_gb_s), y = y_of(plot, roof->gop_s);
	double left = x > LEFT ? x : LEFT;
	put_line(plot, left, y, RIGHT, y, "class=\"roof\"");
	take_box(plot, (struct box){left, y - 3, RIGHT, y + 3});
	snprintf(text, sizeof text, "%s %.0f GOP/s", roof->name, roof->gop_s);
	put_text(plot, RIGHT - 8, y - 6, "class=\"roof-name\" text-anchor=\"end\"", text);
	take_box(plot, (struct box){RIGHT - 8 - (double)strlen(text) * 7, y - 19, RIGHT, y});
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

/* Tries rings of places around the mark, the nearest first. */
static bool find_place(const struct plot *plot, const struct point *point, double width, struct box *place)
{
	enum { RINGS = 14, DIRECTIONS = 16, RING_PIXELS = 9 };
	for (int ring = 0; ring < RINGS; ring++)
		for (int i = 0; i < DIRECTIONS; i++) {
			/* To the right, left, below, above, then between. */
			static const int order[DIRECTIONS] = {0, 8, 4, 12, 2, 14, 6, 10, 1, 15, 7, 9, 3, 13, 5, 11};
			double angle = order[i] * 2 * pi / DIRECTIONS;
			double away = MARK + 4 + ring * RING_PIXELS;
			*place = box_around(point->x + cos(angle) * (away + width / 2),
			                    point->y + sin(angle) * (away + line_pixels / 2), width, line_pixels);
			if (is_free(plot, *place))
				return true;
		}
	return false;
}

static void draw_label(struct plot *plot, int i)
{
	enum { LEADER_PIXELS = 9 };
	char text[LABEL_BYTES], attributes[80];
	const struct point *point = &plot->points[i];
	name_points(plot, i, text, sizeof text);
	struct box place;
	if (!find_place(plot, point, (double)strlen(text) * char_pixels + 4, &place))
		return; /* its title still tells */
	take_box(plot, place);
	double x = fmin(fmax(point->x, place.left), place.right), y = fmin(fmax(point->y, place.top), place.bottom);
	if (hypot(x - point->x, y - point->y) > MARK + LEADER_PIXELS)
		put_line(plot, point->x, point->y, x, y, "class=\"leader\"");
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
	draw_memory_roof(plot, highest);
	for (int i = 0; i < plot->n_points; i++) {
		struct point *point = &plot->points[i];
		point->x = x_of(plot, point->row->gflop / point->row->gb);
		point->y = y_of(plot, point->row->gflop * bench_steps_per_second(point->row));
		draw_point(plot, point);
	}
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
