"""GET /: the page that the binary carries, without a browser; what it does in one `make page-test` shows."""

import base64
import hashlib
import json
import re

import pytest

from conftest import ROOT
from http_client import get, post, request

SOURCES = ROOT / "src/server/page"
KEYED = {"Authorization": "Bearer secret"}


@pytest.fixture(scope="module")
def page(shared_worker):
    return get(shared_worker.port, "/")


def policy_of(answer):
    return dict(part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";"))


def hash_of(text):
    return "'sha256-%s'" % base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_the_page_is_one_document_with_all_it_needs(page):
    text = page.body.decode()
    assert page.status == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
    assert text.startswith("<!doctype html>") and text.endswith("</script>\n</body>\n</html>\n")
    assert len(page.body) < 150000
    markup = re.sub(r"(<style>).*(</style>)|(<script>).*(</script>)", "", text, flags=re.DOTALL)
    assert len(re.findall(r"<(style|script)\b", text)) == 2
    # Nothing from elsewhere, and nothing in the markup that a policy of hashes would stop.
    assert set(re.findall(r"https?:[^\s\"']*|[\"'(]//[^\s\"']*", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r'\son[a-z]+=|\sstyle=|<(img|iframe|object|embed|base|form [^>]*action)\b', markup)
    assert re.findall(r'href="([^"#][^"]{0,13})', markup) == ["data:image/svg"]


def test_its_headers_let_nothing_else_in(page):
    style = re.search(r"<style>(.*)</style>", page.body.decode(), re.DOTALL)[1]
    script = re.search(r"<script>(.*)</script>", page.body.decode(), re.DOTALL)[1]
    assert policy_of(page) == {
        "default-src": "'none'", "script-src": hash_of(script), "style-src": hash_of(style), "connect-src": "'self'",
        "img-src": "data:", "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'", "trusted-types": "'none'"}
    assert page.headers["x-content-type-options"] == "nosniff" and page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store" and page.headers["x-frame-options"] == "DENY"
    assert "access-control-allow-origin" not in page.headers


def test_what_is_said_there_is_text_only(page):
    """No way by which a text could become markup, code, a link or a picture."""
    script = re.search(r"<script>(.*)</script>", page.body.decode(), re.DOTALL)[1]
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "createContextualFragment", "DOMParser", "srcdoc",
                "eval(", "new Function", "import(", '.src', "setTimeout(\"", "window.open", "location.assign", "location ="):
        assert way not in script, way
    # The key goes to the session's store; what lasts is the theme.
    assert script.count("localStorage.setItem") == 1 and re.findall(r'remember\("([a-z-]+)"', script) == ["tallow-theme"]


def test_head_is_the_same_without_the_body(page, shared_worker):
    head = request(shared_worker.port, "HEAD", "/")
    assert head.status == 200 and head.body == b"" and int(head.headers["content-length"]) == len(page.body)
    for name in ("content-type", "content-security-policy", "referrer-policy", "cache-control"):
        assert head.headers[name] == page.headers[name]
    assert post(shared_worker.port, "/", {}).status == 405
    assert get(shared_worker.port, "/?view=chat").body == page.body
    for path in ("/index.html", "//", "/page"):
        assert get(shared_worker.port, path).status == 404


def test_the_page_needs_no_key_and_its_requests_do(worker):
    port = worker(env={"TALLOW_API_KEY": "secret"}).port
    assert get(port, "/").status == 200
    assert get(port, "/health").status == 200
    for path in ("/metrics", "/info"):
        assert get(port, path).status == 401 and get(port, path, headers=KEYED).status == 200
    for path, body in (("/v1/completions", {"prompt": "x", "max_tokens": 1}), ("/v1/chat/completions", {"messages": []}),
                       ("/apply-template", {"messages": [{"role": "user", "content": "x"}]})):
        assert post(port, path, body).status == 401 and post(port, path, body, headers=KEYED).status != 401


def test_the_page_is_there_before_the_model(worker, big_model):
    loading = worker(model=big_model, wait=False)
    assert get(loading.listening_port(), "/").status == 200


def test_no_page(worker):
    port = worker("--no-page").port
    assert get(port, "/").status == 404 and request(port, "HEAD", "/").status == 404
    assert "GET /" not in get(port, "/info").json()["endpoints"]
    assert get(port, "/health").status == 200


def test_every_path_that_it_asks_is_a_route(shared_worker, page):
    script = re.search(r"<script>(.*)</script>", page.body.decode(), re.DOTALL)[1]
    asked = set(re.findall(r'(?:call|readChoices|relative)\("(/[^"]*)"', script))
    assert asked == {"/v1/chat/completions", "/v1/completions", "/apply-template", "/info", "/metrics", "/health"}
    routes = {endpoint.split(" ")[1] for endpoint in get(shared_worker.port, "/info").json()["endpoints"]}
    assert asked <= routes and "/" in routes


def test_its_controls_are_the_workers_fields(shared_worker):
    """Every sampling field that is described has a control, and no control goes beyond what is taken."""
    schemas = json.loads((ROOT / "src/server/routes/openapi.json").read_text())["components"]["schemas"]
    described = dict(schemas["Sampling"]["properties"])
    for part in schemas["OpenAIRequest"]["allOf"]:
        described.update({name: field for name, field in part.get("properties", {}).items()
                          if name in ("max_tokens", "top_k", "stop", "seed", "parse_special")})
    # What an output must be is a group of its own.
    for other in ("response_format", "complete"):
        del described[other]
    table = re.search(r"const SAMPLING = (\[.*?\n\]);", (SOURCES / "sampling.js").read_text(), re.DOTALL)[1]
    controls = {row["name"]: row for row in json.loads(table)}
    assert set(controls) == set(described) | {"priority"}
    for name, row in controls.items():
        field = described.get(name, {})
        low = field.get("minimum", field.get("exclusiveMinimum"))
        if low is not None and "min" in row:
            assert row["min"] >= low - (name == "top_k"), name
            assert "exclusiveMinimum" not in field or row["min"] > low, name
        if "maximum" in field and row.get("max") is not None:
            assert row["max"] <= field["maximum"], name
    # All at once, with their defaults, and at the bounds of their sliders.
    for bound in ("fallback", "min", "max"):
        fields = {name: row[bound] for name, row in controls.items() if row.get(bound) is not None}
        body = dict({"prompt": "Once", "max_tokens": 2}, **fields)
        body["max_tokens"] = 2
        body["min_tokens"] = 0
        answer = post(shared_worker.port, "/v1/completions", body)
        assert answer.status == 200, answer.body


def test_allowed_hosts(worker):
    port = worker("--allowed-host", "tallow.example", "--allowed-host", "other.example,10.1.2.3").port
    for host, status in (("tallow.example", 200), ("TALLOW.example:8443", 200), ("other.example", 200), ("10.1.2.3:80", 200),
                         ("localhost", 200), ("evil.example", 403), ("tallow.example.evil", 403), ("a.tallow.example", 403)):
        assert get(port, "/health", headers={"Host": host}).status == status, host
    for origin, status in (("https://tallow.example", 200), ("http://tallow.example", 200), ("https://other.example:8443", 200),
                           ("https://evil.example", 403), ("https://tallow.example.evil", 403), ("null", 403)):
        # As a proxy sends it that keeps the name, and as one that does not.
        for host in ("tallow.example", "127.0.0.1:%d" % port):
            answer = get(port, "/health", headers={"Host": host, "Origin": origin})
            assert answer.status == status, (origin, host)
            assert "access-control-allow-origin" not in answer.headers
    assert get(port, "/health", headers={"Origin": "https://localhost"}).status == 403


def test_allowed_hosts_from_the_environment(worker):
    port = worker(env={"TALLOW_ALLOWED_HOST": "a.example,b.example"}).port
    for host, status in (("a.example", 200), ("b.example", 200), ("c.example", 403)):
        assert get(port, "/health", headers={"Host": host}).status == status


@pytest.mark.parametrize("name", ["https://tallow.example", "tallow.example:443", "*.example", "a,,b", "a b", "tallow/"])
def test_what_is_no_name_of_a_host_is_refused(worker, name):
    refused = worker("--allowed-host", name, wait=False)
    assert refused.wait_end() == 2
    assert "--allowed-host must be a name such as" in refused.reason(), refused.reason()
