/* Settings of a view: sampling fields, made from the table, and the form that an output must have. */

const GROUPS = { main: null, cut: "Which tokens count", repeat: "Repetition", free: "Surprise", limits: "Limits" };

/* What a control's text means; undefined: the worker's own. Throws a Problem that names the field. */
function fieldValue(row, input) {
	if (row.kind === "check")
		return input.checked;
	const wrong = what => new Problem(`${row.label} must be ${what}.`);
	if (input.validity.badInput) /* its value is empty then */
		throw wrong("a number");
	const text = row.kind === "words" ? input.value.replace(/\n+$/, "") : input.value.trim();
	if (text === "")
		return undefined;
	if (row.kind === "words")
		return text.split("\n").filter(line => line !== "").map(line => line.replaceAll("\\n", "\n"));
	if (row.kind === "json") {
		try {
			return JSON.parse(text);
		} catch (error) {
			throw wrong(`JSON (${error.message})`);
		}
	}
	const values = row.kind === "list" ? text.split(",").map(part => part.trim() ? Number(part) : NaN) : [Number(text)];
	if (values.some(value => !Number.isFinite(value)))
		throw wrong(row.kind === "list" ? "numbers with commas between" : "a number");
	if (row.kind === "number" && /^\d+$/.test(text) && !Number.isSafeInteger(values[0]))
		return BigInt(text);
	return row.kind === "list" ? values : values[0];
}

class Controls {
	/* Fills `place`; `preset` has values to begin with. */
	constructor(place, prefix, preset = {}) {
		this.inputs = new Map();
		for (const [group, title] of Object.entries(GROUPS)) {
			const rows = SAMPLING.filter(row => row.group === group).map(row => this.field(row, `${prefix}-${row.name}`, preset[row.name]));
			place.append(title ? make("details", { class: "group" }, make("summary", {}, title), ...rows) : make("div", { class: "group-main" }, ...rows));
		}
	}

	field(row, id, preset) {
		const value = preset ?? row.fallback;
		const hintId = `${id}-hint`;
		const hint = row.hint && make("p", { class: "hint", id: hintId }, row.hint);
		const common = { id, "aria-describedby": row.hint && hintId };
		const label = make("label", { for: id }, row.label);
		let input, slider = null;
		if (row.kind === "check") {
			input = make("input", { ...common, type: "checkbox" });
			this.inputs.set(row, input);
			return make("div", { class: "field check" }, input, label);
		}
		if (row.kind === "choice")
			input = make("select", common, ...row.choices.map(([choice, name]) => make("option", { value: choice }, name)));
		else if (row.kind === "words" || row.kind === "json")
			input = make("textarea", { ...common, rows: 2, class: "code", spellcheck: "false" });
		else
			input = make("input", { ...common, type: row.kind === "list" ? "text" : "number", min: row.min, max: row.kind === "number" ? row.max : null,
				step: row.kind === "number" ? row.step : "any", inputmode: "decimal", autocomplete: "off" });
		if (value !== null && value !== undefined)
			input.value = value;
		this.inputs.set(row, input);
		if (row.kind === "range") {
			slider = make("input", { type: "range", min: row.min, max: row.max, step: row.step, value, "aria-label": row.label, tabindex: "-1" });
			slider.addEventListener("input", () => { input.value = slider.value; });
			input.addEventListener("input", () => { slider.value = input.value || row.fallback; });
		}
		return make("div", { class: `field ${row.kind}` }, make("div", { class: "field-head" }, label, row.kind === "range" && input),
			slider || input, hint);
	}

	/* The fields of a request that differ from the worker's own. */
	values() {
		const values = {};
		for (const [row, input] of this.inputs) {
			const value = fieldValue(row, input);
			if (value !== undefined && value !== row.fallback)
				values[row.name] = value;
		}
		return values;
	}
}

/* ---- the form of an output ---- */

const FORMS = [
	["", "Free text"], ["json_object", "Any JSON object"], ["json_schema", "JSON schema"], ["regex", "Regular expression"],
	["grammar", "Grammar (GBNF)"], ["choice", "One of these, a line each"],
];

class OutputForm {
	constructor(place, prefix) {
		this.select = make("select", { id: `${prefix}-kind` }, ...FORMS.map(([value, name]) => make("option", { value }, name)));
		this.text = make("textarea", { id: `${prefix}-source`, class: "code", rows: 8, spellcheck: "false", "aria-describedby": `${prefix}-wrong` });
		this.wrong = make("p", { class: "wrong", id: `${prefix}-wrong` });
		const source = make("div", { class: "field", hidden: true }, make("label", { for: `${prefix}-source` }, "Its source"), this.text, this.wrong);
		this.select.addEventListener("change", () => { source.hidden = ["", "json_object"].includes(this.select.value); });
		this.text.addEventListener("input", () => { this.wrong.textContent = ""; });
		place.append(make("details", { class: "group" }, make("summary", {}, "Form of the output"),
			make("div", { class: "field" }, make("label", { for: `${prefix}-kind` }, "It must be"), this.select), source));
	}

	get isJson() {
		return this.select.value.startsWith("json");
	}

	/* The fields of a request that say so. Throws a Problem where the schema is no JSON. */
	values() {
		const kind = this.select.value, source = this.text.value;
		this.wrong.textContent = "";
		if (kind === "")
			return {};
		if (kind === "json_object")
			return { response_format: { type: "json_object" } };
		if (kind === "json_schema") {
			const schema = parsePasted(source, "The schema", this.wrong);
			const whole = schema && schema.type === "json_schema" && schema.json_schema;
			return { response_format: whole ? schema : { type: "json_schema", json_schema: { name: "output", schema } } };
		}
		return { structured_outputs: { [kind]: kind === "choice" ? source.split("\n").filter(line => line !== "") : source } };
	}
}

/* JSON that somebody pasted; what is wrong with it is told at `place`, too. */
function parsePasted(text, what, place) {
	try {
		return JSON.parse(text);
	} catch (error) {
		place.textContent = `${what} is no JSON: ${error.message}`;
		throw new Problem(place.textContent);
	}
}
