/* The chat: /v1/chat/completions as it streams, with reasoning, calls of tools, and branches. */

const chat = { root: new Message(null, null), shown: new Map(), controller: null, controls: null, form: null, canChat: true };

/* ---- one message in the document ---- */

const ROLES = { user: "You", assistant: "Model", tool: "Result" };

class Shown {
	constructor(message) {
		this.message = message;
		this.body = make("div", { class: "body" });
		this.text = make("div", { class: "text" });
		this.thinking = make("div", { class: "thinking-text" });
		this.thought = make("details", { class: "thinking", hidden: true }, make("summary", {}, "Thinking"), this.thinking);
		this.calls = make("div", { class: "calls" });
		this.facts = make("p", { class: "facts" });
		this.siblings = make("span", { class: "siblings" });
		this.buttons = make("div", { class: "message-buttons" });
		this.body.append(this.thought, this.text, this.calls);
		this.name = make("h2", { class: "who" }, message.role === "assistant" ? worker.name : ROLES[message.role]);
		this.element = make("li", { class: `message ${message.role}` }, this.name, this.body, this.facts,
			make("div", { class: "message-foot" }, this.siblings, this.buttons));
		this.view = null;
		this.nShown = 0;
	}

	/* What streams in: only the new end of each text is added. */
	grow() {
		const { message } = this;
		growText(this.thinking, message.reasoning);
		this.thought.hidden = !message.reasoning;
		const wantsTokens = $("chat-tokens").checked && message.tokens.length > 0 && !message.tokensMissing;
		if (wantsTokens) {
			if (!this.view) {
				this.view = new TokenView();
				this.text.replaceChildren(this.view.element);
			}
			this.view.add(message.tokens.slice(this.view.tokens.length));
		} else {
			if (this.view) {
				this.view = null;
				this.text.replaceChildren();
			}
			growText(this.text, message.text);
		}
		message.calls.forEach((call, i) => this.growCall(call, i));
	}

	growCall(call, i) {
		let box = this.calls.children[i];
		if (!box) {
			box = make("div", { class: "call" }, make("p", { class: "call-name" }, make("span", {}, "Calls "), make("code", {})),
				make("pre", { class: "code-block", tabindex: "0", "aria-label": "Arguments" }));
			this.calls.append(box);
		}
		box.querySelector("code").textContent = call.name;
		growText(box.querySelector("pre"), call.text);
	}

	/* Once nothing streams any more, and whenever a neighbour came or went. */
	settle() {
		const { message } = this;
		const busy = message.state === "waiting" || message.state === "streaming";
		this.grow();
		this.element.setAttribute("aria-busy", String(busy));
		this.element.dataset.state = message.state;
		this.text.classList.toggle("json", message.asJson);
		if (!busy && message.asJson && !this.view)
			setText(this.text, prettyJson(message.text) || message.text);
		if (!busy)
			message.calls.forEach((call, i) => setText(this.calls.children[i].querySelector("pre"), prettyJson(call.text) || call.text));
		this.thought.querySelector("summary").textContent = busy && !message.text ? "Thinking …" : "Thought";
		this.facts.textContent = message.facts || "";
		this.facts.classList.toggle("wrong", message.state === "failed");
		if (message.role === "tool")
			setText(this.text, message.results.map(result => result.text).join("\n\n"));
		this.showSiblings(busy);
		this.showButtons(busy);
	}

	showSiblings(busy) {
		const { message } = this, all = message.parent.children;
		if (all.length < 2)
			return this.siblings.replaceChildren();
		const go = step => () => {
			message.parent.chosen = message.place + step;
			renderConversation();
			const next = chat.shown.get(message.parent.next);
			(next.siblings.querySelector(step < 0 ? "button:first-child:enabled" : "button:last-child:enabled") || next.siblings.querySelector("button:enabled")).focus();
			announce(`Version ${message.parent.chosen + 1} of ${all.length}`);
		};
		this.siblings.replaceChildren(
			make("button", { type: "button", class: "quiet step", "aria-label": "Version before", disabled: message.place === 0 || busy, onclick: go(-1) }, "<"),
			make("span", { class: "place" }, `${message.place + 1}/${all.length}`),
			make("button", { type: "button", class: "quiet step", "aria-label": "Version after", disabled: message.place === all.length - 1 || busy, onclick: go(1) }, ">"));
	}

	showButtons(busy) {
		const { message } = this;
		const button = (name, act) => make("button", { type: "button", class: "quiet", onclick: act }, name);
		const buttons = [];
		if (!busy && message.role !== "tool") {
			if (message.text)
				buttons.push(button("Copy", event => copyText(message.text, event.currentTarget)));
			if (!message.calls.length)
				buttons.push(button("Edit", () => this.edit()));
		}
		if (!busy && message.role === "assistant") {
			buttons.push(button("Regenerate", () => answerTo(message.parent)));
			if (message.text && !message.calls.length && !message.next && (message.state !== "whole" || message.cutShort))
				buttons.push(button("Continue", () => goOn(message)));
		}
		this.buttons.replaceChildren(...buttons);
		if (!busy && message.calls.length && !message.next && message.state === "whole")
			this.askResults();
		else
			this.body.querySelector(".results")?.remove();
	}

	/* You are the tool. */
	askResults() {
		if (this.body.querySelector(".results"))
			return;
		const fields = this.message.calls.map((call, i) => {
			const id = `result-${Math.random().toString(36).slice(2)}-${i}`;
			return [make("textarea", { id, rows: "2", class: "code", spellcheck: "false" }), make("label", { for: id }, `What ${call.name} gives back`)];
		});
		const form = make("form", { class: "results" }, ...fields.map(([text, label]) => make("div", { class: "field" }, label, text)),
			make("div", { class: "actions" }, make("button", { type: "submit", class: "primary" }, "Give it back")));
		form.addEventListener("submit", event => {
			event.preventDefault();
			if (chat.controller)
				return;
			sayBehind(this.message, "tool", { results: this.message.calls.map((call, i) => ({ id: call.id, text: fields[i][0].value })) });
		});
		this.body.append(form);
	}

	/* In place; what is sent becomes a branch, the old text stays. */
	edit() {
		if (chat.controller || this.element.querySelector(".editing"))
			return;
		const { message } = this;
		const text = make("textarea", { rows: Math.min(12, message.text.split("\n").length + 1), "aria-label": "Edit the message" });
		text.value = message.text;
		const end = () => {
			form.remove();
			this.body.hidden = this.buttons.hidden = false;
			this.buttons.querySelector("button")?.focus();
		};
		const form = make("form", { class: "editing" }, text, make("div", { class: "actions" },
			make("button", { type: "submit", class: "primary" }, message.role === "user" ? "Send" : "Keep"),
			make("button", { type: "button", class: "quiet", onclick: end }, "Cancel")));
		form.addEventListener("keydown", event => {
			if (isComposing(event))
				return;
			if (event.key === "Escape") {
				event.stopPropagation();
				end();
			} else if (event.key === "Enter" && !event.shiftKey && message.role === "user") {
				event.preventDefault();
				form.requestSubmit();
			}
		});
		form.addEventListener("submit", event => {
			event.preventDefault();
			if (chat.controller || !text.value.trim())
				return;
			if (message.role === "user") {
				if (sayBehind(message.parent, "user", { text: text.value }))
					end();
				return;
			}
			end();
			const branch = new Message(message.parent, message.role, text.value);
			branch.asJson = message.asJson;
			renderConversation();
			chat.shown.get(branch).buttons.querySelector("button").focus();
		});
		this.body.hidden = this.buttons.hidden = true;
		this.element.insertBefore(form, this.facts);
		text.focus();
	}
}

/* Adds to a text node what its text has more. */
function growText(element, text) {
	const node = element.firstChild;
	if (node && node.nodeType === Node.TEXT_NODE && element.childNodes.length === 1 && text.startsWith(node.data.slice(-64), Math.max(0, node.length - 64)) && text.length >= node.length)
		node.appendData(text.slice(node.length));
	else
		setText(element, text);
}

function setText(element, text) {
	if (element.textContent !== text)
		element.textContent = text;
}

/* Pages that came over plain HTTP from another machine have no clipboard. */
function copyWithoutClipboard(text) {
	const field = make("textarea", { class: "unseen", "aria-hidden": "true" });
	field.value = text;
	document.body.append(field);
	field.select();
	const copied = document.execCommand("copy");
	field.remove();
	return copied;
}

/* For the button "Copy". */
async function copyText(text, button) {
	try {
		await navigator.clipboard.writeText(text);
		button.textContent = "Copied";
	} catch {
		button.textContent = copyWithoutClipboard(text) ? "Copied" : "Not allowed";
	}
	button.focus();
	setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

/* ---- the conversation in the document ---- */

function renderConversation() {
	const way = leafOf(chat.root).path();
	const elements = way.map(message => {
		if (!chat.shown.has(message))
			chat.shown.set(message, new Shown(message));
		const shown = chat.shown.get(message);
		shown.settle();
		return shown.element;
	});
	const list = $("messages");
	/* Elements that stay are not taken out: they keep their focus and what is selected in them. */
	[...list.children].forEach(element => elements.includes(element) || element.remove());
	elements.forEach((element, i) => list.children[i] === element || list.insertBefore(element, list.children[i] || null));
	$("chat-greeting").hidden = elements.length > 0 || !chat.canChat;
	$("new-chat").disabled = elements.length === 0;
}

function atEnd() {
	const box = $("chat-scroll");
	return box.scrollHeight - box.scrollTop - box.clientHeight < 80;
}

function scrollToEnd() {
	const box = $("chat-scroll");
	box.scrollTop = box.scrollHeight;
}

/* ---- asking ---- */

function chatRequest(messages) {
	const request = { messages: [], stream: true, stream_options: { include_usage: true }, ...chat.controls.values(), ...chat.form.values() };
	const system = $("system").value.trim();
	if (system)
		request.messages.push({ role: "system", content: system });
	request.messages.push(...messages.flatMap(message => message.toRequest()));
	const tools = $("tools").value.trim();
	$("tools-error").textContent = "";
	if (tools) {
		const parsed = parsePasted(tools, "The list of tools", $("tools-error"));
		request.tools = Array.isArray(parsed) ? parsed : [parsed];
		if ($("tool-choice").value)
			request.tool_choice = $("tool-choice").value;
	}
	if ($("chat-tokens").checked)
		Object.assign(request, { logprobs: true, top_logprobs: 5 });
	return request;
}

/* A new answer to a message, beside those that it has. False: none is asked for now, or a setting is wrong. */
function answerTo(message) {
	if (chat.controller)
		return false;
	let request;
	try {
		request = chatRequest(message.path());
	} catch (problem) {
		showProblem(problem);
		return false;
	}
	const answer = new Message(message, "assistant");
	answer.asJson = chat.form.isJson;
	stream(answer, request);
	return true;
}

/* Says something new behind a message, beside what was said there, and has it answered. False: nothing was said. */
function sayBehind(parent, role, content) {
	const before = parent.chosen;
	if (answerTo(Object.assign(new Message(parent, role), content)))
		return true;
	parent.children.pop();
	parent.chosen = before;
	return false;
}

/* The same answer, from where it was stopped. */
function goOn(answer) {
	if (chat.controller)
		return;
	try {
		stream(answer, { ...chatRequest(answer.path()), continue_final_message: true });
	} catch (problem) {
		showProblem(problem);
	}
}

/* A setting that is wrong: nothing was sent. */
function showProblem(problem) {
	$("chat-problem").textContent = problem.message;
	announce(problem.message);
}

async function stream(answer, request) {
	const controller = chat.controller = new AbortController();
	const told = newTelling();
	answer.state = "waiting";
	answer.facts = null;
	$("chat-problem").textContent = "";
	withFocus($("stop"), () => {
		$("stop").hidden = false;
		$("send").hidden = true;
		renderConversation();
	});
	scrollToEnd();
	announce("The model answers");
	const shown = chat.shown.get(answer);
	const paint = painter(() => {
		const follow = atEnd();
		shown.grow();
		if (follow)
			scrollToEnd();
	});
	try {
		await readChoices("/v1/chat/completions", { body: request, signal: controller.signal }, told, choice => {
			if (!takeDelta(answer, choice))
				return false;
			if (answer.state === "waiting") {
				answer.state = "streaming";
				shown.settle();
			}
			paint.soon();
			return true;
		});
		answer.state = "whole";
	} catch (error) {
		answer.state = controller.signal.aborted ? "stopped" : "failed";
		answer.facts = controller.signal.aborted ? null : error.message + (error.retryAfter ? ` Try again in ${error.retryAfter} s.` : "");
	}
	answer.cutShort = told.reason === "length";
	if (answer.state !== "failed")
		answer.facts = answerFacts(answer, told);
	chat.controller = null;
	const follow = atEnd();
	paint.now();
	withFocus($("send"), () => {
		$("send").hidden = false;
		$("stop").hidden = true;
		renderConversation();
	});
	if (follow)
		scrollToEnd();
	announce(answer.state === "failed" ? `Failed: ${answer.facts}` : `${answer.state === "stopped" ? "Stopped. " : ""}The model said: ${answer.text.slice(0, 600)}${answer.calls.map(call => ` It calls ${call.name}.`).join("")}`);
}

/* Adds what a chunk brings; whether it brought something. */
function takeDelta(answer, choice) {
	const { delta } = choice;
	answer.text += delta.content || "";
	answer.reasoning += delta.reasoning_content || "";
	for (const part of delta.tool_calls || []) {
		const call = answer.calls[part.index] ||= { id: "", name: "", text: "" };
		call.id = part.id || call.id;
		call.name += part.function?.name || "";
		call.text += part.function?.arguments || "";
	}
	if (delta.content) {
		answer.tokens.push(...chatTokens(choice.logprobs));
		answer.tokensMissing ||= !choice.logprobs;
	}
	return Boolean(delta.content || delta.reasoning_content || delta.tool_calls);
}

/* What the worker says of how an output was held to its form. */
function constraintNotes(text) {
	let notes;
	try {
		notes = JSON.parse(text);
	} catch {
		return [text];
	}
	return Object.entries(notes).map(([name, value]) => {
		if (name === "unconstrained_tools" && Array.isArray(value))
			return `not held to its schema: ${value.join(", ")}`;
		if (name === "notes" && Array.isArray(value))
			return value.map(note => `${note.pointer || "/"}: ${note.why}`).join("; ");
		return `${name}: ${JSON.stringify(value)}`;
	});
}

const REASONS = { length: "as many tokens as there may be", stop: null, tool_calls: null };

function answerFacts(answer, { began, first, usage, reason, notes }) {
	const facts = [];
	if (answer.state === "stopped")
		facts.push("stopped");
	if (usage) {
		const spent = (performance.now() - first) / 1000;
		facts.push(plural(usage.completion_tokens, "token", "tokens"));
		/* Where all came at once the clock tells nothing. */
		if (usage.completion_tokens > 1 && spent > 0.02)
			facts.push(`${shortNumber((usage.completion_tokens - 1) / spent)} tokens/s`);
		const cached = usage.prompt_tokens_details?.cached_tokens;
		facts.push(`prompt of ${count(usage.prompt_tokens)}${cached ? `, ${count(cached)} from the cache` : ""}`);
	}
	if (first)
		facts.push(`first token after ${seconds((first - began) / 1000)}`);
	if (reason in REASONS ? REASONS[reason] : reason)
		facts.push(REASONS[reason] || reason);
	if (notes)
		facts.push(...constraintNotes(notes));
	return facts.join(" · ");
}

/* ---- the composer ---- */

function fitComposer() {
	const text = $("composer-text");
	text.style.height = "auto";
	text.style.height = `${Math.min(text.scrollHeight, innerHeight * 0.4)}px`;
}

function sendMessage() {
	const text = $("composer-text").value;
	if (!text.trim() || chat.controller || !chat.canChat)
		return;
	/* Beside an answer with calls that nobody answered a message is no turn of its own. */
	if (!sayBehind(leafOf(chat.root), "user", { text }))
		return;
	$("composer-text").value = "";
	fitComposer();
}

function stopAnswer() {
	chat.controller?.abort();
}

function startChat() {
	chat.controls = new Controls($("chat-controls"), "chat");
	chat.form = new OutputForm($("chat-form"), "chat-form");
	$("composer").addEventListener("submit", event => {
		event.preventDefault();
		sendMessage();
	});
	$("composer-text").addEventListener("input", fitComposer);
	$("composer-text").addEventListener("keydown", event => {
		if (event.key === "Enter" && !event.shiftKey && !isComposing(event)) {
			event.preventDefault();
			sendMessage();
		}
	});
	$("stop").addEventListener("click", () => {
		stopAnswer();
		$("composer-text").focus();
	});
	$("new-chat").addEventListener("click", () => {
		stopAnswer();
		chat.root = new Message(null, null);
		chat.shown.clear();
		$("chat-problem").textContent = "";
		renderConversation();
		$("composer-text").focus();
	});
	$("chat-tokens").addEventListener("change", renderConversation);
	startPanel("chat");
	renderConversation();
}
