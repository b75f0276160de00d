"use strict";
/* What all views share: elements, the key, requests and their errors, event streams, numbers in words.
 *
 * What a model says is text and nothing else: it reaches the document through text nodes alone, and no part of it becomes a
 * link, a picture or markup. The page's policy would stop what slipped through. */

const $ = id => document.getElementById(id);

/* make("p", {class: "x", onclick: f, "aria-label": "..."}, "text", element, ...) */
function make(tag, attributes, ...children) {
	const svg = ["svg", "path", "rect", "line", "polyline", "g"].includes(tag);
	const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
	for (const [name, value] of Object.entries(attributes || {})) {
		if (name.startsWith("on"))
			element.addEventListener(name.slice(2), value);
		else if (value === true)
			element.setAttribute(name, "");
		else if (value !== false && value !== null && value !== undefined)
			element.setAttribute(name, value);
	}
	element.append(...children.filter(child => child !== null && child !== undefined && child !== false));
	return element;
}

/* Whether a key is an input method's own. Safari tells of the Enter that ends a composition behind its end: by its code alone. */
const isComposing = event => event.isComposing || event.keyCode === 229;

/* Makes a change to the page. Where what had the focus is seen no longer, `next` has it. */
function withFocus(next, change) {
	const focused = document.activeElement;
	change();
	if (focused !== document.body && focused.getClientRects().length === 0)
		next.focus();
}

/* Said once by screen readers; never a token at a time. */
function announce(text) {
	$("announce").textContent = text;
}

/* ---- numbers in words ---- */

const numbers = new Intl.NumberFormat("en");
const count = n => numbers.format(n);
const shortNumber = x => x.toFixed(x < 100 ? 1 : 0);
const plural = (n, one, many) => `${count(n)} ${n === 1 ? one : many}`;

function seconds(s) {
	if (!Number.isFinite(s))
		return "–";
	if (s === 0)
		return "0";
	if (s < 1)
		return `${(s * 1000).toFixed(s < 0.01 ? 1 : 0)} ms`;
	return s < 100 ? `${s.toFixed(s < 10 ? 2 : 1)} s` : `${Math.round(s)} s`;
}

function duration(s) {
	const days = Math.floor(s / 86400), hours = Math.floor(s / 3600) % 24, minutes = Math.floor(s / 60) % 60;
	if (days)
		return `${plural(days, "day", "days")}, ${hours} h`;
	if (hours)
		return `${hours} h ${minutes} min`;
	return minutes ? `${minutes} min ${Math.floor(s % 60)} s` : `${Math.floor(s)} s`;
}

function bytes(n) {
	const units = ["B", "KiB", "MiB", "GiB", "TiB"];
	let unit = 0;
	for (; n >= 1024 && unit < units.length - 1; unit++)
		n /= 1024;
	return `${n.toFixed(n < 10 && unit ? 1 : 0)} ${units[unit]}`;
}

function percent(p) {
	if (p > 0 && p < 0.001)
		return p < 0.00001 ? "< 0.001 %" : `${(p * 100).toFixed(3)} %`;
	return `${(p * 100).toFixed(p > 0.9995 || p === 0 ? 0 : 1)} %`;
}

/* ---- the key: in this tab's session storage and nowhere else; where nothing may be stored, in the page ---- */

const KEY = "tallow-key";
let waitingForKey = null, keyOfPage = null;

function storedKey() {
	try {
		return sessionStorage.getItem(KEY);
	} catch {
		return keyOfPage;
	}
}

function storeKey(key) {
	keyOfPage = key;
	try {
		if (key === null)
			sessionStorage.removeItem(KEY);
		else
			sessionStorage.setItem(KEY, key);
	} catch {
		/* it lasts as long as the page */
	}
}

/* Resolves to whether a key was given. Who asks while the dialog is open gets the same answer. */
function askForKey(why) {
	if (waitingForKey)
		return waitingForKey;
	waitingForKey = new Promise(resolve => {
		const dialog = $("key-dialog");
		$("key-why").textContent = `${why ? why + " " : ""}It stays in this tab, until you close it, and goes to this worker alone.`;
		$("key").value = "";
		$("key-forget").hidden = !storedKey();
		dialog.onclose = () => {
			waitingForKey = null;
			$("key-button").hidden = false;
			resolve(dialog.returnValue === "given");
		};
		dialog.returnValue = "";
		dialog.showModal();
	});
	return waitingForKey;
}

function startKeyDialog() {
	const dialog = $("key-dialog");
	$("key-form").addEventListener("submit", event => {
		event.preventDefault();
		const key = $("key").value.trim();
		if (!key)
			return;
		if (!/^[\x20-\x7e]+$/.test(key)) {
			$("key-why").textContent = "A key is made of the letters, digits and signs of ASCII: no other can be sent.";
			return;
		}
		storeKey(key);
		$("key").value = "";
		dialog.close("given");
		document.dispatchEvent(new Event("keychange"));
	});
	$("key-cancel").addEventListener("click", () => dialog.close(""));
	$("key-forget").addEventListener("click", () => {
		storeKey(null);
		dialog.close("");
	});
	$("key-button").addEventListener("click", () => askForKey());
	$("key-button").hidden = !storedKey();
}

/* ---- requests ---- */

/* What went wrong, in the worker's words. */
class Problem extends Error {
	constructor(message, status, code, retryAfter) {
		super(message);
		this.status = status;
		this.code = code;
		this.retryAfter = retryAfter;
	}
}

function problemOf(value, status, retryAfter) {
	const error = value && value.error;
	let message = error && typeof error === "object" ? error.message : error;
	const fields = value && (value.errors || value.fields);
	if (!message && Array.isArray(fields))
		message = fields.map(field => field.message).join("; ");
	return new Problem(String(message || `the worker answered ${status}`), status, error && error.code, retryAfter);
}

/* A proxy may have put the worker, and so this page, below a path of its own. */
const relative = path => path.slice(1);

/* A request as JSON. Integers that a Number cannot hold are BigInts, and stand beside the other fields alone. */
function requestText(body) {
	const exact = Object.entries(body).filter(([, value]) => typeof value === "bigint");
	const text = JSON.stringify({ ...body, ...Object.fromEntries(exact.map(([name]) => [name, undefined])) });
	return text.slice(0, -1) + exact.map(([name, value]) => `,${JSON.stringify(name)}:${value}`).join("") + "}";
}

/* A fetch of this worker with the key; anything but success is a Problem. quiet: without a key it fails and asks nobody. */
async function call(path, { body, signal, quiet } = {}) {
	for (;;) {
		const headers = {};
		const key = storedKey();
		if (key)
			headers.Authorization = `Bearer ${key}`;
		if (body)
			headers["Content-Type"] = "application/json";
		let response;
		try {
			response = await fetch(relative(path), { method: body ? "POST" : "GET", headers, signal, body: body && requestText(body), cache: "no-store",
				credentials: "omit", redirect: "error" });
		} catch (error) {
			if (error.name === "AbortError")
				throw error;
			throw new Problem("The worker cannot be reached. Is it still running?", 0);
		}
		if (response.ok)
			return response;
		const problem = problemOf(await response.json().catch(() => null), response.status, Number(response.headers.get("Retry-After")) || 0);
		if (response.status !== 401 || quiet)
			throw problem;
		if (!await askForKey(key ? "The key that was given is not one of this worker's." : ""))
			throw new Problem("This worker asks for a key, and none was given.", 401);
	}
}

/* The data of each event of a stream, parsed, until [DONE]: one that ends without is not whole. */
async function* eventsOf(response) {
	const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
	let rest = "", data = [];
	try {
		for (;;) {
			const { value, done } = await reader.read().catch(() => ({ done: true }));
			if (done)
				throw new Problem("The answer broke off: the worker or the connection ended.", 0);
			const lines = (rest + value).split("\n");
			rest = lines.pop();
			for (const line of lines) {
				if (line.startsWith("data:")) {
					data.push(line.slice(5).trimStart());
				} else if (line === "" && data.length) {
					const text = data.join("\n");
					data = [];
					if (text === "[DONE]")
						return;
					const event = JSON.parse(text);
					if (event.error)
						throw problemOf(event, 200);
					yield event;
				}
			}
		}
	} finally {
		reader.cancel().catch(() => {});
	}
}

/* What a stream tells beside its text, filled in while it comes, so that it stands where the stream breaks off. */
function newTelling() {
	return { began: performance.now(), first: 0, usage: null, reason: null, notes: null };
}

/* Gives each choice of a stream to `take`, which says whether it brought something to show. */
async function readChoices(path, options, told, take) {
	const response = await call(path, options);
	told.notes = response.headers.get("X-Constraints");
	for await (const chunk of eventsOf(response)) {
		told.usage = chunk.usage || told.usage;
		const choice = chunk.choices && chunk.choices[0];
		if (!choice)
			continue;
		told.reason = choice.finish_reason || told.reason;
		const now = performance.now();
		if (take(choice))
			told.first ||= now;
	}
}

/* Calls `paint` once for each frame in which it was asked for; hidden pages have none, and wait for `now`. */
function painter(paint) {
	let asked = 0;
	return {
		soon() {
			asked ||= requestAnimationFrame(() => {
				asked = 0;
				paint();
			});
		},
		now() {
			cancelAnimationFrame(asked);
			asked = 0;
			paint();
		},
	};
}

/* ---- JSON as people read it ---- */

/* More would fill the memory where a model nests for as long as it may. */
const MOST_INDENTS = 32;

/* A JSON text with line breaks and indents; numbers and strings as they were written. Null for what is none. */
function prettyJson(text) {
	try {
		JSON.parse(text);
	} catch {
		return null;
	}
	let out = "", depth = 0, before = "";
	const line = () => "\n" + "  ".repeat(Math.min(depth, MOST_INDENTS));
	for (const [piece] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g)) {
		if (piece === "{" || piece === "[") {
			depth++;
			out += piece + line();
		} else if (piece === "}" || piece === "]") {
			depth--;
			out = before === "{" || before === "[" ? out.trimEnd() + piece : out + line() + piece;
		} else {
			out += piece === "," ? piece + line() : piece === ":" ? ": " : piece;
		}
		before = piece;
	}
	return out;
}

/* ---- settings that stay, which hold nothing that was said ---- */

function remembered(name) {
	try {
		return localStorage.getItem(name);
	} catch {
		return null;
	}
}

function remember(name, value) {
	try {
		localStorage.setItem(name, value);
	} catch {
		/* where nothing may be stored, it lasts as long as the page */
	}
}
