/* The dashboard: /metrics, /health and /info, asked each second while it is looked at. */

const POLL_MS = 1000, WINDOW = 120; /* samples that are kept, and drawn */
const dashboard = { samples: [], timer: 0, polling: false, cards: {}, info: null, polls: 0 };

/* ---- reading ---- */

/* Prometheus text: { name: value, 'name{label="x"}': value }. */
function parseMetrics(text) {
	const values = {};
	for (const line of text.split("\n")) {
		const at = line.lastIndexOf(" ");
		if (at > 0 && line[0] !== "#")
			values[line.slice(0, at)] = Number(line.slice(at + 1));
	}
	return values;
}

/* [[upper bound, how many]], not cumulative. */
function histogramOf(values, name) {
	const prefix = `${name}_bucket{le="`;
	let before = 0;
	return Object.entries(values).filter(([key]) => key.startsWith(prefix)).map(([key, total]) => {
		const own = total - before;
		before = total;
		return [key.slice(prefix.length, -2) === "+Inf" ? Infinity : Number(key.slice(prefix.length, -2)), own];
	});
}

/* Mean and 95th percentile (its bucket's bound) of what came between two samples. */
function between(older, newer, name) {
	const n = newer[`${name}_count`] - older[`${name}_count`];
	if (!(n > 0))
		return null;
	const was = histogramOf(older, name);
	let seen = 0, bound = 0;
	for (const [i, [upper, total]] of histogramOf(newer, name).entries()) {
		seen += total - was[i][1];
		bound = upper;
		if (seen >= 0.95 * n)
			break;
	}
	return { n, mean: (newer[`${name}_sum`] - older[`${name}_sum`]) / n, p95: bound };
}

/* ---- drawing ---- */

const WIDTH = 260, HEIGHT = 56;

/* Lines over the window, newest at the right; each series has a class. The least top keeps an idle chart flat. */
function drawLines(svg, series, leastTop) {
	const top = Math.max(leastTop, ...series.flatMap(one => one.values.filter(Number.isFinite)));
	svg.replaceChildren(make("line", { class: "axis", x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 }), ...series.map(one => {
		const points = one.values.map((value, i) => [WIDTH - (one.values.length - 1 - i) * WIDTH / (WINDOW - 1), HEIGHT - 1 - (HEIGHT - 4) * (value || 0) / top]);
		return make("polyline", { class: one.class, points: points.map(point => point.map(x => x.toFixed(1)).join(",")).join(" ") });
	}));
}

/* A bar for each bucket that is or lies between used ones. */
function drawBuckets(svg, buckets, label) {
	const used = buckets.map(([, n], i) => n > 0 ? i : -1).filter(i => i >= 0);
	svg.replaceChildren(make("line", { class: "axis", x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 }));
	if (!used.length)
		return;
	const from = Math.max(0, used[0] - 1), to = Math.min(buckets.length - 1, used.at(-1) + 1);
	const most = Math.max(...buckets.map(([, n]) => n)), step = WIDTH / (to - from + 1);
	for (let i = from; i <= to; i++) {
		const height = buckets[i][1] ? Math.max(2, (HEIGHT - 4) * buckets[i][1] / most) : 0;
		svg.append(make("rect", { class: "column", x: ((i - from) * step + 1).toFixed(1), width: Math.max(1, step - 2).toFixed(1), y: (HEIGHT - 1 - height).toFixed(1),
			height: height.toFixed(1), rx: 1.5 }));
	}
	label.textContent = `${seconds(from ? buckets[from - 1][0] : 0)} to ${Number.isFinite(buckets[to][0]) ? seconds(buckets[to][0]) : "beyond"}, ${count(buckets.reduce((sum, [, n]) => sum + n, 0))} since the start`;
}

/* ---- cards ---- */

function addCard(id, title, ...content) {
	const card = { big: make("p", { class: "big", id: `card-${id}` }, "–"), small: make("p", { class: "small" }) };
	card.svg = make("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true", class: "chart" });
	card.note = make("p", { class: "note" });
	dashboard.cards[id] = card;
	const parts = { big: card.big, small: card.small, svg: card.svg, note: card.note };
	$("cards").append(make("section", { class: `card ${id}`, "aria-labelledby": `card-${id}-title` }, make("h2", { id: `card-${id}-title` }, title),
		...content.map(part => typeof part === "string" ? parts[part] : part)));
	return card;
}

const CELLS = 256;

function startDashboard() {
	addCard("speed", "Tokens per second", "big", "small", "svg", "note");
	addCard("first", "Time to first token", "big", "small", "svg", "note");
	addCard("gap", "Gap between tokens", "big", "small", "svg", "note");
	addCard("requests", "Requests", "big", "small", "svg", "note");
	const pages = addCard("pages", "Pages of keys and values", "big", "small");
	pages.grid = make("div", { class: "pages-grid", "aria-hidden": "true" });
	pages.big.after(pages.grid);
	const cache = addCard("cache", "Found in the prefix cache", "big", "small");
	cache.bar = make("div", { class: "meter-fill" });
	cache.big.after(make("div", { class: "meter", "aria-hidden": "true" }, cache.bar));
	const memory = addCard("memory", "Memory against the plan", "big", "small");
	memory.anonymous = make("div", { class: "meter-fill" });
	memory.file = make("div", { class: "meter-fill light" });
	memory.peak = make("div", { class: "meter-mark" });
	memory.big.after(make("div", { class: "meter tall", "aria-hidden": "true" }, memory.anonymous, memory.file, memory.peak));
	const facts = addCard("worker", "Worker");
	facts.list = make("dl", {});
	$("cards").lastChild.append(facts.list);
	document.addEventListener("visibilitychange", watchDashboard);
	document.addEventListener("keychange", () => { dashboard.info = null; });
}

function setCard(id, big, small, note) {
	const card = dashboard.cards[id];
	card.big.textContent = big;
	card.small.textContent = small;
	if (note !== undefined)
		card.note.textContent = note;
}

/* What the colours of a card's picture mean: [class, words]. */
function showKeys(id, keys) {
	dashboard.cards[id].small.replaceChildren(...keys.flatMap(([name, words]) =>
		[make("span", { class: "key-words" }, make("span", { class: `key ${name}`, "aria-hidden": "true" }), words), " "]));
}

/* What of the window, newest last, a function makes of neighbours. */
function rates(of) {
	const { samples } = dashboard;
	return samples.slice(1).map((sample, i) => of(samples[i].values, sample.values, (sample.at - samples[i].at) / 1000));
}

function showSpeed(older, newer, spent) {
	const tokens = rates((a, b, s) => (b.worker_tokens_generated_total - a.worker_tokens_generated_total) / s);
	const prompts = rates((a, b, s) => (b.worker_prompt_tokens_total - a.worker_prompt_tokens_total - b.worker_cached_tokens_total + a.worker_cached_tokens_total) / s);
	const now = tokens.slice(-3), recent = now.reduce((sum, x) => sum + x, 0) / Math.max(1, now.length);
	setCard("speed", recent ? shortNumber(recent) : "0", `${count(newer.worker_tokens_generated_total)} generated and ${count(newer.worker_prompt_tokens_total)} read since the start`,
		"Line: generated. Dashed: read of prompts.");
	drawLines(dashboard.cards.speed.svg, [{ class: "line second", values: prompts }, { class: "line", values: tokens }], 10);
}

function showHistogram(id, name, older, newer) {
	const recent = between(older, newer, name);
	const all = newer[`${name}_count`] ? newer[`${name}_sum`] / newer[`${name}_count`] : NaN;
	setCard(id, recent ? seconds(recent.mean) : Number.isFinite(all) ? seconds(all) : "–",
		recent ? `mean of the last two minutes; 95 % within ${Number.isFinite(recent.p95) ? seconds(recent.p95) : "more"}` : Number.isFinite(all) ? "mean since the start; none lately" : "nothing was asked yet");
	drawBuckets(dashboard.cards[id].svg, histogramOf(newer, name), dashboard.cards[id].note);
}

function showRequests(newer) {
	const active = newer.worker_active_requests, queued = newer.worker_queued_requests;
	const ended = Object.entries(newer).filter(([key, n]) => key.startsWith("worker_requests_total") && n > 0)
		.map(([key, n]) => `${count(n)} ${key.match(/"(.*)"/)[1]}`);
	setCard("requests", `${count(active)} running, ${count(queued)} waiting`, ended.join(", ") || "none has ended yet",
		`waited ${newer.worker_queue_seconds_count ? seconds(newer.worker_queue_seconds_sum / newer.worker_queue_seconds_count) : "–"} on average, ${plural(newer.worker_pauses_total, "pause", "pauses")}. Line: running. Dashed: waiting.`);
	const values = name => dashboard.samples.map(sample => sample.values[name]);
	drawLines(dashboard.cards.requests.svg, [{ class: "line second", values: values("worker_queued_requests") }, { class: "line", values: values("worker_active_requests") }], 2);
}

function showPages(newer) {
	const state = name => newer[`worker_kv_pages{state="${name}"}`] || 0;
	const used = state("used"), cached = state("cached"), free = state("free"), total = used + cached + free;
	const { grid } = dashboard.cards.pages, cells = Math.min(CELLS, total);
	while (grid.children.length > cells)
		grid.lastChild.remove();
	while (grid.children.length < cells)
		grid.append(make("span", {}));
	/* Each kind that there is has a cell, however few its pages. */
	const share = n => n ? Math.max(1, Math.round(n * cells / total)) : 0;
	const nUsed = share(used), nCached = Math.min(cells - nUsed, share(cached));
	[...grid.children].forEach((cell, i) => { cell.className = i < nUsed ? "used" : i < nUsed + nCached ? "cached" : "free"; });
	setCard("pages", total ? `${percent(used / total)} in use` : "–", "");
	showKeys("pages", [["used", `${count(used)} in use`], ["cached", `${count(cached)} kept for prefixes`], ["free", `${count(free)} free`]]);
}

function showCache(newer) {
	const cached = newer.worker_cached_tokens_total, all = newer.worker_prompt_tokens_total;
	setCard("cache", all ? percent(cached / all) : "–", `${count(cached)} of ${count(all)} prompt tokens were not computed again`);
	dashboard.cards.cache.bar.style.width = `${all ? 100 * cached / all : 0}%`;
}

function showMemory(newer) {
	const kind = name => newer[`worker_memory_bytes{kind="${name}"}`];
	const planned = kind("planned"), resident = kind("resident");
	if (resident === undefined)
		return setCard("memory", bytes(planned), "are planned; what is resident this system does not tell");
	const { anonymous, file, peak } = dashboard.cards.memory, whole = Math.max(planned, kind("peak")) || 1;
	anonymous.style.width = `${100 * kind("anonymous") / whole}%`;
	file.style.width = `${100 * kind("file") / whole}%`;
	peak.style.left = `${100 * kind("peak") / whole}%`;
	setCard("memory", `${bytes(resident)} of ${bytes(planned)}`, "");
	showKeys("memory", [["used", `${bytes(kind("anonymous"))} its own`], ["mapped", `${bytes(kind("file"))} mapped files`], ["mark", `${bytes(kind("peak"))} at most so far`]]);
}

function showWorker(health, newer) {
	const info = dashboard.info || {};
	const rows = [
		["Model", health.model || info.model], ["Architecture", info.architecture], ["Weights", health.quant_kind],
		["Context", health.context_length && `${count(health.context_length)} tokens`], ["Vocabulary", health.vocab_size && count(health.vocab_size)],
		["Tokenizer", health.tokenizer_kind], ["Instruction set", info.isa], ["Threads", info.threads],
		["Loaded in", newer && seconds(newer.worker_model_load_seconds)], ["Up for", duration(health.uptime_seconds)],
		["Connections", newer && count(newer.worker_http_connections)], ["Sandbox", info.sandbox && (info.sandbox.on ? "on" : "off")], ["Version", health.version],
	];
	dashboard.cards.worker.list.replaceChildren(...rows.filter(([, value]) => value !== undefined && value !== null && value !== "")
		.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, String(value)))));
}

/* ---- asking ---- */

const dashboardIsSeen = () => !document.hidden && !$("view-dashboard").hidden;

/* What stands there already stays as it is, and so does the focus in it. */
function dashboardNotice(text, ...more) {
	if ($("dashboard-notice").firstChild?.textContent === text)
		return;
	withFocus($("view-dashboard"), () => {
		$("dashboard-notice").replaceChildren(...(text ? [make("p", {}, text), ...more] : []));
		$("dashboard-notice").hidden = !text;
	});
}

/* Samples may lie far apart: none is made while the dashboard is not seen. */
function keepSample(sample) {
	const { samples } = dashboard;
	/* A worker that was started since the last one counts from nothing. */
	if (samples.length && sample.values.worker_uptime_seconds < (sample.at - samples.at(-1).at) / 1000)
		samples.length = 0;
	samples.push(sample);
	dashboard.samples = samples.slice(-WINDOW).filter(({ at }) => sample.at - at <= WINDOW * POLL_MS);
}

async function pollDashboard() {
	const health = await askHealth();
	if (!health)
		return dashboardNotice("The worker cannot be reached. Is it still running?");
	try {
		if (!dashboard.info || dashboard.polls++ % 10 === 0)
			dashboard.info = await (await call("/info", { quiet: true })).json();
		const values = parseMetrics(await (await call("/metrics", { quiet: true })).text());
		keepSample({ at: performance.now(), values });
		dashboardNotice("");
	} catch (problem) {
		if (problem.status === 401)
			dashboardNotice("The numbers are for those who have a key.", make("button", { type: "button", class: "primary", onclick: () => askForKey() }, "Give a key"));
		else if (problem.status === 403)
			dashboardNotice("The numbers are for keys that the key file calls admin; this one is not.");
		else
			dashboardNotice(problem.message);
		showWorker(health, null);
		return;
	}
	const newer = dashboard.samples.at(-1).values, older = dashboard.samples[0].values;
	showSpeed(older, newer);
	showHistogram("first", "worker_time_to_first_token_seconds", older, newer);
	showHistogram("gap", "worker_inter_token_seconds", older, newer);
	showRequests(newer);
	showPages(newer);
	showCache(newer);
	showMemory(newer);
	showWorker(health, newer);
}

/* Begins to ask where the dashboard is seen, and ends with it. */
async function watchDashboard() {
	clearTimeout(dashboard.timer);
	if (dashboard.polling || !dashboardIsSeen())
		return;
	dashboard.polling = true;
	await pollDashboard();
	dashboard.polling = false;
	if (dashboardIsSeen())
		dashboard.timer = setTimeout(watchDashboard, POLL_MS);
}
