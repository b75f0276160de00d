/* The frame: which view is seen, how the worker is, light or dark, and keys that count everywhere. */

const worker = { name: "the model", asked: null }; /* asked: the model whose template was asked for */
const VIEWS = ["chat", "playground", "dashboard"];
const STATES = { healthy: "ready", loading: "loading", draining: "shutting down", unhealthy: "not well" };

/* ---- views ---- */

function showView() {
	const name = VIEWS.includes(location.hash.slice(1)) ? location.hash.slice(1) : VIEWS.find(view => !$(`view-${view}`).hidden) || "chat";
	withFocus($("main"), () => VIEWS.forEach(view => { $(`view-${view}`).hidden = view !== name; }));
	for (const view of VIEWS) {
		$(`to-${view}`).toggleAttribute("aria-current", view === name);
		if (view === name)
			$(`to-${view}`).setAttribute("aria-current", "page");
	}
	document.title = `${name[0].toUpperCase()}${name.slice(1)} – Tallow`;
	$("token-card").hidden = true;
	watchDashboard();
}

/* The settings beside a view; on narrow windows in its place. */
function startPanel(view) {
	const button = $(`${view}-settings`), panel = $(`${view}-panel`);
	const show = open => {
		$(`view-${view}`).dataset.panel = open ? "open" : "closed";
		button.setAttribute("aria-expanded", String(open));
	};
	const narrow = matchMedia("(max-width: 900px)");
	show(!narrow.matches);
	narrow.addEventListener("change", () => show(!narrow.matches));
	button.addEventListener("click", () => {
		show(button.getAttribute("aria-expanded") !== "true");
		if (button.getAttribute("aria-expanded") === "true" && narrow.matches)
			$(`${view}-panel-close`).focus();
	});
	$(`${view}-panel-close`).addEventListener("click", () => {
		show(false);
		button.focus();
	});
	panel.addEventListener("keydown", event => {
		if (event.key === "Escape" && narrow.matches && !isComposing(event)) {
			event.preventDefault();
			show(false);
			button.focus();
		}
	});
}

/* ---- the worker ---- */

function showState(status, word) {
	$("state").dataset.state = status;
	$("state-model").textContent = worker.name;
	$("state-word").textContent = word;
}

/* What /health says, also while it says no; null where nobody answers. Needs no key. */
async function askHealth() {
	let health;
	try {
		health = await (await fetch(relative("/health"), { cache: "no-store", credentials: "omit" })).json();
	} catch {
		worker.asked = null; /* another may come in its place */
		showState("gone", "not there");
		return null;
	}
	if (health.model)
		worker.name = health.model;
	const progress = health.status === "loading" && Number.isFinite(health.progress) ? ` ${Math.round(health.progress * 100)} %` : "";
	showState(health.status, `${STATES[health.status] || health.status}${progress}`);
	if (health.status !== "healthy") {
		worker.asked = null;
	} else if (worker.asked !== health.model) {
		worker.asked = health.model;
		$("greeting-model").textContent = worker.name;
		$("greeting-facts").textContent = `${health.quant_kind} weights, ${count(health.context_length)} tokens of context`;
		askTemplate();
	}
	return health;
}

/* Without a chat template there is no chat: the view says so, and where to go. */
async function askTemplate() {
	try {
		await call("/apply-template", { body: { messages: [{ role: "user", content: "Hello" }] } });
		chat.canChat = true;
	} catch (problem) {
		if (problem.status !== 400)
			return;
		chat.canChat = false;
		$("chat-notice").replaceChildren(make("h2", {}, "This model has no chat template"),
			make("p", {}, "It continues texts, but does not know whose turn it is. Use the playground, or start the worker with --chat-template FILE."),
			make("p", { class: "hint" }, problem.message), make("a", { class: "primary", href: "#playground" }, "Open the playground"));
	}
	$("chat-notice").hidden = chat.canChat;
	$("composer-text").disabled = $("send").disabled = !chat.canChat;
	renderConversation();
}

async function watchHealth() {
	const health = document.hidden || !$("view-dashboard").hidden ? {} : await askHealth();
	setTimeout(watchHealth, health && health.status !== "loading" ? 5000 : 1000);
}

/* ---- light and dark ---- */

const THEMES = ["system", "light", "dark"];

function showTheme(theme) {
	if (theme === "system")
		delete document.documentElement.dataset.theme;
	else
		document.documentElement.dataset.theme = theme;
	$("theme-button").textContent = `Theme: ${theme}`;
}

function startTheme() {
	let theme = THEMES.includes(remembered("tallow-theme")) ? remembered("tallow-theme") : "system";
	showTheme(theme);
	$("theme-button").addEventListener("click", () => {
		theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
		remember("tallow-theme", theme);
		showTheme(theme);
	});
}

/* ---- the beginning ---- */

document.addEventListener("keydown", event => {
	if (event.key !== "Escape" || isComposing(event) || $("key-dialog").open || event.defaultPrevented)
		return;
	if (!$("token-card").hidden)
		$("token-card").hidden = true;
	if (!$("view-chat").hidden)
		stopAnswer();
	else if (!$("view-playground").hidden)
		playground.controller?.abort();
});
window.addEventListener("hashchange", showView);
document.addEventListener("scroll", () => { $("token-card").hidden = true; }, true);
document.addEventListener("keychange", askTemplate);

startTheme();
startKeyDialog();
startChat();
startPlayground();
startDashboard();
showView();
watchHealth();
