"""The page in a headless Chromium, with real clicks and keys; run by `make page-test`, not part of CI.

TALLOW_AXE is axe-core's script, TALLOW_SHOTS the folder for screenshots, TALLOW_CHAT_MODEL a real chat model for them (else
the shipped one). Models that say what a test wants are made by tests/e2e/scripted_model.py."""

import base64
import json
import os
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))
import scripted_model  # noqa: E402
from conftest import Worker, shipped_model, slow_model  # noqa: E402,F401 (a fixture)
from webdriver import ELEMENT, Browser, Driver  # noqa: E402

AXE = pathlib.Path(os.environ.get("TALLOW_AXE", ROOT / "build/page/node_modules/axe-core/axe.min.js"))
SHOTS = pathlib.Path(os.environ.get("TALLOW_SHOTS", ROOT / "build/page"))

HOSTILE = ("<img src=x onerror=\"window.pwned=1\"><script>window.pwned=2</script>\n<svg onload=window.pwned=3></svg>\n"
           "[a link](javascript:window.pwned=4) ![a picture](https://evil.example/a.png)\n"
           "<a href=\"https://evil.example/b\">b</a><iframe src=\"https://evil.example/c\"></iframe>\n"
           "</div></li></ol><style>body{background:url(https://evil.example/d.png)}</style>\x1b[31m{{constructor}}")
SCRIPTS = {
    "plain": "A plain answer.",
    "thinks": "<think>\nFirst the sum, then its root.\n</think>\n\nIt is forty-two.",
    "calls": "On it.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Rome\", \"days\": [1, 2]}}\n</tool_call>",
    "sunny": "Sunny, all day long.",
    "hostile": HOSTILE,
    "evilcall": "<tool_call>\n{\"name\": \"<img src=y onerror=window.pwned=5>\", \"arguments\": {\"html\": \"<script>window.pwned=6</script>\"}}"
                "\n</tool_call>",
}
TEMPLATE = ("{{ bos_token }}{% set ns = namespace(go=messages[-1].content) %}"
            "{% if messages[-1].role == 'tool' %}{% set ns.go = 'sunny' %}{% endif %}"
            "{% if ns.go not in NAMES %}{{ ns.go }}{% set ns.go = 'plain' %}{% endif %}"
            "{% for m in messages %}[{{ m.role }}]{% endfor %}{{ '<go:' + ns.go + '>' }}{# <tool_call> <think> #}").replace(
                "NAMES", str(list(SCRIPTS)))
WEATHER = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]


@pytest.fixture(scope="session")
def serve(tmp_path_factory):
    """serve(model, "--flag", ...): a worker for the whole run, one for each set of arguments."""
    started = {}

    def start(model, *arguments, env=None):
        key = (str(model), arguments, str(env))
        if key not in started:
            started[key] = Worker(list(arguments), model, tmp_path_factory.mktemp("worker") / "log", env=env)
        return started[key]

    yield start
    for one in started.values():
        one.kill()


@pytest.fixture(scope="session")
def scripted(tmp_path_factory):
    return scripted_model.write(tmp_path_factory.mktemp("models") / "scripted", shipped_model(),
                                {"<go:%s>" % name: text for name, text in SCRIPTS.items()}, TEMPLATE)


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    one = Driver(tmp_path_factory.mktemp("driver") / "log")
    yield one
    one.stop()


@pytest.fixture
def browser(driver):
    one = Browser(driver)
    yield one
    one.quit()


@pytest.fixture
def page(browser, serve, scripted):
    """The page of a worker whose model says what it is told."""
    return opened(browser, serve(scripted))


def opened(browser, worker, view="chat"):
    browser.size(1280, 860)
    browser.open(worker.url + "/#" + view)
    browser.wait("document.getElementById('state').dataset.state === 'healthy'")
    browser.url = worker.url
    return browser


def say(page, text, wait=True):
    page.type("#composer-text", text)
    page.press("Enter")
    if wait:
        settled(page)


def settled(page):
    page.wait("!document.querySelector('.message[aria-busy=true]') && document.querySelector('.message.assistant:last-child')")


def texts(page, role="assistant"):
    return page.js("return [...document.querySelectorAll('.message.%s .text')].map(e => e.textContent)" % role)


def places(page):
    return page.js("return [...document.querySelectorAll('.siblings .place')].map(e => e.textContent)")


def nothing_ran(page):
    assert page.js("return window.pwned") is None
    assert not page.js("return document.querySelector('main img, main script, main iframe, main style, .message a, .message svg')")
    foreign = [url for url in page.requested() if not url.startswith(("http://127.0.0.1:", "data:"))]
    assert foreign == []
    assert page.console() == []


# ---- the chat ----


def test_a_chat_with_keys_and_clicks(page):
    page.type("#composer-text", "plain")
    page.press("Shift", "Enter")
    assert page.js("return document.getElementById('composer-text').value") == "plain\n"
    page.press("Enter")
    settled(page)
    assert texts(page, "user") == ["plain\n"] and texts(page) == [SCRIPTS["plain"]]
    page.type("#composer-text", "thinks")
    page.click("#send")
    settled(page)
    assert texts(page) == [SCRIPTS["plain"], "It is forty-two."]
    # Reasoning is folded, and opens with a click.
    thought = ".message:last-child .thinking"
    assert page.js("return document.querySelector(arguments[0]).open", thought) is False
    page.click(thought + " summary")
    assert page.js("return document.querySelector(arguments[0] + '-text').textContent.trim()", thought) == "First the sum, then its root."
    assert page.js("return document.getElementById('announce').textContent") == "The model said: It is forty-two."
    assert "19 tokens" in page.js("return document.querySelector('.message:last-child .facts').textContent")
    nothing_ran(page)


def test_edit_branch_and_regenerate(page):
    say(page, "plain")
    say(page, "thinks")
    page.click(".message.assistant:last-child .message-buttons button", "Regenerate")
    settled(page)
    assert places(page) == ["2/2"]
    page.click(".message.user:first-child .message-buttons button", "Edit")
    page.clear(".editing textarea")
    page.type(".editing textarea", "sunny")
    page.press("Enter")
    settled(page)
    assert texts(page, "user") == ["sunny"] and texts(page) == [SCRIPTS["sunny"]] and places(page) == ["2/2"]
    # What was said before is still there, two branches deep.
    page.click(".message.user .step[aria-label='Version before']")
    assert texts(page, "user") == ["plain", "thinks"] and places(page) == ["1/2", "2/2"]
    page.click(".message.assistant .step[aria-label='Version before']")
    assert places(page) == ["1/2", "1/2"]
    page.click(".message.user .step[aria-label='Version after']")
    assert texts(page, "user") == ["sunny"]
    # A second line on an edited branch goes on from it.
    say(page, "plain")
    assert texts(page) == [SCRIPTS["sunny"], SCRIPTS["plain"]]
    # An answer can be written over, too: beside the one that was given.
    page.click(".message.assistant:last-child .message-buttons button", "Edit")
    page.clear(".editing textarea")
    page.type(".editing textarea", "My own words.")
    page.click(".editing button", "Keep")
    assert texts(page) == [SCRIPTS["sunny"], "My own words."] and places(page) == ["2/2", "2/2"]
    # Escape leaves an edit as it was.
    page.click(".message.user:first-child .message-buttons button", "Edit")
    page.type(".editing textarea", " more")
    page.press("Escape")
    assert not page.all(".editing") and texts(page, "user") == ["sunny", "plain"]
    page.click("#new-chat")
    assert not page.all(".message")


def test_with_a_wrong_setting_nothing_is_said(page):
    """And what was written stays, to be sent once the setting is right."""
    say(page, "plain")
    say(page, "thinks")
    page.js("document.getElementById('tools-group').open = true")
    page.type("#tools", "[")
    page.click(".message.user:first-child .message-buttons button", "Edit")
    page.clear(".editing textarea")
    page.type(".editing textarea", "sunny")
    page.press("Enter")
    page.wait("document.getElementById('chat-problem').textContent.includes('no JSON')")
    assert page.js("return document.querySelector('.editing textarea').value") == "sunny"
    page.type("#composer-text", "hostile")
    page.press("Enter")
    assert page.js("return document.getElementById('composer-text').value") == "hostile"
    page.clear("#tools")
    page.clear("#composer-text")
    say(page, "plain")  # goes on where one looks, not on a branch that was never seen
    assert texts(page, "user") == ["plain", "thinks", "plain"] and places(page) == []
    page.click(".editing button", "Send")
    settled(page)
    assert texts(page, "user") == ["sunny"] and texts(page) == [SCRIPTS["sunny"]] and places(page) == ["2/2"]
    page.click(".message.user .step[aria-label='Version before']")
    assert texts(page, "user") == ["plain", "thinks", "plain"] and not page.all(".editing")


def answers_with(page, chunks):
    """The next requests are answered with these bytes, a chunk of the network each; what was sent is in window.sent."""
    page.js("""const chunks = arguments[0].map(chunk => Uint8Array.from(atob(chunk), c => c.charCodeAt(0)));
        window.fetch = async (path, options) => {
            window.sent = options.body;
            return new Response(new ReadableStream({ async start(stream) {
                for (const chunk of chunks) {
                    await new Promise(resolve => setTimeout(resolve));
                    stream.enqueue(chunk);
                }
                stream.close();
            } }), { headers: { "Content-Type": "text/event-stream" } });
        };""", [base64.b64encode(chunk).decode() for chunk in chunks])


def test_a_stream_cut_anywhere_and_one_that_breaks_off(page):
    events = "".join("data: %s\n\n" % json.dumps({"choices": [{"delta": {"content": text}}]}, ensure_ascii=False)
                     for text in ("Grüße ", "\U0001f600 ", "end"))
    whole = (": a comment\n\n" + events + "data: [DONE]\n\n").encode()
    answers_with(page, [bytes([byte]) for byte in whole])
    say(page, "plain")
    assert texts(page) == ["Grüße \U0001f600 end"]
    assert page.js("return document.querySelector('.message:last-child').dataset.state") == "whole"
    answers_with(page, [events.encode()])
    say(page, "plain")
    assert texts(page)[-1] == "Grüße \U0001f600 end"
    assert page.js("return document.querySelector('.message:last-child').dataset.state") == "failed"
    assert "broke off" in page.js("return document.querySelector('.message:last-child .facts').textContent")


def test_an_answer_whose_worker_is_killed_can_be_continued(browser, slow_model, tmp_path):
    template = tmp_path / "lines.jinja"
    template.write_text("{% for m in messages %}{{ m.content }}\n{% endfor %}")
    worker = Worker(["--chat-template", template], slow_model, tmp_path / "log")
    page = opened(browser, worker)
    page.js("document.getElementById('chat-ignore_eos').checked = true")
    say(page, "Once upon a time", wait=False)
    page.wait("(document.querySelector('.message.assistant:last-child .text') || {textContent: ''}).textContent.length > 20")
    worker.kill()
    settled(page)
    assert "broke off" in page.js("return document.querySelector('.message:last-child .facts').textContent")
    assert "Continue" in page.js("return [...document.querySelectorAll('.message:last-child .message-buttons button')].map(b => b.textContent)")


def test_another_worker_in_its_place(page):
    """One without a chat template, and one that has one again: the view is that of the worker that is there."""
    page.js("""window.real = window.fetch;
        window.fetch = (path, options) => path === "health" ? Promise.reject(new TypeError())
            : path === "apply-template" ? Promise.resolve(new Response('{"error": {"message": "no template"}}', { status: 400 })) : real(path, options);""")
    page.wait("document.getElementById('state').dataset.state === 'gone'")
    page.js("const none = window.fetch; window.fetch = (path, options) => path === 'health' ? real(path, options) : none(path, options)")
    page.wait("!document.getElementById('chat-notice').hidden && document.getElementById('composer-text').disabled")
    page.js("window.fetch = () => Promise.reject(new TypeError())")
    page.wait("document.getElementById('state').dataset.state === 'gone'")
    page.size(360, 640, phone=True)
    assert page.js("return document.getElementById('state').innerText").endswith("not there")  # also where there is little room
    page.js("window.fetch = real")
    page.wait("document.getElementById('chat-notice').hidden && !document.getElementById('composer-text').disabled")
    say(page, "plain")
    assert texts(page) == [SCRIPTS["plain"]]


def test_keys_of_an_input_method_are_its_own(page):
    """Enter takes a candidate, Escape drops it; Safari tells of the Enter that ends a composition by its code alone."""
    def press(selector, **key):
        page.js("document.querySelector(arguments[0]).dispatchEvent(new KeyboardEvent('keydown', {bubbles: true, cancelable: true, ...arguments[1]}))",
                selector, key)

    page.type("#composer-text", "plain")
    press("#composer-text", key="Enter", keyCode=229)
    press("#composer-text", key="Enter", isComposing=True)
    assert not page.all(".message")
    page.press("Enter")
    settled(page)
    page.click(".message.user .message-buttons button", "Edit")
    press(".editing textarea", key="Escape", isComposing=True)
    press(".editing textarea", key="Enter", keyCode=229)
    assert page.all(".editing") and texts(page, "user") == ["plain"]


def test_what_is_no_number_is_not_passed_over(page):
    def problem():
        return page.js("return document.getElementById('chat-problem').textContent")

    page.type("#composer-text", "plain")
    page.clear("#chat-temperature")
    page.type("#chat-temperature", "1e")
    page.press("Tab")
    page.click("#send")
    assert problem() == "Temperature must be a number." and not page.all(".message")
    page.clear("#chat-temperature")
    assert page.js("return document.querySelector('#chat-temperature').closest('.field').querySelector('[type=range]').value") == "1"
    page.js("document.getElementById('chat-stop_token_ids').value = '5,'")
    page.click("#send")
    assert problem() == "Stop tokens must be numbers with commas between." and not page.all(".message")
    page.js("document.getElementById('chat-stop_token_ids').value = '5, 6'")
    answers_with(page, [b"data: [DONE]\n\n"])
    page.click("#send")
    settled(page)
    sent = json.loads(page.js("return window.sent"))
    assert sent["stop_token_ids"] == [5, 6] and "temperature" not in sent


def test_copy_is_named_so_again_after_two_clicks(page):
    say(page, "plain")
    copy = "document.querySelector('.message.assistant .message-buttons button')"
    page.js("window.timers = []; window.setTimeout = act => timers.push(act); %s.click()" % copy)
    page.wait("timers.length === 1")
    page.js("%s.click()" % copy)
    page.wait("timers.length === 2")
    page.js("timers.forEach(act => act())")
    assert page.js("return %s.textContent" % copy) == "Copy"


def test_json_of_any_depth_is_shown(page):
    text = page.js("return prettyJson('['.repeat(20000) + '{\"a\":1}' + ']'.repeat(20000))")
    assert len(text) < 5e6 and json.loads("".join(text.split())[20000:-20000]) == {"a": 1}


def test_each_paragraph_is_written_from_its_own_side(page):
    say(page, "plain")
    for selector in (".message .text", "#composer-text", "#system", "#prompt", "#output-box"):
        assert page.js("return getComputedStyle(document.querySelector(arguments[0])).unicodeBidi", selector) == "plaintext", selector
    assert page.js("return getComputedStyle(document.getElementById('tools')).unicodeBidi") != "plaintext"


def test_seeds_of_64_bits_are_sent_as_they_are_written(page):
    page.type("#chat-seed", "18446744073709551615")
    answers_with(page, [b"data: [DONE]\n\n"])
    say(page, "plain")
    sent = json.loads(page.js("return window.sent"))
    assert sent["seed"] == 18446744073709551615 and sent["messages"] == [{"role": "user", "content": "plain"}]


def test_where_nothing_may_be_stored_the_page_works(browser, serve, scripted):
    worker = serve(scripted, env={"TALLOW_API_KEY": "secret"})
    browser.cdp("Page.addScriptToEvaluateOnNewDocument", source="""for (const name of ['sessionStorage', 'localStorage'])
        Object.defineProperty(window, name, { get() { throw new DOMException('denied', 'SecurityError'); } });""")
    page = opened(browser, worker)
    page.wait("document.getElementById('key-dialog').open")
    page.type("#key", "secret")
    page.press("Enter")
    page.wait("!document.getElementById('key-dialog').open")
    say(page, "plain")
    assert texts(page) == [SCRIPTS["plain"]]


def slow_worker(serve, slow_model):
    """A model that says nothing sensible, a token in milliseconds: what streams can be seen in its middle."""
    template = SHOTS / "lines.jinja"
    template.write_text("{% for m in messages %}{{ m.content }}\n{% endfor %}")
    return serve(slow_model, "--chat-template", template, "--tool-format", "hermes")


def test_an_answer_is_stopped_in_its_middle(browser, serve, slow_model):
    page = opened(browser, slow_worker(serve, slow_model))
    page.js("document.getElementById('chat-ignore_eos').checked = true")
    for stop in (lambda: page.click("#stop"), lambda: page.press("Escape")):
        say(page, "Once upon a time", wait=False)
        page.wait("(document.querySelector('.message.assistant:last-child .text') || {textContent: ''}).textContent.length > 20")
        assert page.js("return document.querySelector('.message.assistant:last-child').getAttribute('aria-busy')") == "true"
        stop()
        settled(page)
        assert page.js("return document.querySelector('.message.assistant:last-child').dataset.state") == "stopped"
        page.wait(lambda: "worker_active_requests 0" in page.js_later(
            "const done = arguments[0]; fetch('/metrics').then(r => r.text()).then(done)"), "the worker stops, too")
    before = texts(page)[-1]
    page.click(".message.assistant:last-child .message-buttons button", "Continue")
    page.wait("document.querySelector('.message.assistant:last-child .text').textContent.length > %d" % (len(before) + 10))
    page.press("Escape")
    settled(page)
    assert texts(page)[-1].startswith(before)


def test_calls_of_tools_and_their_results(page):
    page.click("#tools-group summary")
    page.type("#tools", "[{")
    say(page, "calls", wait=False)
    assert "is no JSON" in page.js("return document.getElementById('tools-error').textContent")
    assert page.js("return document.getElementById('composer-text').value") == "calls" and not page.all(".message")
    page.clear("#tools")
    page.type("#tools", json.dumps(WEATHER))
    page.click("#send")
    settled(page)
    assert page.js("return document.querySelector('.call-name code').textContent") == "get_weather"
    assert json.loads(page.js("return document.querySelector('.call pre').textContent")) == {"city": "Rome", "days": [1, 2]}
    page.type(".results textarea", "21 degrees")
    page.click(".results button")
    settled(page)
    assert texts(page, "tool") == ["21 degrees"] and texts(page)[-1] == SCRIPTS["sunny"]


def test_arguments_and_json_are_shown_as_they_stream(browser, serve, slow_model):
    page = opened(browser, slow_worker(serve, slow_model))
    tools = [{"type": "function", "function": {"name": "note", "parameters": {
        "type": "object", "properties": {"text": {"type": "string", "minLength": 300}}, "required": ["text"], "additionalProperties": False}}}]
    page.js("document.getElementById('tools').value = arguments[0]; document.getElementById('tool-choice').value = 'required'", json.dumps(tools))
    say(page, "Write", wait=False)
    part = page.wait("document.querySelector('.message[aria-busy=true] .call pre')?.textContent.length > 20 && "
                     "document.querySelector('.message[aria-busy=true] .call pre')?.textContent")
    assert part.startswith('{"text"') and page.js("return document.querySelector('.call-name code').textContent") == "note"
    page.press("Escape")
    settled(page)
    page.click("#new-chat")
    schema = tools[0]["function"]["parameters"]
    page.js("document.getElementById('tools').value = ''; const kind = document.getElementById('chat-form-kind'); kind.value = 'json_schema'; "
            "kind.dispatchEvent(new Event('change')); document.getElementById('chat-form-source').value = arguments[0]", json.dumps(schema))
    say(page, "Write", wait=False)
    part = page.wait("document.querySelector('.message[aria-busy=true] .text.json')?.textContent.length > 20 && "
                     "document.querySelector('.message[aria-busy=true] .text.json')?.textContent")
    assert part.startswith('{"text"')
    page.press("Escape")
    settled(page)
    # Cut short it is no JSON, and stays as it came.
    assert texts(page)[-1].startswith('{"text"')


def test_an_output_held_to_a_schema(browser, serve):
    page = opened(browser, serve(shipped_model()))
    page.click("#chat-form summary")
    page.js("const kind = document.getElementById('chat-form-kind'); kind.value = 'json_schema'; kind.dispatchEvent(new Event('change'))")
    page.type("#chat-form-source", json.dumps({"type": "object", "properties": {"name": {"enum": ["Ada", "Bo"]}, "old": {"type": "boolean"}},
                                               "required": ["name", "old"], "additionalProperties": False}))
    say(page, "Who are you?")
    text = texts(page)[-1]
    assert set(json.loads(text)) == {"name", "old"} and text.startswith('{\n  "name"')
    page.screenshot(SHOTS / "schema-light-wide.png")


def test_what_a_model_says_is_text(page):
    page.click("#chat-tokens")
    for name in ("hostile", "evilcall"):
        if name == "evilcall":
            page.click("#tools-group summary")
            page.type("#tools", json.dumps(WEATHER))
        say(page, name)
    assert texts(page)[0].startswith("<img src=x onerror=")
    page.click("#chat-tokens")
    assert "</div></li></ol><style>" in texts(page)[0]
    assert "<script>window.pwned=6</script>" in page.js("return document.querySelector('.message:last-child').textContent")
    page.click("#to-playground")
    page.clear("#prompt")
    page.type("#prompt", "<go:hostile>")
    page.js("document.getElementById('playground-parse_special').checked = true")
    page.click("#generate")
    page.wait("document.getElementById('playground-facts').textContent")
    assert "<script>window.pwned=2</script>" in page.js("return document.getElementById('output-box').textContent")
    page.hover("#output-box .token")
    page.wait("!document.getElementById('token-card').hidden")
    nothing_ran(page)
    # The policy itself, for what would slip through: it is reported, and does nothing.
    for attempt in ("document.body.append(Object.assign(document.createElement('img'), {src: 'https://evil.example/x.png'}))",
                    "document.body.append(Object.assign(document.createElement('script'), {text: 'window.pwned = 7'}))",
                    "document.body.innerHTML = '<p onclick=1>'",
                    "fetch('https://evil.example/x').catch(() => {})"):
        page.js("window.reports = []; document.addEventListener('securitypolicyviolation', event => window.reports.push(event.violatedDirective))")
        page.js("try { %s } catch (error) { window.refused = error.name }" % attempt)
        page.wait("window.reports.length > 0", attempt)
    page.js_later("setTimeout(arguments[0], 500)")
    assert page.js("return window.pwned") is None
    assert [url for url in page.requested(blocked=False) if not url.startswith((page.url, "data:"))] == []


# ---- tokens, playground, dashboard ----


def test_tokens_tell_what_else_could_have_stood_there(browser, serve):
    page = opened(browser, serve(shipped_model()))
    page.click("#chat-tokens")
    say(page, "The capital of France is")
    assert len(page.all(".message .token")) > 1
    page.hover(".message .token", 1)
    card = page.wait("!document.getElementById('token-card').hidden && document.getElementById('token-card').textContent")
    assert "%" in card and "rank " in card and len(page.all("#token-card .alternatives li")) == 5
    page.press("Escape")
    # By keys: from one to the next.
    page.js("document.querySelector('.message .token').focus()")
    page.press("Right")
    assert page.js("return document.activeElement === document.querySelectorAll('.message .token')[1] && "
                   "document.activeElement.getAttribute('aria-describedby') === 'token-card' && !document.getElementById('token-card').hidden")
    whole = texts(page)[-1]
    page.click("#chat-tokens")
    assert not page.all(".message .token") and texts(page)[-1] == whole


def test_the_playground(browser, serve):
    page = opened(browser, serve(shipped_model()), "playground")
    page.clear("#prompt")
    page.type("#prompt", "The capital of France is")
    page.clear("#playground-temperature")
    page.type("#playground-temperature", "0")
    page.clear("#playground-max_tokens")
    page.type("#playground-max_tokens", "3")
    page.click("#generate")
    page.wait("document.getElementById('playground-facts').textContent")
    assert page.js("return document.getElementById('output-box').textContent") == " Paris"
    assert page.js("return document.getElementById('playground-facts').textContent").startswith("3 tokens")
    page.click("#take-over")
    assert page.js("return document.getElementById('prompt').value") == "The capital of France is Paris"
    # A field that is wrong is named, in the worker's words.
    page.click("#playground-controls details:last-of-type summary")
    page.type("#playground-logit_bias", "{")
    page.click("#generate")
    assert "Logit bias must be JSON" in page.wait("document.querySelector('#playground-facts.wrong')?.textContent")
    page.clear("#playground-logit_bias")
    page.clear("#playground-temperature")
    page.type("#playground-temperature", "3")
    page.click("#generate")
    page.wait("(document.querySelector('#playground-facts.wrong')?.textContent || '').includes('temperature')")


def test_the_dashboard_moves(browser, serve, slow_model):
    worker = serve(slow_model)
    page = opened(browser, worker, "dashboard")
    page.wait("document.getElementById('card-speed').textContent === '0'")
    page.js("fetch('/v1/completions', {method: 'POST', body: JSON.stringify({prompt: 'Once upon a time', max_tokens: 1500, ignore_eos: true})})")
    page.wait("Number(document.getElementById('card-speed').textContent) > 0")
    page.wait("document.getElementById('card-requests').textContent === '1 running, 0 waiting'")
    page.wait("document.querySelectorAll('.pages-grid .used').length > 0")
    page.wait("document.getElementById('card-requests').textContent === '0 running, 0 waiting'")
    page.wait("document.querySelector('.card.requests .small').textContent.includes('1 completed')")
    assert page.js("return document.querySelector('.card.worker').textContent.includes(arguments[0])", "LlamaForCausalLM")
    # A worker that was started anew while nobody looked counts from nothing, however long it is up by now.
    page.js("dashboard.samples = [{ at: performance.now() - 1e6, values: { ...dashboard.samples.at(-1).values, worker_uptime_seconds: 0 } }]")
    page.wait("dashboard.samples.length > 1")
    assert page.js("return performance.now() - dashboard.samples[0].at") < 120000
    # It asks while it is seen, and only then.
    page.requested()
    page.wait(lambda: any(url.endswith("/metrics") for url in page.requested()))
    page.click("#to-chat")
    page.requested()
    page.js_later("setTimeout(arguments[0], 2500)")
    assert not [url for url in page.requested() if url.endswith("/metrics")]


# ---- who may, and how it looks ----


def test_the_key_is_asked_for_and_stays_in_the_session(browser, serve, scripted):
    worker = serve(scripted, env={"TALLOW_API_KEY": "secret"})
    page = opened(browser, worker)
    page.wait("document.getElementById('key-dialog').open")
    page.type("#key", "wrong")
    page.press("Enter")
    page.wait("document.getElementById('key-dialog').open && document.getElementById('key-why').textContent.includes('not one of')")
    page.type("#key", "schlüssel")
    page.press("Enter")
    page.wait("document.getElementById('key-why').textContent.includes('ASCII')")
    page.clear("#key")
    page.type("#key", "secret")
    page.click("#key-form .primary")
    page.wait("!document.getElementById('key-dialog').open")
    say(page, "plain")
    assert texts(page) == [SCRIPTS["plain"]]
    assert page.js("return sessionStorage.length === 1 && sessionStorage.getItem('tallow-key')") == "secret"
    assert page.js("return localStorage.length + document.cookie.length") == 0
    assert all("secret" not in url for url in page.requested())
    # A reload keeps it, forgetting it ends it.
    opened(page, worker, "dashboard")
    page.wait("document.getElementById('card-requests').textContent !== '–'")
    page.click("#key-button")
    page.click("#key-forget")
    page.wait("!document.getElementById('dashboard-notice').hidden")
    assert page.js("return sessionStorage.length") == 0


def test_numbers_for_admins_alone(browser, serve, tmp_path):
    keys = tmp_path / "keys"
    keys.touch(0o600)
    keys.write_text("boss admin\nguest\n")
    page = opened(browser, serve(shipped_model(), "--api-key-file", keys), "dashboard")
    page.click("#key-cancel")
    page.click("#dashboard-notice button")
    page.type("#key", "guest")
    page.press("Enter")
    page.wait("document.getElementById('dashboard-notice').textContent.includes('admin')")
    page.click("#key-button")
    page.type("#key", "boss")
    page.press("Enter")
    page.wait("document.getElementById('dashboard-notice').hidden && document.getElementById('card-requests').textContent !== '–'")


def test_a_model_without_a_template_has_a_playground(browser, serve, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in shipped_model().iterdir():
        if "template" not in path.name:
            (bare / path.name).write_bytes(path.read_bytes())
    settings = json.loads((bare / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (bare / "tokenizer_config.json").write_text(json.dumps(settings))
    page = opened(browser, serve(bare))
    page.wait("document.getElementById('chat-notice').textContent.includes('no chat template')")
    assert page.js("return document.getElementById('composer-text').disabled")
    page.click("#chat-notice a")
    page.wait("!document.getElementById('view-playground').hidden")


def test_keys_reach_everything_and_the_theme_stays(page):
    page.press("Tab")
    assert page.js("return document.activeElement.className") == "skip"
    names = []
    while len(names) < 60 and "composer-text" not in names:
        page.press("Tab")
        names.append(page.js("return document.activeElement.id || document.activeElement.tagName"))
        assert page.js("return getComputedStyle(document.activeElement).outlineStyle !== 'none' || document.activeElement.id === 'composer-text'"), names
    assert {"to-playground", "to-dashboard", "theme-button", "chat-scroll"} <= set(names)
    page.js("document.querySelector('.skip').focus()")
    page.press("Enter")
    page.wait("document.activeElement.id === 'main'")
    assert page.js("return document.getElementById('view-chat').hidden") is False
    for theme in ("light", "dark"):
        page.click("#theme-button")
        assert page.js("return document.documentElement.dataset.theme") == theme
        assert page.js("return getComputedStyle(document.documentElement).colorScheme") == theme
    opened(page, page, "chat")
    assert page.js("return document.documentElement.dataset.theme") == "dark" and page.js("return localStorage.length") == 1


def test_the_focus_is_never_lost(page):
    """What was pressed goes away, and something near has the focus: Stop while an answer streams, then Send."""
    def press(selector, text=None):
        page.js("arguments[0].focus()", {ELEMENT: page.one(selector, text)})
        page.press("Enter")

    def focused():
        return page.js("return document.activeElement.id || document.activeElement.textContent")

    page.type("#composer-text", "plain")
    for selector, text in (("#send", None), (".message.assistant button", "Regenerate"), (".message.user button", "Edit")):
        press(selector, text)
        if text == "Edit":
            page.press("Enter")
        settled(page)
        assert focused() == "send", (selector, text)
    press(".message.assistant button", "Edit")
    press(".editing button", "Keep")
    assert focused() == "Copy"
    page.click("#to-playground")
    page.clear("#prompt")
    page.type("#prompt", "<go:plain>")
    page.js("document.getElementById('playground-parse_special').checked = true; document.getElementById('playground-max_tokens').value = '2'")
    press("#generate")
    page.wait("document.getElementById('playground-facts').textContent")
    assert focused() == "generate"
    # A token that was clicked is the one that Tab comes back to.
    page.click("#output-box .token:last-child")
    assert page.js("return [...document.querySelectorAll('#output-box .token')].map(token => token.tabIndex)") == [-1, 0]


def axe(page):
    """What axe-core finds that is serious or critical."""
    page.js(AXE.read_text() + "; window.axe = axe || window.axe; return 1")
    found = page.js_later("const done = arguments[0]; window.axe.run().then(r => done(r.violations), e => done([{impact: 'critical', id: String(e), nodes: []}]))")
    return ["%s: %s" % (one["id"], [node["html"][:120] + " " + (node.get("failureSummary") or "")[:200] for node in one["nodes"][:3]])
            for one in found if one["impact"] in ("serious", "critical")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width, height", [(1280, 860), (390, 844)])
def test_looks_and_axe(browser, serve, scripted, scheme, width, height):
    model = os.environ.get("TALLOW_CHAT_MODEL") or shipped_model()
    name = "%s-%s" % (scheme, "wide" if width > 900 else "narrow")
    found, wide = {}, width > 900
    browser.prefer(scheme, reduced=True)

    def look(what):
        if what != "tokens":
            browser.hover("#state")
        browser.js_later("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
        browser.screenshot(SHOTS / ("%s-%s.png" % (what, name)))
        found.update({what: problems for problems in [axe(browser)] if problems})
        assert browser.js("return document.documentElement.scrollWidth <= innerWidth"), what + " is wider than its window"

    page = opened(browser, serve(model))
    page.size(width, height, phone=not wide)
    look("greeting")
    page.js("for (const [id, value] of [['chat-max_tokens', '120'], ['chat-seed', '7'], ['chat-temperature', '0.7']]) document.getElementById(id).value = value")
    page.type("#composer-text", "What is the capital of France?")
    page.click("#send")
    settled(page)
    page.type("#composer-text", "Tell me a little about the sea.")
    page.click("#send")
    settled(page)
    page.click(".message.assistant:last-child .message-buttons button", "Regenerate")
    settled(page)
    look("chat")
    if not wide:
        page.click("#chat-settings")
        look("settings")
        page.click("#chat-panel-close")
    page.click("#to-playground")
    page.js("document.getElementById('playground-seed').value = '3'; document.getElementById('playground-max_tokens').value = '160'")
    page.click("#generate")
    page.wait("document.getElementById('playground-facts').textContent")
    page.hover("#output-box .token", 12)
    look("tokens")
    page.press("Escape")
    look("playground")
    page.click("#to-dashboard")
    page.wait("document.querySelectorAll('.card .chart .line').length && document.getElementById('card-requests').textContent !== '–'")
    page.js("for (let i = 0; i < 3; i++) fetch('/v1/completions', {method: 'POST', body: JSON.stringify({prompt: 'Once upon a time', max_tokens: 900, "
            "ignore_eos: true, seed: i})})")
    page.js_later("setTimeout(arguments[0], 4000)")
    look("dashboard")
    # Reasoning, calls, wrong settings, and what is hostile.
    page = opened(browser, serve(scripted))
    page.size(width, height, phone=not wide)
    page.js("document.getElementById('tools').value = arguments[0]", json.dumps(WEATHER))
    for text in ("thinks", "calls"):
        page.type("#composer-text", text)
        page.click("#send")
        settled(page)
    page.click(".message:nth-child(2) .thinking summary")
    look("calls")
    page.js("document.getElementById('chat-scroll').scrollTop = 1e6")
    look("results")
    page.js("document.getElementById('tools').value = '['")
    page.type("#composer-text", "plain")
    page.click("#send")
    look("wrong")
    page.js("askForKey()")
    look("key")
    assert found == {}
    nothing_ran(page)
