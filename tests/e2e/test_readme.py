"""README.md: every command in it is run, here or by what RAN_ELSEWHERE names; every message that can end a start stands in its
tables of troubles; links lead somewhere."""

import re
import shlex
import subprocess

import pytest

from conftest import ROOT, clean_environment, program, shipped_model
from http_client import WAIT_S

README = (ROOT / "README.md").read_text()

# ---- commands ----

# Commands that are too heavy for this test, or want what is not everywhere, with what runs them instead and when that last
# passed. A Makefile target has its line in tests/README.md, too.
RAN_ELSEWHERE = {
    "apt-get update && apt-get install -y make && make run": "by hand in an empty Debian 12, 2026-11-29",
    "make": "every build",
    "make test": ".ci/run",
    "make help": "by hand, 2026-11-29",
    "make install": "test_install, with DESTDIR",
    "make install PREFIX=~/.local": "test_install, with another folder",
    "make deb": "make deb-test, 2026-11-29",
    "make container": "make container-test runs the same build, 2026-11-29",
    "apt-get install -y ./build/deb/tallow_0.2.0_amd64.deb": "make deb-test, 2026-11-29",
    "cp -r models/tallow-tiny /var/lib/tallow/model": "make deb-test, 2026-11-29",
    'echo "model = /var/lib/tallow/model" >>/etc/tallow/tallow.conf': "make deb-test, 2026-11-29",
    "tallow serve --check": "make deb-test, 2026-11-29",
    "systemctl enable --now tallow.service": "make deb-test, 2026-11-29",
    "tallow health": "make container-test, 2026-11-29; test_health",
    "podman run --read-only --cap-drop=all -p 127.0.0.1:8080:8080 -v ./models/tallow-tiny:/model:ro -e TALLOW_API_KEY=secret tallow:0.2.0":
        "make container-test, 2026-11-29",
    "src/deploy/kubernetes/resources.sh models/tallow-tiny --context 8192 --parallel 8 --kv-memory 2GiB --threads 4 >resources.yaml":
        "make kubernetes-check, 2026-11-29",
    "ANTHROPIC_BASE_URL=http://127.0.0.1:8080 ANTHROPIC_AUTH_TOKEN=none ANTHROPIC_MODEL=local claude": "make clients-cli, 2026-11-29",
    "TALLOW_API_KEY=none codex": "make clients-cli, 2026-11-29",
    "OPENAI_API_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none ENABLE_OLLAMA_API=false open-webui serve --host 127.0.0.1 --port 3000":
        "by hand, with Open WebUI 0.12.4, 2026-11-29",
    "tallow perplexity models/tallow-tiny tests/text/held-out.txt --reference": "test_cli: perplexity_*",
    "tallow bench --model models/tallow-tiny --quick --plot roofline.svg": "test_cli: bench_*; make cpus",
}
# What is run here beside tallow and curl: they make the files that the commands after them read.
HELPERS = ("echo ", "printf ", "chmod ")


def fences(language):
    return re.findall(r"^```%s\n(.*?)^```$" % language, README, re.M | re.S)


def commands_of(block):
    """The commands of a block of shell: lines, but for comments and what a backslash joins."""
    lines = block.replace("\\\n", " ").splitlines()
    return [re.sub(r"\s+# .*$", "", line).strip() for line in lines if line.strip() and not line.startswith("#")]


def serves(command):
    words = shlex.split(command)
    return words[0] == "tallow" and (words[1].startswith("-") or words[1] == "serve")


def runnable(command, port):
    """The command as it is run here; None: it is neither run here nor anywhere else that is known."""
    if command in RAN_ELSEWHERE:
        return ""
    here = command.replace("127.0.0.1:8080", "127.0.0.1:%d" % port)
    if here.startswith("curl "):
        return here.replace("curl ", "curl -sS --fail-with-body --max-time %d " % WAIT_S, 1)
    variables, here = re.fullmatch(r"((?:[A-Z_]+=\S+ )*)(.*)", here).groups()
    if here.startswith("tallow ") and serves(here):  # all that comes before serving
        rest = here.split(" ", 2)[2] if here.startswith("tallow serve ") else here.split(" ", 1)[1]
        return variables + "tallow serve --check %s" % rest.replace("--check ", "").replace("--port 8080", "--port 0")
    return variables + here if here.startswith(("tallow ",) + HELPERS) else None


def test_every_block_of_the_readme_says_what_it_is():
    languages = set(re.findall(r"^```(\S*)$", README, re.M)) - {""}
    assert languages <= {"sh", "text", "python", "javascript", "toml", "json", "yaml", "ini", "nginx"}
    outside = re.sub(r"^```.*?^```$", "", README, flags=re.M | re.S)
    indented = re.findall(r"\n\n(    \S.*)", outside)
    assert not indented, "put it into a fence, ```sh for commands and ```text for others: %s" % indented


def test_every_command_of_the_readme_runs(worker, tmp_path):
    for name in ("models", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "bin").mkdir()
    wrapper = tmp_path / "bin" / "tallow"
    wrapper.write_text("#!/bin/sh\nexec %s \"$@\"\n" % " ".join(shlex.quote(word) for word in program()))
    wrapper.chmod(0o755)
    port = worker(model=shipped_model()).port
    environment = dict(clean_environment(), PATH="%s:/usr/bin:/bin" % (tmp_path / "bin"), TALLOW_PORT="0")  # 8080 may be taken
    n_run = 0
    for block in fences("sh"):
        script = []
        for command in commands_of(block):
            line = runnable(command, port)
            assert line is not None, "README has a command that is neither run here nor in RAN_ELSEWHERE: " + command
            script += [line] if line else []
        n_run += len(script)
        told = subprocess.run(["bash", "-euo", "pipefail", "-c", "\n".join(script)], cwd=tmp_path, env=environment, timeout=WAIT_S,
                              stdin=subprocess.DEVNULL, capture_output=True)
        assert told.returncode == 0, "%s\n%s%s" % ("\n".join(script), told.stdout.decode(), told.stderr.decode())
    assert n_run > 15


RUN = [ROOT / "tests/tools/run.sh", program()[-1], shipped_model(), "Once upon a time", "0"]  # as `make run` has it


def test_make_run_tells_a_story_and_serves():
    with subprocess.Popen(RUN, env=clean_environment(), stdout=subprocess.PIPE, text=True) as run:
        told = list(iter(run.stdout.readline, "Ctrl-C ends it.\n"))
        command = next(line for line in told if line.startswith("  curl "))
        stream = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=WAIT_S).stdout
        run.terminate()
        assert run.wait(WAIT_S) == 0
    told = "".join(told)
    assert re.match(r"POST http://127.0.0.1:\d+/execute\n\nOnce upon a time, there was", told) and "\nServing. Open http" in told
    readme = fences("text")[1]  # of the same command
    kinds = re.findall(r"^event: \w+$", stream, re.M)
    assert list(dict.fromkeys(kinds)) == re.findall(r"^event: \w+$", readme, re.M)


def may_have_a_network():
    return subprocess.run(["unshare", "-n", "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0


@pytest.mark.skipif(not may_have_a_network(), reason="needs a network of its own, which takes root")
def test_make_run_says_that_the_loopback_interface_is_down():
    told = subprocess.run(["unshare", "-n", *RUN], env=clean_environment(), capture_output=True, text=True, timeout=WAIT_S)
    assert told.returncode == 1 and "is the loopback interface up?" in told.stderr


def test_what_is_run_elsewhere_is_in_the_readme():
    commands = {command for block in fences("sh") for command in commands_of(block)}
    assert set(RAN_ELSEWHERE) <= commands, set(RAN_ELSEWHERE) - commands
    assert fences("python") and fences("javascript")  # tests/clients/test_readme.py runs those: make clients
    for block in fences("python"):
        compile(block, "README.md", "exec")


def test_links_of_the_readme_lead_somewhere():
    for page in ("README.md", "src/README.md", "tests/README.md"):
        text = (ROOT / page).read_text()
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S))):
            if target.startswith("http"):
                continue
            path, _, anchor = target.partition("#")
            file = (ROOT / page).parent / path if path else ROOT / page
            assert file.exists(), (page, target)
            if anchor:
                assert anchor in anchors(file.read_text()), (page, target)


def test_the_tests_that_are_named_exist():
    sources, n = {}, 0
    for pattern in ("e2e/test_*.py", "unit/test_*.c"):
        for path in (ROOT / "tests").glob(pattern):
            sources[path.stem] = sources.get(path.stem, "") + path.read_text()
    for page in (README, (ROOT / "tests/README.md").read_text()):
        for file, names in re.findall(r"\b(test_\w+): ([\w*, ]+)", page):
            for name in names.split(","):
                name = name.strip()
                if file in sources and re.fullmatch(r"[a-z]\w*_\w+\*?", name) and not name.startswith("test_"):
                    assert name.rstrip("*") in sources[file], "tests/%s has no %s" % (file, name)
                    n += 1
    assert n > 200


def anchors(text):
    """Of headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


# ---- messages ----

STARTS = ("ERROR_USAGE", "ERROR_MODEL", "ERROR_MEMORY", "ERROR_BIND", "ERROR_CALLBACK", "ERROR_INTERNAL", "? ERROR_MEMORY")
# Commands that end with their own result, and what a chat says while it runs; that is no start.
OTHER_COMMANDS = {"bench.c", "bench_plot.c", "bench_print.c", "bench_run.c", "completion.c", "constrain.c", "doctor.c", "generate.c",
                  "health.c", "inspect.c", "inspect_print.c", "list.c", "logits.c", "manual.c", "perplexity.c", "render.c", "tokens.c"}
# Formats that hold nothing but other texts: of the system (strerror), or of the calls of a function of that file.
TEXTS_OF = {
    "src/base/json.c": None, "src/tensor/manifest.c": None, "src/tensor/mapped_file.c": None, "src/tensor/model_files.c": None,
    "src/text/chat_template.c": None, "src/cli/run.c": None, "src/tensor/gguf_read.c": "refuse", "src/model/config_rope.c": "refuse",
    "src/tensor/safetensors.c": "refuse", "src/server/routes/embeddings.c": None,  # of a request
}


def plain(literal):
    """What stands in a C string, its directives as ..."""
    text = literal.replace('\\"', '"').replace("\\\\", "\\")
    return re.sub(r"%[-0-9.*]*(?:ll|z|h)?[a-zA-Z]?", "\u2026", text)


def calls(text, name):
    """The arguments of each call of that function, as (before the first literal, the literals that follow each other)."""
    for start in re.finditer(r"\b%s\(" % name, text):
        found = re.match(r'([^";{]*?)((?:"(?:[^"\\]|\\.)*"(?:\s*(?:PRI[a-z]\d+|CONFIG_\w+))?\s*)+)', text[start.end():])
        if found:
            yield found[1], plain("".join(re.sub(r"(PRI[a-z]\d+)|(CONFIG_\w+)", "", part) if not part.startswith('"') else
                                          part[1:-1] for part in re.findall(r'"(?:[^"\\]|\\.)*"|[A-Z]\w+', found[2])))


def messages():
    """Every message that can end a start: (file, text)."""
    for path in sorted((ROOT / "src").rglob("*.c")):
        file = str(path.relative_to(ROOT))
        if path.parent.name == "chat" or (path.parent.name == "cli" and path.name in OTHER_COMMANDS):
            continue
        text = path.read_text()
        for before, said in calls(text, "error_set"):
            if not any(code in before for code in STARTS):
                continue
            if not re.fullmatch("[\u2026:() ]*(tensor \u2026: )?\u2026", said):
                yield file, said
            else:
                assert file in TEXTS_OF, "what does it say? %s: %s" % (file, said)
        if TEXTS_OF.get(file):
            for _, said in calls(text, TEXTS_OF[file]):
                yield file, said


def patterns():
    """What stands in the first column of the tables of messages."""
    part = README.split("\n### When it does not start\n")[1].split("\n## ")[0]
    for row in re.findall(r"^\| (.*?[^\\]) \|", part, re.M):
        yield from re.findall(r"`([^`]+)`", row.replace("\\|", "|"))


def matches(pattern, said):
    return re.search(".*".join(re.escape(piece.strip()) for piece in pattern.split("\u2026")), said)


def test_the_codes_that_are_named_exist():
    part = README.split("\n### While it runs\n")[1].split("\n### ")[0]
    table = (ROOT / "include/base/error.h").read_text()
    codes = re.findall(r"`([A-Z]+_[A-Z_]+)`", part)
    assert len(codes) >= 5 and all('"%s"' % code in table for code in codes), codes


def test_every_message_that_ends_a_start_is_in_the_readme():
    known = list(patterns())
    assert len(known) > 100 and all(len(re.findall(r"\w", pattern)) >= 5 for pattern in known)
    said = list(messages())
    assert len(said) > 300
    missing = ["%s: %s" % one for one in said if not any(matches(pattern, one[1]) for pattern in known)]
    assert not missing, "messages that README's troubleshooting does not know:\n" + "\n".join(missing)
    stale = [pattern for pattern in known if not any(matches(pattern, text) for _, text in said)]
    assert not stale, "rows about messages that there are no more: %s" % stale
