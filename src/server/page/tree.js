/* A conversation with its branches: each message has what was said after it, and which of that is looked at. */

class Message {
	constructor(parent, role, text = "") {
		this.parent = parent;
		this.role = role; /* user, assistant, tool (the results of all calls before it), or null: the root */
		this.text = text;
		this.reasoning = "";
		this.calls = []; /* { id, name, text } of the assistant */
		this.results = []; /* { id, text } of a tool */
		this.tokens = []; /* of the text, where they were asked for */
		this.tokensMissing = false; /* for some of it they were not */
		this.state = "whole"; /* or waiting, streaming, stopped, failed */
		this.asJson = false;
		this.facts = null;
		this.children = [];
		this.chosen = 0;
		if (parent) {
			parent.chosen = parent.children.length;
			parent.children.push(this);
		}
	}

	get next() {
		return this.children[this.chosen] || null;
	}

	get place() {
		return this.parent.children.indexOf(this);
	}

	/* This one's way from the root, itself included. */
	path() {
		const way = [];
		for (let message = this; message.parent; message = message.parent)
			way.unshift(message);
		return way;
	}

	/* As a request has it: one object, or one for each result. */
	toRequest() {
		if (this.role === "tool")
			return this.results.map(result => ({ role: "tool", tool_call_id: result.id, content: result.text }));
		const message = { role: this.role, content: this.text };
		if (this.reasoning)
			message.reasoning_content = this.reasoning;
		if (this.calls.length)
			message.tool_calls = this.calls.map(call => ({ id: call.id, type: "function", function: { name: call.name, arguments: call.text } }));
		return [message];
	}
}

/* The last message that is looked at. */
function leafOf(message) {
	while (message.next)
		message = message.next;
	return message;
}
