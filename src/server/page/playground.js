/* The playground: /v1/completions on a bare prompt, token by token. */

const playground = { controller: null, controls: null, form: null, text: "", tokens: [], view: null };

function paintOutput() {
	const box = $("output-box");
	if ($("playground-tokens").checked && playground.tokens.length) {
		if (!playground.view) {
			playground.view = new TokenView();
			box.replaceChildren(playground.view.element);
		}
		playground.view.add(playground.tokens.slice(playground.view.tokens.length));
	} else {
		if (playground.view) {
			playground.view = null;
			box.replaceChildren();
		}
		growText(box, playground.text);
	}
}

function playgroundRequest() {
	const request = { prompt: $("prompt").value, stream: true, stream_options: { include_usage: true }, ...playground.controls.values(), ...playground.form.values() };
	if ($("playground-tokens").checked)
		request.logprobs = 5;
	if (!request.prompt)
		throw new Problem("Write a prompt first.");
	return request;
}

async function continuePrompt() {
	if (playground.controller)
		return;
	const facts = $("playground-facts");
	let request;
	facts.classList.remove("wrong");
	try {
		request = playgroundRequest();
	} catch (problem) {
		facts.classList.add("wrong");
		facts.textContent = problem.message;
		announce(problem.message);
		return;
	}
	const controller = playground.controller = new AbortController();
	const told = newTelling();
	let state = "whole";
	Object.assign(playground, { text: "", tokens: [], view: null });
	$("output-box").replaceChildren();
	$("output-box").setAttribute("aria-busy", "true");
	facts.textContent = "";
	withFocus($("playground-stop"), () => {
		$("playground-stop").hidden = false;
		$("generate").hidden = $("take-over").hidden = true;
	});
	announce("The model continues the prompt");
	const paint = painter(paintOutput);
	try {
		await readChoices("/v1/completions", { body: request, signal: controller.signal }, told, choice => {
			playground.text += choice.text;
			playground.tokens.push(...completionTokens(choice.logprobs));
			if (choice.text)
				paint.soon();
			return choice.text !== "";
		});
	} catch (error) {
		state = controller.signal.aborted ? "stopped" : "failed";
		facts.textContent = error.message;
	}
	playground.controller = null;
	paint.now();
	$("output-box").setAttribute("aria-busy", "false");
	withFocus($("generate"), () => {
		$("generate").hidden = false;
		$("playground-stop").hidden = true;
	});
	$("take-over").hidden = !playground.text;
	facts.classList.toggle("wrong", state === "failed");
	if (state !== "failed")
		facts.textContent = answerFacts({ state }, told);
	announce(state === "failed" ? facts.textContent : `Continued: ${playground.text.slice(0, 600)}`);
}

function startPlayground() {
	playground.controls = new Controls($("playground-controls"), "playground", { max_tokens: 256 });
	playground.form = new OutputForm($("playground-form"), "playground-form");
	$("generate").addEventListener("click", continuePrompt);
	$("playground-stop").addEventListener("click", () => playground.controller?.abort());
	$("prompt").addEventListener("keydown", event => {
		if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !isComposing(event)) {
			event.preventDefault();
			continuePrompt();
		}
	});
	$("take-over").addEventListener("click", () => {
		$("prompt").value += playground.text;
		$("prompt").focus();
	});
	$("playground-tokens").addEventListener("change", () => {
		$("token-legend").hidden = !$("playground-tokens").checked;
		paintOutput();
	});
	startPanel("playground");
}
