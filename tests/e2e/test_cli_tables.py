"""What is made of the tables of commands and options: files with options, completions, the man page, --version; and serve
--check and doctor."""

import json
import re
import shutil
import socket
import subprocess
import sys

import pytest

from conftest import ROOT, program, shipped_model


def one_line(result):
    lines = result.stderr.decode().splitlines()
    assert len(lines) == 1 and lines[0].startswith("tallow: "), lines
    return lines[0]


def commands_of(tallow):
    return re.findall(r"^  ([a-z]+) +\S", tallow("--help").stdout.decode().split("\nCommands ")[1].split("\nOptions ")[0], re.M)


# ---- a file with options ----


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "tallow.conf"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def test_options_come_from_a_file(tallow, config):
    path = config('# a comment\n\n  model = "%s"\r\nmax-tokens = 3\nport=1\ntemperature = 0\n' % shipped_model())
    text = tallow("generate", "--config", path, "-p", "Once upon a time").stdout
    assert text and text == tallow("generate", "--model", shipped_model(), "-p", "Once upon a time", "--max-tokens", "3",
                                   "--temperature", "0").stdout
    more = tallow("generate", "--config", path, "-p", "Once upon a time", "--max-tokens", "9").stdout
    assert more.startswith(text[:-1]) and len(more) > len(text)  # a flag wins
    more_by_variable = tallow("generate", "-p", "Once upon a time", env={"TALLOW_MAX_TOKENS": "9", "TALLOW_CONFIG": path}).stdout
    assert more_by_variable == more


@pytest.mark.parametrize("text, said", [
    ("prot = 1\n", "tallow.conf:1: unknown option prot; the nearest is port"),
    ("\n# x\nport = x\n", 'tallow.conf:3: port must be an integer from 0 to 65535 (got "x")'),
    ("port\n", "tallow.conf:1: port needs a value: port = N"),
    ("port = 1\nport = 2\n", "tallow.conf:2: port is given a second time"),
    ("api-key = x\n", "tallow.conf:1: api-key: keys do not belong here; use api-key-file"),
    ("help\n", "tallow.conf:1: help is only for the command line"),
    ("config = x\n", "tallow.conf:1: config is only for the command line"),
    ("= 1\n", "tallow.conf:1: a line is `name = value`"),
    ("Port = 1\n", "tallow.conf:1: a line is `name = value`"),
    (b"port = 1\0\n", "is no text: it holds a NUL byte"),
])
def test_mistakes_in_a_file_are_told_with_their_line(tallow, config, text, said):
    result = tallow("serve", "--config", config(text), "--model", shipped_model())
    assert result.returncode == 2 and said in one_line(result)


def test_a_file_that_is_too_large(tallow, config):
    result = tallow("serve", "--config", config("#" * (1 << 20) + "\n"), "--model", shipped_model())
    assert result.returncode == 2 and "is larger than a megabyte" in one_line(result)


def test_a_file_that_is_not_there(tallow, tmp_path):
    result = tallow("inspect", shipped_model(), "--config", str(tmp_path / "none"))
    assert result.returncode == 2 and "No such file" in one_line(result)
    assert tallow("inspect", shipped_model(), "--config", str(tmp_path)).returncode == 2
    assert tallow("inspect", "--help", "--config", str(tmp_path / "none")).returncode == 0


# ---- completions ----


def complete(tallow, *words, lines=False):
    script = tallow("completion", "bash").stdout.decode()
    line = "COMP_WORDS=(tallow %s); COMP_CWORD=%d; _tallow; printf '%%s\\n' \"${COMPREPLY[@]}\"" % (
        " ".join("'%s'" % word for word in words), len(words))
    told = subprocess.run(["bash", "-c", script + line], stdout=subprocess.PIPE, check=True).stdout.decode()
    return told.splitlines() if lines else told.split()


def test_bash_completes_commands_options_and_values(tallow):
    assert complete(tallow, "gene") == ["generate"]
    assert complete(tallow, "--callback-u") == ["--callback-url"]  # of serve
    assert complete(tallow, "generate", "--top") == ["--top-k", "--top-p", "--top-n-sigma"]
    for between in ([], ["="]):  # as bash has --kv f and --kv=f
        assert complete(tallow, "serve", "--kv", *between, "f") == ["f32", "f16"]
    assert {"f32", "f16", "q8"} <= set(complete(tallow, "serve", "--kv", "="))
    assert complete(tallow, "generate", "--max-tokens", "") == []
    assert {"bash", "zsh", "fish"} <= set(complete(tallow, "completion", ""))
    assert set(commands_of(tallow)) <= set(complete(tallow, ""))


def test_bash_completes_names_of_files_whole(tallow, tmp_path):
    names = {"my model.gguf", "my*", "my $(touch owned)"}
    for name in names:
        (tmp_path / name).write_text("")
    for words in [("serve", "--model", str(tmp_path) + "/my"), ("inspect", str(tmp_path) + "/my")]:
        assert set(complete(tallow, *words, lines=True)) == {str(tmp_path / name) for name in names}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_and_option_is_in_each_script(tallow, shell):
    script = tallow("completion", shell).stdout.decode()
    for command in commands_of(tallow):
        assert command in script
        for flag in re.findall(r"^ {2}(?:-.,| {3}) --([a-z0-9-]+)", tallow(command, "--help").stdout.decode(), re.M):
            assert ("-l %s " % flag if shell == "fish" else "--" + flag) in script, (command, flag)
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script.encode(), check=True)


def test_zsh_takes_values_behind_a_sign_too(tallow):
    script = tallow("completion", "zsh").stdout.decode()
    assert "'--kv=[" in script and "'*--stop=[" in script and "'--no-page[" in script


def test_other_shells_are_refused(tallow):
    result = tallow("completion", "tcsh")
    assert result.returncode == 2 and 'bash, zsh or fish (got "tcsh")' in one_line(result)
    result = tallow("completion")
    assert result.returncode == 2 and "which shell? tallow completion bash, zsh or fish" in one_line(result)


# ---- the man page and --version ----


def test_the_man_page_has_every_command_and_option(tallow):
    page = tallow("manual").stdout.decode()
    plain = page.replace("\\-", "-")
    assert page.startswith('.\\" ') and ".SH NAME\ntallow \\- " in page
    for command in commands_of(tallow):
        for flag in re.findall(r"^ {2}(?:-.,| {3}) --([a-z0-9-]+)", tallow(command, "--help").stdout.decode(), re.M):
            assert "--" + flag in plain, (command, flag)
    assert "TALLOW_API_KEY" in page and ".SH EXIT STATUS" in page
    if shutil.which("groff"):
        told = subprocess.run(["groff", "-man", "-ww", "-z", "-"], input=page.encode(), stderr=subprocess.PIPE, check=True)
        assert told.stderr == b""


def test_readme_has_the_options_that_there_are(tallow):
    tool = [sys.executable, str(ROOT / "tests/tools/reference.py")] + program()
    told = subprocess.run(tool + ["--check"], stderr=subprocess.PIPE)
    assert told.returncode == 0, told.stderr.decode()
    table = tallow("manual", "--markdown").stdout.decode()
    for command in commands_of(tallow):
        for flag in re.findall(r"^ {2}(?:-.,| {3}) --([a-z0-9-]+)", tallow(command, "--help").stdout.decode(), re.M):
            assert re.search(r"^\| `--%s[ `]" % flag, table, re.M), (command, flag)
    assert len({line.count("|") - line.count("\\|") for line in table.splitlines() if line}) == 1  # as many cells everywhere


def test_version_tells_what_it_is_made_of(tallow):
    lines = tallow("--version").stdout.decode().splitlines()
    assert re.fullmatch(r"tallow \d+\.\d+\.\d+", lines[0])
    told = dict(line.split(": ", 1) for line in lines[1:])
    assert re.fullmatch(r"([0-9a-f]{12}(\+changes)?|unknown)", told["commit"]) and told["compiler"].startswith("gcc ")
    for library in ("libmicrohttpd", "cJSON", "OpenBLAS", "utf8proc", "PCRE2", "libcurl", "GnuTLS", "libedit"):
        assert re.search(library + r" \d+\.\d+", told["libraries"]), told["libraries"]
    assert "scalar" in told["instruction sets here"].split()


# ---- serve --check ----


def test_what_would_be_served_is_checked(tallow, tmp_path, orchestrator):
    result = tallow("serve", "--check", "--model", shipped_model(), "--port", "0", "--callback-url", orchestrator.url)
    assert result.returncode == 0, result.stderr
    assert re.fullmatch(r"ok: tallow-tiny would be served at http://127\.0\.0\.1:\d+\n", result.stdout.decode().splitlines(True)[-1])
    assert orchestrator.posts.empty()
    folder = tmp_path / "broken"
    shutil.copytree(shipped_model(), folder)
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-1000])
    assert tallow("serve", "--check", "--model", folder, "--port", "0").returncode == 3
    keys = tmp_path / "keys"
    keys.write_text("a b c\n")
    keys.chmod(0o600)
    assert tallow("serve", "--check", "--model", shipped_model(), "--port", "0", "--api-key-file", keys).returncode == 2
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = tallow("serve", "--check", "--model", shipped_model(), "--port", str(taken.getsockname()[1]))
        assert result.returncode == 5


# ---- doctor ----


def test_doctor_tells_what_the_machine_gives(tallow):
    result = tallow("doctor", "--json")
    assert result.returncode == 0 and result.stderr == b"", result.stderr
    told = json.loads(result.stdout)
    assert told["isa"] in told["instruction_sets"] and told["instruction_sets"][0] == "scalar"
    assert 1 <= told["threads"] <= told["cpus"] and told["threads_reason"]
    assert told["read_gb_s"] > 0 and told["gop_s"]["f32"] > 0 and told["region_us"] >= 0
    assert told["memory_limit_bytes"] > 0 and told["memory_limit_source"] and all(isinstance(a, str) for a in told["advice"])
    assert ("plain C" in " ".join(told["advice"])) == (told["isa"] == "scalar")
    text = tallow("doctor").stdout.decode()
    assert "%s (used)" % told["isa"] in text and "GB/s read" in text
    assert "What would give more:" in text or "Nothing to change was found." in text
