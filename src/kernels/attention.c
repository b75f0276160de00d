/* Attention over paged keys and values with the online softmax (Milakov & Gimelshein, 2018; Dao et al., 2022).
 *
 * Queries that share a KV head (its group of heads, for a run of rows) are worked on together, at most QUERIES at once.
 * Keys come in blocks that start at multiples of the block length, in ascending order: widen the block, scores as one
 * small product with keys transposed (a lane is a key, head_dim is summed in one chain), softmax step, weighted values
 * as another small product. Every sum of a row runs over its own visible keys in ascending order in chains that do not
 * depend on which rows or heads lie beside it. With a window a row skips the blocks that end before it, and what it does
 * in the block where its window begins is a function of its position alone.
 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "kernels/kernel_set.h"

/* How much is worked on at once: a function of head_dim alone, so that blocks of keys never depend on the batch. */
struct attention_shape {
	int n_queries;
	int n_keys;
};

static struct attention_shape attention_shape(int64_t head_dim)
{
	if (head_dim <= 256)
		return (struct attention_shape){.n_queries = 96, .n_keys = 64};
	return (struct attention_shape){.n_queries = 12, .n_keys = 16};
}

/* Pieces of one worker's scratch; rows padded to VECTOR_PAD. */
struct attention_buffers {
	float *q;       /* [n_queries, head_dim], scaled */
	float *out;     /* [n_queries, head_dim] sums not yet divided */
	float *scores;  /* [n_queries, n_keys] */
	float *rows;    /* [n_keys, head_dim] keys, then values */
	float *keys;    /* [head_dim, n_keys] transposed */
	float *maximum; /* [n_queries] */
	float *sum;     /* [n_queries] */
	float *factor;  /* [n_queries] */
	size_t width;   /* head_dim, padded */
};

static size_t place_buffers(struct attention_buffers *buffers, float *base, struct attention_shape shape,
                            int64_t head_dim)
{
	size_t width = round_up((size_t)head_dim, VECTOR_PAD), used = 0;
	size_t n_queries = (size_t)shape.n_queries, n_keys = (size_t)shape.n_keys;
	const struct {
		float **piece;
		size_t n;
	} pieces[] = {
	    {&buffers->q, n_queries * width}, {&buffers->out, n_queries * width}, {&buffers->scores, n_queries * n_keys},
	    {&buffers->rows, n_keys * width}, {&buffers->keys, width * n_keys},   {&buffers->maximum, n_queries},
	    {&buffers->sum, n_queries},       {&buffers->factor, n_queries},
	};
	for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
		*pieces[i].piece = base ? base + used : NULL;
		used += round_up(pieces[i].n, VECTOR_PAD);
	}
	buffers->width = width;
	return used * sizeof(float);
}

size_t attention_worker_bytes(int64_t max_head_dim)
{
	/* Bytes grow with head_dim on both sides of the step in attention_shape. */
	struct attention_buffers unused;
	int64_t narrow = max_head_dim < 256 ? max_head_dim : 256;
	size_t most = place_buffers(&unused, NULL, attention_shape(narrow), narrow);
	size_t wide = place_buffers(&unused, NULL, attention_shape(max_head_dim), max_head_dim);
	return most > wide ? most : wide;
}

/* One worker's current piece of work: `heads` query heads from first_head on, rows [first_row, first_row + n_rows). */
struct attention_work {
	const struct kernel_set *set;
	const struct attention_job *job;
	struct attention_shape shape;
	struct attention_buffers buffers;
	int kv_head;
	int first_head, n_heads;
	int first_row, n_rows;
};

static const float *query_at(const struct attention_work *work, int row, int head)
{
	const struct attention_job *job = work->job;
	int64_t index = (int64_t)(work->first_row + row) * job->n_heads + work->first_head + head;
	return job->q + index * job->kv.head_dim;
}

/* Widens `n` rows of keys (or values) of `type` from position `first` on into buffers.rows. */
static void widen_rows(const struct attention_work *work, enum dtype type, size_t offset, int64_t first, int n)
{
	const struct kv_view *kv = &work->job->kv;
	const struct dtype_info *info = dtype_info(type);
	size_t row_bytes = (size_t)kv->head_dim / (size_t)info->block_elements * (size_t)info->block_bytes;
	bool dense = (size_t)kv->head_dim == work->buffers.width;
	for (int done = 0; done < n;) {
		int64_t position = first + done;
		int64_t slot = position % kv->page_tokens;
		int run = kv->page_tokens - slot < n - done ? (int)(kv->page_tokens - slot) : n - done;
		const unsigned char *from = kv->pages[position / kv->page_tokens] + offset +
		                            ((size_t)work->kv_head * (size_t)kv->page_tokens + (size_t)slot) * row_bytes;
		float *to = work->buffers.rows + (size_t)done * work->buffers.width;
		if (dense)
			work->set->widen(to, from, type, (int64_t)run * kv->head_dim);
		else
			for (int i = 0; i < run; i++)
				work->set->widen(to + (size_t)i * work->buffers.width, from + (size_t)i * row_bytes, type,
				                 kv->head_dim);
		done += run;
	}
}

/* The keys of a block that a row sees, counted from the block's first: [from, to), empty when to <= from. */
struct visible {
	int from, to;
};

static struct visible visible_keys(const struct attention_work *work, int row, int64_t first_key, int n_keys)
{
	int64_t position = work->job->position + work->first_row + row, window = work->job->window;
	int64_t from = window && position >= window ? position - window + 1 - first_key : 0;
	int64_t to = position + 1 - first_key;
	return (struct visible){.from = from < 0        ? 0
	                                : from > n_keys ? n_keys
	                                                : (int)from,
	                        .to = to < 0        ? 0
	                              : to > n_keys ? n_keys
	                                            : (int)to};
}

/* Scores and weights of one block of keys for all queries; only what a row sees counts for it. */
static void score_block(const struct attention_work *work, int64_t first_key, int n_keys)
{
	const struct attention_job *job = work->job;
	const struct attention_buffers *b = &work->buffers;
	int n_padded = (int)round_up((size_t)n_keys, VECTOR_PAD);
	size_t stride = (size_t)work->shape.n_keys;
	widen_rows(work, job->kv.k_type, job->kv.k_offset, first_key, n_keys);
	memset(b->rows + (size_t)n_keys * b->width, 0, (size_t)(n_padded - n_keys) * b->width * sizeof(float));
	work->set->transpose(b->keys, stride, b->rows, b->width, n_padded, (int)b->width);
	struct small_product scores = {
	    .m = work->n_rows * work->n_heads,
	    .n = n_padded,
	    .k = job->kv.head_dim,
	    .a = b->q,
	    .a_stride = b->width,
	    .b = b->keys,
	    .b_stride = stride,
	    .c = b->scores,
	    .c_stride = stride,
	};
	work->set->product(&scores);
	for (int row = 0; row < work->n_rows; row++) {
		struct visible visible = visible_keys(work, row, first_key, n_keys);
		if (visible.to <= visible.from)
			continue; /* weigh_block leaves this row alone, too */
		for (int query = row * work->n_heads; query < (row + 1) * work->n_heads; query++) {
			float *of_query = b->scores + (size_t)query * stride;
			for (int key = 0; key < visible.from; key++)
				of_query[key] = -INFINITY;
			b->factor[query] = work->set->softmax_block(of_query, visible.to, b->maximum + query, b->sum + query);
		}
	}
}

/* Adds the block's weighted values. A row meets only values it may see (a value that is not finite would show even with
 * weight 0), so rows that see part of the block go one by one. */
static void weigh_block(const struct attention_work *work, int64_t first_key, int n_keys)
{
	const struct attention_job *job = work->job;
	const struct attention_buffers *b = &work->buffers;
	widen_rows(work, job->kv.v_type, job->kv.v_offset, first_key, n_keys);
	for (int row = 0, n_rows; row < work->n_rows; row += n_rows) {
		struct visible visible = visible_keys(work, row, first_key, n_keys), next = visible;
		int query = row * work->n_heads;
		for (n_rows = 1; next.to - next.from == n_keys && row + n_rows < work->n_rows; n_rows++) {
			next = visible_keys(work, row + n_rows, first_key, n_keys);
			if (next.to - next.from != n_keys)
				break;
		}
		if (visible.to <= visible.from)
			continue;
		struct small_product values = {
		    .m = n_rows * work->n_heads,
		    .n = (int)b->width,
		    .k = visible.to - visible.from,
		    .a = b->scores + (size_t)query * (size_t)work->shape.n_keys + visible.from,
		    .a_stride = (size_t)work->shape.n_keys,
		    .b = b->rows + (size_t)visible.from * b->width,
		    .b_stride = b->width,
		    .c = b->out + (size_t)query * b->width,
		    .c_stride = b->width,
		    .scale = b->factor + query,
		};
		work->set->product(&values);
	}
}

/* The first block that the first row, and so any row, sees a key of. */
static int64_t first_block(const struct attention_work *work)
{
	int64_t oldest = work->job->position + work->first_row - work->job->window + 1, n_keys = work->shape.n_keys;
	return work->job->window && oldest > 0 ? oldest / n_keys * n_keys : 0;
}

static void attend_rows(struct attention_work *work)
{
	const struct attention_job *job = work->job;
	const struct attention_buffers *b = &work->buffers;
	int64_t head_dim = job->kv.head_dim;
	for (int row = 0; row < work->n_rows; row++)
		for (int head = 0; head < work->n_heads; head++) {
			int query = row * work->n_heads + head;
			work->set->scale(b->q + (size_t)query * b->width, query_at(work, row, head), job->scale, head_dim);
			b->maximum[query] = -INFINITY;
			b->sum[query] = 0;
		}
	/* Columns that pad rows of keys and values stay zero through all blocks. */
	memset(b->out, 0, (size_t)(work->n_rows * work->n_heads) * b->width * sizeof(float));
	if ((size_t)head_dim != b->width)
		memset(b->rows, 0, (size_t)work->shape.n_keys * b->width * sizeof(float));

	int64_t n_positions = job->position + work->first_row + work->n_rows;
	for (int64_t first = first_block(work); first < n_positions; first += work->shape.n_keys) {
		int n_keys = n_positions - first < work->shape.n_keys ? (int)(n_positions - first) : work->shape.n_keys;
		score_block(work, first, n_keys);
		weigh_block(work, first, n_keys);
	}

	for (int row = 0; row < work->n_rows; row++)
		for (int head = 0; head < work->n_heads; head++) {
			int query = row * work->n_heads + head;
			float *out = job->out + (query_at(work, row, head) - job->q);
			work->set->scale(out, b->out + (size_t)query * b->width, 1.0f / b->sum[query], head_dim);
		}
}

/* Rows of a job that one task takes: as many as fill QUERIES with one group of heads. */
static int rows_per_task(const struct attention_job *job)
{
	int group = job->n_heads / job->kv.n_kv_heads, n_queries = attention_shape(job->kv.head_dim).n_queries;
	return group < n_queries ? n_queries / group : 1;
}

struct attention_region {
	const struct kernels *kernels;
	const struct attention_job *jobs;
	int n_jobs;
};

static int job_tasks(const struct attention_job *job)
{
	int rows = rows_per_task(job);
	return (job->n_rows + rows - 1) / rows * job->kv.n_kv_heads;
}

static void attention_task(void *context, int task, int worker)
{
	const struct attention_region *region = context;
	const struct attention_job *job = region->jobs;
	for (; task >= job_tasks(job); job++)
		task -= job_tasks(job);

	int rows = rows_per_task(job), group = job->n_heads / job->kv.n_kv_heads;
	/* Later rows see more keys: the longest tasks go first, so that no worker ends long after the others. */
	int block = (job->n_rows + rows - 1) / rows - 1 - task / job->kv.n_kv_heads;
	struct attention_work work = {
	    .set = region->kernels->inner->set,
	    .job = job,
	    .shape = attention_shape(job->kv.head_dim),
	    .kv_head = task % job->kv.n_kv_heads,
	    .first_row = block * rows,
	};
	work.n_rows = job->n_rows - work.first_row < rows ? job->n_rows - work.first_row : rows;
	place_buffers(&work.buffers, worker_scratch(region->kernels, worker), work.shape, job->kv.head_dim);
	for (int head = 0; head < group; head += work.n_heads) {
		work.first_head = work.kv_head * group + head;
		work.n_heads = group - head < work.shape.n_queries ? group - head : work.shape.n_queries;
		attend_rows(&work);
	}
}

void attention_run(const struct kernels *kernels, struct pool *pool, const struct attention_job *jobs, int n_jobs)
{
	struct attention_region region = {.kernels = kernels, .jobs = jobs, .n_jobs = n_jobs};
	int n_tasks = 0;
	for (int i = 0; i < n_jobs; i++) {
		assert(jobs[i].n_heads % jobs[i].kv.n_kv_heads == 0 && jobs[i].position >= 0 && jobs[i].window >= 0);
		n_tasks += job_tasks(&jobs[i]);
	}
	if (n_tasks)
		pool_run(pool, n_tasks, attention_task, &region);
}
