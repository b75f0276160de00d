/* Tokens of an answer, each with its probability: pointing at one, or moving to it with the arrow keys, tells its rank and
 * what else could have stood there. A token is { text, logprob, rank, top: [{ text, logprob }] }. */

/* Bytes that are no whole character, as the worker spells them in completions; those of chats are given as bytes. */
function tokenText(text, raw) {
	if (raw && text.includes("\ufffd"))
		return raw.map(byte => "\\x" + byte.toString(16).padStart(2, "0")).join("");
	return text.startsWith("bytes:\\x") ? text.slice(6) : text;
}

/* Of a chunk of /v1/chat/completions. */
function chatTokens(logprobs) {
	return (logprobs && logprobs.content || []).map(entry => ({
		text: tokenText(entry.token, entry.bytes), logprob: entry.logprob, rank: entry.rank,
		top: (entry.top_logprobs || []).map(other => ({ text: tokenText(other.token, other.bytes), logprob: other.logprob })),
	}));
}

/* Of a chunk of /v1/completions. */
function completionTokens(logprobs) {
	if (!logprobs)
		return [];
	return logprobs.tokens.map((token, i) => ({
		text: tokenText(token), logprob: logprobs.token_logprobs[i], rank: logprobs.token_ranks[i],
		top: Object.entries(logprobs.top_logprobs[i] || {}).map(([text, logprob]) => ({ text: tokenText(text), logprob }))
			.sort((a, b) => b.logprob - a.logprob),
	}));
}

/* White space and control characters are to be seen. */
function visible(text) {
	return text.replaceAll("\n", "↵").replaceAll("\t", "⇥").replaceAll(" ", "·").replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2066-\u2069]/g,
		c => `U+${c.charCodeAt(0).toString(16).padStart(4, "0").toUpperCase()}`) || "(empty)";
}

function surprise(logprob) {
	const p = Math.exp(logprob);
	return p >= 0.8 ? "t0" : p >= 0.4 ? "t1" : p >= 0.1 ? "t2" : "t3";
}

class TokenView {
	constructor() {
		this.tokens = [];
		this.element = make("span", { class: "tokens" });
		this.current = 0;
		this.element.addEventListener("pointerover", event => this.show(event.target.closest(".token")));
		this.element.addEventListener("pointerleave", () => this.hide());
		this.element.addEventListener("focusin", event => this.show(event.target.closest(".token"), true));
		this.element.addEventListener("focusout", () => this.hide());
		this.element.addEventListener("keydown", event => this.move(event));
	}

	add(tokens) {
		for (const token of tokens) {
			const i = this.tokens.push(token) - 1;
			const span = make("span", { class: `token ${surprise(token.logprob)}`, tabindex: i === 0 ? "0" : "-1" }, token.text);
			span.dataset.i = i;
			this.element.append(span);
		}
	}

	move(event) {
		const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 10, ArrowUp: -10, Home: -Infinity, End: Infinity }[event.key];
		if (step === undefined || event.altKey || event.ctrlKey || event.metaKey || !this.tokens.length)
			return;
		event.preventDefault();
		this.element.children[Math.max(0, Math.min(this.tokens.length - 1, this.current + step))].focus();
	}

	show(span, focused) {
		if (!span)
			return;
		const i = Number(span.dataset.i);
		if (focused) {
			this.element.children[this.current].tabIndex = -1;
			span.tabIndex = 0;
			this.current = i;
		}
		fillTokenCard(this.tokens[i]);
		placeTokenCard(span);
		if (focused)
			span.setAttribute("aria-describedby", "token-card");
	}

	hide() {
		$("token-card").hidden = true;
	}
}

function fillTokenCard(token) {
	const p = Math.exp(token.logprob);
	const listed = token.top.slice(0, 6);
	$("token-card").replaceChildren(
		make("p", { class: "token-name" }, make("code", {}, visible(token.text))),
		make("p", { class: "token-facts" }, `${percent(p)}, rank ${count(token.rank)}`),
		make("ol", { class: "alternatives" }, ...listed.map(other => {
			const bar = make("span", { class: "bar", "aria-hidden": "true" });
			bar.style.width = `${Math.max(1, Math.exp(other.logprob) * 100)}%`;
			return make("li", { class: other.text === token.text ? "taken" : null }, make("code", {}, visible(other.text)),
				make("span", { class: "bar-box" }, bar), make("span", { class: "share" }, percent(Math.exp(other.logprob))));
		})));
}

/* Below the token, or above where there is no room; never beyond the window. */
function placeTokenCard(span) {
	const card = $("token-card"), at = span.getClientRects()[0] || span.getBoundingClientRect();
	card.hidden = false;
	const { width, height } = card.getBoundingClientRect();
	const left = Math.max(8, Math.min(at.left, innerWidth - width - 8));
	const below = at.bottom + 8 + height <= innerHeight - 8;
	card.style.left = `${left}px`;
	card.style.top = `${below ? at.bottom + 8 : Math.max(8, at.top - height - 8)}px`;
}
