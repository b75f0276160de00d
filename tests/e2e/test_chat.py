"""tallow chat, run and list, as a person at a terminal (a pty) and as a script (pipes) has them."""

import json
import os
import pathlib
import pty
import pwd
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import time
import fcntl

import pytest

import scripted_model
from conftest import clean_environment, program, shipped_model, ROOT
from http_client import WAIT_S

PLAIN = ("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}")
SCRIPTS = {
    "escape?": "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m over\rwritten \u202eback",
    "codes?": "\u009b31mred\x7f \u202eback",
    "think?": "<think>\nhard thoughts here\n</think>\n\nforty-two",
    "call?": '<tool_call>\n{"name": "weather", "arguments": {"city": "Ulm"}}\n</tool_call>',
    "letters?": "Grüße, 日本 und 😀 dazu",
}


@pytest.fixture(scope="module")
def scripted(tmp_path_factory):
    """A model that says the scripts, with a template that ends in what starts them."""
    template = PLAIN.replace("{% if add_generation_prompt %}<assistant>{% endif %}",
                             "{% if add_generation_prompt %}\n{{ messages[-1].content }}{% endif %}")
    return scripted_model.write(tmp_path_factory.mktemp("scripted") / "scripted", shipped_model(), SCRIPTS,
                                template + "{# <tool_call> #}")


# ---- pipes ----


def talk(tallow, model, text, *flags, env=None):
    result = tallow("chat", "--model", model, *flags, input=text.encode(), env=env)
    assert result.returncode == 0, result.stderr
    return result


def test_a_pipe_gets_answers_and_nothing_else(tallow, text_model):
    result = talk(tallow, text_model, "The capital of France is\n\nAnd of Spain?\n", "--temperature", "0",
                  env={"TERM": "xterm-256color"})
    assert result.stdout == b"The capital of France is Paris.\nThe capital of Spain is Madrid.\n"
    assert result.stderr == b""


def test_answers_are_those_of_the_server(tallow, text_model, worker):
    """The same conversation, the same template, the same tokens."""
    from http_client import post
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Once upon a time"}]
    told = post(worker(model=text_model).port, "/v1/chat/completions",
                {"messages": messages, "temperature": 0.7, "seed": 7, "max_tokens": 24}).json()
    found = talk(tallow, text_model, "Once upon a time\n", "--system", "Be brief.", "--seed", "7", "--max-tokens", "24", "--json")
    assert json.loads(found.stdout)["content"] == told["choices"][0]["message"]["content"]


def test_json_is_an_object_for_each_answer(tallow, text_model):
    result = talk(tallow, text_model, "The capital of France is\nAnd of Spain?\n", "--temperature", "0", "--json", "--seed", "5")
    first, second = map(json.loads, result.stdout.decode().splitlines())
    assert first["content"] == "The capital of France is Paris." and first["stop_reason"] == "eos"
    assert first["cached_tokens"] == 0 and first["seed"] == 5 and first["context_tokens"] == 1024
    assert second["prompt_tokens"] > first["prompt_tokens"] + first["completion_tokens"]
    assert 0 < second["cached_tokens"] < second["prompt_tokens"]
    assert second["time_to_first_token_ms"] > 0 and second["tokens_per_second"] > 0


def test_each_turn_computes_what_is_new(tallow, text_model):
    """Of a page (32 tokens) that is not full, the tokens are computed again."""
    turns = [json.loads(line) for line in talk(tallow, text_model, "".join("What about number %d?\n" % i for i in range(12)),
                                               "--json", "--temperature", "0", "--max-tokens", "16").stdout.splitlines()]
    assert len(turns) == 12
    for before, turn in zip(turns, turns[1:]):
        known = before["prompt_tokens"] + before["completion_tokens"]
        assert turn["cached_tokens"] > known - 3 * 32, (known, turn)


def test_several_lines_are_one_message(tallow, text_model, tmp_path):
    saved = tmp_path / "talk.json"
    talk(tallow, text_model, 'one \\\ntwo\n"""three\n  four\n\n"""\n"""five"""\n/system """\nsix\nseven"""\n/save %s\n' % saved,
         "--max-tokens", "2")
    messages = json.loads(saved.read_text())["messages"]
    assert [m["content"] for m in messages if m["role"] == "user"] == ["one \ntwo", "three\n  four\n\n", "five"]
    assert messages[0] == {"role": "system", "content": "six\nseven"}
    assert saved.stat().st_mode & 0o777 == 0o600


def test_a_conversation_is_saved_rendered_and_loaded(tallow, text_model, tmp_path):
    saved, again = tmp_path / "talk.json", tmp_path / "again.json"
    talk(tallow, text_model, "The capital of France is\n/save %s\n" % saved, "--temperature", "0")
    rendered = tallow("render", saved, "--model", text_model).stdout.decode()
    assert "<|im_start|>user\nThe capital of France is<|im_end|>" in rendered
    result = talk(tallow, text_model, "/load %s\nAnd of Spain?\n/undo\n/save %s\n" % (saved, again), "--temperature", "0")
    assert result.stdout == b"The capital of Spain is Madrid.\n"
    assert json.loads(again.read_text()) == json.loads(saved.read_text())
    refused = tallow("chat", "--model", text_model, input=b"x\n/save %s\n" % bytes(saved))
    assert refused.returncode == 2 and b"is there already" in refused.stderr


def test_a_file_that_is_saved_again_keeps_its_place_and_mode(tallow, text_model, tmp_path):
    saved, link = tmp_path / "real.json", tmp_path / "link.json"
    saved.write_text('{"messages": [{"role": "user", "content": "Hello"}]}')
    saved.chmod(0o640)
    link.symlink_to(saved)
    talk(tallow, text_model, "/load %s\n/system Be brief.\n/save\n" % link)
    assert link.is_symlink() and saved.stat().st_mode & 0o777 == 0o640
    assert [m["content"] for m in json.loads(saved.read_text())["messages"]] == ["Be brief.", "Hello"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["link.json", "real.json"]


def test_what_is_asked_again_is_the_message_as_it_was(tallow, text_model, tmp_path):
    """One in parts, and with other members, from a file."""
    asked = {"role": "user", "content": [{"type": "text", "text": "The capital of France is"}], "name": "Ann"}
    saved = tmp_path / "talk.json"
    saved.write_text(json.dumps({"messages": [asked, {"role": "assistant", "content": "Rome."}]}))
    said = talk(tallow, text_model, "/load %s\n/retry\n/save\n" % saved, "--max-tokens", "4").stdout.decode()
    assert json.loads(saved.read_text())["messages"] == [asked, {"role": "assistant", "content": said.rstrip("\n")}]


def test_what_is_taken_back_is_cut_between_characters(tallow, text_model):
    for n in range(4):
        text = "x" * n + "日本語😀" * 10
        said = talk(tallow, text_model, text + "\n/undo\n", "--max-tokens", "1").stderr.decode()
        shown = re.fullmatch(r"Taken back, with its answer: (.*)\.\.\.\n", said)[1]
        assert text.startswith(shown) and 56 < len(shown.encode()) <= 60


def test_settings_and_retry(tallow, text_model):
    lines = "/set temperature 0\n/set max_tokens 3\nThe capital of France is\n/set max-tokens default\n/retry\n/set\n/stats\n"
    result = talk(tallow, text_model, lines)
    short, whole = result.stdout.decode().splitlines()
    assert whole == "The capital of France is Paris." and whole.startswith(short) and len(short) < len(whole)
    told = result.stderr.decode()
    assert re.search(r"^ *temperature +0$", told, re.M) and re.search(r"^ *seed +drawn each time$", told, re.M)
    assert re.search(r"prompt: \d+ tokens, \d+ of them cached", told) and re.search(r"context: \d+ of 1024 tokens used", told)


def test_the_publishers_sampling_counts_unless_it_is_set(tallow, text_model, tmp_path):
    folder = tmp_path / "own"
    shutil.copytree(text_model, folder)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 2, "top_k": 7, "repetition_penalty": 1.3}))
    told = talk(tallow, folder, "/set\n/set top-k 5\n/set top-k default\n", "--repetition-penalty", "1.1").stderr.decode()
    assert re.search(r"^ *top-k +7$", told, re.M) and re.search(r"^ *repetition-penalty +1\.1$", told, re.M)
    assert told.splitlines()[-2:] == ["top-k is 5", "top-k is 7"]


@pytest.mark.parametrize("line, said", [
    ("/hlep", "there is no command /hlep; the nearest is /help"), ("/set temprature 1", "the nearest is temperature"),
    ("/set temperature 9", "temperature must be a number from 0 to 2"), ("/load /nowhere", "No such file"),
    ("/save", "the name of a file is missing"), ("/undo", "nothing to take back"), ("/retry", "nothing to ask again")])
def test_a_mistake_in_a_pipe_ends_it_with_its_reason(tallow, text_model, line, said):
    result = tallow("chat", "--model", text_model, input=(line + "\nnever asked\n").encode())
    assert result.returncode == 2 and said in result.stderr.decode() and result.stdout == b""


def test_where_answers_cannot_go(text_model):
    """A reader that left is no error; a full disk is one."""
    command = program() + ["chat", "--model", str(text_model), "--max-tokens", "2"]
    with open("/dev/full", "wb") as full:
        result = subprocess.run(command, input=b"hello\n", stdout=full, stderr=subprocess.PIPE, env=clean_environment(), check=False,
                                timeout=WAIT_S)
    assert result.returncode == 70 and b"cannot write to standard output: No space left" in result.stderr
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(command, input=b"hello\nagain\n", stdout=writer, stderr=subprocess.PIPE, env=clean_environment(),
                            check=False, timeout=WAIT_S)
    os.close(writer)
    assert result.returncode == 0 and result.stderr == b""


@pytest.mark.parametrize("flags, last", [([], b"The capital of"), (["--json"], b"}")])
def test_notes_come_after_the_answers_line(text_model, flags, last):
    """Where both streams are one pipe, too."""
    command = program() + ["chat", "--model", str(text_model), "--temperature", "0", "--max-tokens", "4", "--stats"] + flags
    lines = subprocess.run(command, input=b"The capital of France is\n" * 2, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           env=clean_environment(), check=True, timeout=WAIT_S).stdout.splitlines()
    assert len(lines) == 8 and lines[0].endswith(last), lines
    assert [line.split(b":")[0] for line in lines[1:4]] == [b"prompt", b"answer", b"context"], lines


def test_line_ends_of_other_systems(tallow, text_model):
    assert talk(tallow, text_model, "The capital of France is\r\n\r\nAnd of Spain?", "--temperature", "0").stdout == (
        b"The capital of France is Paris.\nThe capital of Spain is Madrid.\n")


def test_what_is_no_utf8_is_refused(tallow, text_model):
    result = tallow("chat", "--model", text_model, input=b"fine\ngr\xfcn\n")
    assert result.returncode == 2 and b"line 2 of standard input is not UTF-8" in result.stderr


def test_a_full_context_is_said(tallow, text_model, slow_model, tmp_path):
    long = "word " * 60 + "\n"
    result = tallow("chat", "--model", text_model, "--context", "128", "--temperature", "0", input=(long * 3).encode())
    assert result.returncode == 2 and b"Nothing was dropped" in result.stderr and b"/clear" in result.stderr
    assert b"--context makes room" in result.stderr
    error = tallow("chat", "--model", text_model, "--context", "64", "--json", input=long.encode())
    assert json.loads(error.stdout)["error"] == "CONTEXT_LENGTH_EXCEEDED"
    (tmp_path / "t.jinja").write_text(PLAIN)
    flags = ("--context", "64", "--temperature", "0", "--chat-template", tmp_path / "t.jinja")
    cut = talk(tallow, slow_model, "Tell me all\n", *flags, "--json")  # random weights have no end
    assert json.loads(cut.stdout)["stop_reason"] == "context" and b"[the context is full: 64 of 64 tokens" in cut.stderr


def test_without_a_template_chat_is_refused(tallow, text_model, tmp_path):
    folder = tmp_path / "bare"
    shutil.copytree(text_model, folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("chat_template")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    result = tallow("chat", "--model", folder, input=b"hello\n")
    assert result.returncode == 1 and b"--chat-template FILE gives one, tallow generate" in result.stderr
    (tmp_path / "t.jinja").write_text(PLAIN)
    assert talk(tallow, folder, "hello\n", "--chat-template", tmp_path / "t.jinja", "--max-tokens", "4").stdout


def test_reasoning_and_calls_in_a_pipe(tallow, scripted, tmp_path):
    assert talk(tallow, scripted, "think?\n").stdout == b"forty-two\n"
    told = json.loads(talk(tallow, scripted, "think?\n", "--json").stdout)
    assert told["content"] == "forty-two" and told["reasoning"] == "hard thoughts here"
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    (tmp_path / "tools.json").write_text(json.dumps({"messages": [], "tools": tools}))
    lines = "/load %s\ncall?\n/save %s\n" % (tmp_path / "tools.json", tmp_path / "tools.json")
    assert talk(tallow, scripted, lines).stdout == b'[calls weather {"city": "Ulm"}]\n'
    saved = json.loads((tmp_path / "tools.json").read_text())
    assert saved["tools"] == tools
    assert saved["messages"][1]["tool_calls"][0]["function"] == {"name": "weather", "arguments": {"city": "Ulm"}}
    assert json.loads(talk(tallow, scripted, "/load %s\ncall?\n" % (tmp_path / "tools.json"), "--json").stdout)["tool_calls"]


def test_bytes_go_into_a_pipe_as_they_are(tallow, scripted):
    assert talk(tallow, scripted, "escape?\nletters?\n").stdout.decode() == SCRIPTS["escape?"] + "\n" + SCRIPTS["letters?"] + "\n"


# ---- a terminal ----


class Terminal:
    """A command on a pty; what it shows is read as it comes."""

    def __init__(self, arguments, columns=80, env=None, before=()):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        environment = dict(clean_environment({"TERM": "xterm", "LC_ALL": "C.UTF-8"}), **(env or {}))
        environment = {name: value for name, value in environment.items() if value is not None}
        self.process = subprocess.Popen(list(before) + program() + [str(a) for a in arguments], stdin=slave, stdout=slave,
                                        stderr=slave, env=environment, cwd=ROOT, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)
        self.shown = b""

    def read(self, timeout):
        if not select.select([self.master], [], [], timeout)[0]:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError:  # the other end is closed
            return None
        self.shown += data
        return bool(data) or None

    def wait_for(self, text, after=0):
        """Until `text` is shown behind the offset; where it ends."""
        return self.wait_match(re.escape(text.encode()), after).end()

    def wait_match(self, pattern, after):
        end = time.monotonic() + WAIT_S
        while not (match := re.compile(pattern).search(self.shown, after)):
            assert time.monotonic() < end and self.read(0.5) is not None, "%r is not in %r" % (pattern, self.shown[after:])
        return match

    def type(self, text):
        """What follows is looked for behind what there was."""
        at = len(self.shown)
        os.write(self.master, text.encode() if isinstance(text, str) else text)
        return at

    def ask(self, text):
        """Types a line, waits for the next prompt, and gives what was shown between."""
        at = self.wait_for("\n", self.type(text + "\r"))
        prompt = self.wait_match(rb"\n(\x1b\[\?2004h)?> ", at)  # the terminal is asked to mark what is pasted
        return self.shown[at:prompt.start() + 1].decode()

    def wait_end(self):
        end = time.monotonic() + WAIT_S
        while self.read(0.2) is not None:
            assert time.monotonic() < end, self.shown
        return self.process.wait(WAIT_S)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(WAIT_S)
        os.close(self.master)


@pytest.fixture
def terminal():
    started = []

    def start(*arguments, **options):
        started.append(Terminal(arguments, **options))
        return started[-1]

    yield start
    for one in started:
        one.close()


def opened(terminal, *arguments, **options):
    one = terminal(*arguments, **options)
    one.wait_for("> ", one.wait_for("Ctrl-D ends."))
    return one


SURFACES = [({}, 80), ({}, 200), ({"TERM": "dumb"}, 80), ({"NO_COLOR": "1"}, 80), ({"LC_ALL": "C"}, 80), ({"TERM": None}, 80),
            ({"TERM": "no-such-terminal"}, 80)]


@pytest.mark.parametrize("env, columns", SURFACES)
def test_a_conversation_on_each_terminal(terminal, text_model, env, columns):
    one = opened(terminal, "chat", "--model", text_model, "--temperature", "0", env=env, columns=columns)
    assert "The capital of France is Paris." in one.ask("The capital of France is")
    assert "The capital of Spain is Madrid." in one.ask("And of Spain?")
    assert re.search(r"context: \d+ of 1024 tokens used", one.ask("/stats"))
    help_lines = one.ask("/help").splitlines()
    assert all(len(line) <= 80 for line in help_lines) and any("/system TEXT" in line for line in help_lines)
    one.type("\x04")
    assert one.wait_end() == 0
    if env.get("TERM", "xterm") in ("dumb", None) or not env.get("TERM", "xterm"):
        assert b"\x1b" not in one.shown


def test_ctrl_c_stops_the_answer_and_not_the_program(terminal, slow_model, tmp_path):
    (tmp_path / "t.jinja").write_text(PLAIN)
    one = opened(terminal, "chat", "--model", slow_model, "--chat-template", tmp_path / "t.jinja")
    at = one.type("tell\r")
    begun = one.wait_for("\n", at)
    while len(one.shown) < begun + 20:  # an answer is on its way
        assert one.read(WAIT_S)
    one.type("\x03")
    stopped = one.wait_for("[stopped]", begun)
    one.wait_for("> ", stopped)
    assert re.search(r"answer: [1-9]\d* tokens", one.ask("/stats"))
    one.wait_for("half a line", one.type("half a line"))  # Ctrl-C makes the kernel forget what nobody has read
    one.wait_for("> ", one.wait_for("^C", one.type("\x03")))
    at = one.type("\x03")
    at = one.wait_for("once more", at)
    one.wait_for("> ", at)
    one.type("\x03")
    assert one.wait_end() == 0


def test_ctrl_c_while_loading_ends_it(terminal, big_model):
    one = terminal("chat", "--model", big_model, "--chat-template", "/dev/null")
    deadline = time.monotonic() + WAIT_S
    status = pathlib.Path("/proc/%d/status" % one.process.pid)
    while not re.search(r"^SigBlk:\t[0-9a-f]*[2367abef]$", status.read_text(), re.M):  # SIGINT (bit 1) is held from then on
        assert time.monotonic() < deadline
    one.type("\x03")
    assert one.wait_end() in (-signal.SIGINT, 1)  # 1: it had loaded by then, and the template is empty


def test_a_terminal_is_left_as_it_was(terminal, text_model):
    """By a signal, too: a shell's stty says so afterwards."""
    shell = ["sh", "-c", '"$@"; echo "ended by $?"; stty -a', "sh"]
    one = opened(terminal, "chat", "--model", text_model, before=shell)
    end = time.monotonic() + WAIT_S
    while termios.tcgetattr(one.master)[3] & termios.ICANON:  # until it edits
        assert time.monotonic() < end
    child = int(pathlib.Path("/proc/%d/task/%d/children" % (one.process.pid, one.process.pid)).read_text())
    os.kill(child, signal.SIGTERM)
    assert one.wait_end() == 0
    assert b"ended by 143" in one.shown and re.search(rb" icanon .* echo ", one.shown.replace(b"\r\n", b" "))


def test_ctrl_z_pauses_and_goes_on(terminal, text_model):
    one = opened(terminal, "chat", "--model", text_model, "--temperature", "0")
    one.type("The capital ")
    one.wait_for("capital ")
    os.kill(one.process.pid, signal.SIGTSTP)
    end = time.monotonic() + WAIT_S
    stat = pathlib.Path("/proc/%d/stat" % one.process.pid)
    # A session of its own has nobody who would wake it: the kernel then leaves Ctrl-Z without effect.
    while time.monotonic() < end and stat.read_text().rsplit(")", 1)[1].split()[0] == "T":
        os.kill(one.process.pid, signal.SIGCONT)
    assert "The capital of France is Paris." in one.ask("of France is")


def test_history_and_editing(terminal, text_model):
    one = opened(terminal, "chat", "--model", text_model, "--temperature", "0")
    one.ask("/set max-tokens 20")
    assert "Paris" in one.ask("The capital of Frence is\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x7fa")
    assert "Paris" in one.ask("\x1b[A")  # the same again
    assert "max-tokens is 20" in one.ask("\x10\x10\x10")


def test_a_paste_is_one_message(terminal, text_model, tmp_path):
    """Cut anywhere on its way, with line ends of each kind, and without what would be a command of the editor."""
    one = opened(terminal, "chat", "--model", text_model, "--max-tokens", "2")
    assert b"\x1b[?2004h" in one.shown
    pasted = "\x1b[200~one\rtwo \x1b[Dü\n\tthree\x01\n\x1b[201~".encode()
    for at in range(0, len(pasted), 5):
        one.type(pasted[at:at + 5])
    one.ask(" and more")
    one.ask("/save %s" % (tmp_path / "talk.json"))
    assert json.loads((tmp_path / "talk.json").read_text())["messages"][0]["content"] == "one\ntwo [Dü\n\tthree and more"
    one.ask("\x1b[A\x1b[A again")  # of several lines, and history has them
    one.ask("/save")
    assert json.loads((tmp_path / "talk.json").read_text())["messages"][2]["content"] == "one\ntwo [Dü\n\tthree and more again"


def test_hostile_text_is_shown_and_not_sent(terminal, scripted):
    one = opened(terminal, "chat", "--model", scripted)
    said = one.ask("escape?")
    assert "^[]0;owned^G^[[2J^[[31mred^[[0m over^Mwritten <U+202E>back" in said
    assert "\x1b]0" not in said and "\x1b[2J" not in said and "\x1b[31m" not in said and "\u202e" not in said
    assert "Grüße, 日本 und 😀 dazu" in one.ask("letters?")


def test_no_command_sends_a_terminal_what_others_wrote(terminal, scripted, tallow, tmp_path):
    """Texts are shown as a chat shows them, JSON says the same in escapes."""
    one = terminal("generate", "--model", scripted, "-p", "escape?", "--temperature", "0")
    assert one.wait_end() == 0 and b"^[]0;owned^G^[[2J^[[31mred" in one.shown and b"\x1b" not in one.shown
    (tmp_path / "talk.json").write_text(json.dumps({"messages": [{"role": "user", "content": SCRIPTS["codes?"]}]}))
    one = terminal("render", tmp_path / "talk.json", "--model", scripted)
    assert one.wait_end() == 0 and "<U+009B>31mred^? <U+202E>back".encode() in one.shown and b"\xc2\x9b" not in one.shown
    ids = tallow("tokenize", "--model", scripted, "--no-special", input=SCRIPTS["codes?"].encode()).stdout
    for flags, shown in [((), b"<U+009B>31mred^? <U+202E>back"), (("--json",), b'"\\u009b31mred\\u007f \\u202eback"')]:
        one = terminal("detokenize", "--model", scripted, *flags)
        one.type(ids + b"\x04")
        assert one.wait_end() == 0 and shown in one.shown, one.shown
        assert b"\xc2\x9b" not in one.shown and b"\x7f" not in one.shown
    one = opened(terminal, "chat", "--model", scripted, "--json")
    assert '"content":"\\u009b31mred\\u007f \\u202eback"' in one.ask("codes?")


def test_names_from_files_do_not_steer_a_terminal(terminal, text_model, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(text_model, folder)
    config = json.loads((folder / "config.json").read_text())
    config.pop("dtype", None)
    (folder / "config.json").write_text(json.dumps(dict(config, torch_dtype="\x1b[2J\u009b2J")))
    one = terminal("inspect", folder)
    one.wait_end()
    assert b"^[[2J<U+009B>2J" in one.shown and b"\x1b" not in one.shown
    (folder / "config.json").write_text(json.dumps(dict(config, hidden_act="\u009b2J")))
    one = terminal("inspect", folder)
    assert one.wait_end() == 3 and b"??2J" in one.shown and b"\xc2\x9b" not in one.shown


@pytest.mark.parametrize("env, expected", [
    ({}, "\x1b[2m"), ({"NO_COLOR": "1"}, "[reasoning]\r\n"), ({"TERM": "dumb"}, "[reasoning]\r\n")])
def test_reasoning_is_dim_or_marked(terminal, scripted, env, expected):
    one = opened(terminal, "chat", "--model", scripted, env=env)
    said = one.ask("think?")
    assert expected + "hard thoughts here" in said and "forty-two" in said
    assert ("\x1b[0m" in said) == (not env) and ("[end of reasoning]" in said) == bool(env)


def test_a_terminal_of_another_character_set(terminal, scripted, tmp_path):
    if not shutil.which("localedef") or subprocess.run(
            ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", tmp_path / "de_DE.ISO-8859-1"], stderr=subprocess.DEVNULL,
            check=False).returncode > 1:
        pytest.skip("no locale of another character set can be made here (Debian: package locales)")
    one = opened(terminal, "chat", "--model", scripted, env={"LOCPATH": str(tmp_path), "LC_ALL": "de_DE.ISO-8859-1"})
    assert b"ISO-8859-1" in one.shown
    at = one.type("letters?\r")
    at = one.wait_match("Grüße, \\?\\? und \\? dazu".encode("latin-1"), at).end()
    one.wait_match(b"> ", at)
    at = one.type("/system Grüße\r/undo\rGrüße\r/undo\r".encode("latin-1"))  # notes, too: 0x9b of a letter would be a control
    one.wait_match("Taken back, with its answer: Grüße".encode("latin-1"), at)


def test_standard_output_need_not_be_the_terminal(terminal, text_model, tmp_path):
    """Prompts and notes go to standard error then."""
    script = tmp_path / "run.sh"
    script.write_text("exec %s chat --model %s --temperature 0 >%s/out\n" % (" ".join(program()), text_model, tmp_path))
    one = Terminal([], env={})
    one.close()
    master, slave = pty.openpty()
    process = subprocess.Popen(["sh", script], stdin=slave, stderr=slave, stdout=slave, env=clean_environment({"TERM": "xterm"}),
                               start_new_session=True, cwd=ROOT)
    os.close(slave)
    os.write(master, b"The capital of France is\n\x04")
    shown = b""
    while True:
        try:
            shown += os.read(master, 4096)
        except OSError:
            break
    assert process.wait(WAIT_S) == 0
    os.close(master)
    assert (tmp_path / "out").read_bytes() == b"The capital of France is Paris.\n"
    assert b"> " in shown and b"\x1b" not in shown


# ---- list and run ----


@pytest.fixture
def home(tmp_path, text_model):
    """A home with a model in each kind of store, and a broken one."""
    digest = "0123456789abcdef" * 4
    snapshot = tmp_path / ".cache/huggingface/hub/models--org--tiny/snapshots/0123"
    shutil.copytree(text_model, snapshot)
    refs = snapshot.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text("0123")
    manifest = tmp_path / ".ollama/models/manifests/registry.ollama.ai/library/broken/latest"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:" + digest}]}))
    blob = tmp_path / ".ollama/models/blobs" / ("sha256-" + digest)
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"GGUF" + b"\xff" * 60)
    evil = tmp_path / ".lmstudio/models/p/\x1b[2Jr/a.gguf"
    evil.parent.mkdir(parents=True)
    evil.write_bytes(b"")
    return tmp_path


def of_home(home):
    return {name: "" for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "OLLAMA_MODELS")} | {
        "HOME": str(home)}


def test_models_are_listed(tallow, home):
    result = tallow("list", "--json", env=of_home(home))
    assert result.returncode == 0, result.stderr
    models = {model["name"]: model for model in json.loads(result.stdout)["models"]}
    tiny = models["org/tiny"]
    assert tiny["runs"] and tiny["store"] == "Hugging Face" and tiny["type"] == "BF16" and tiny["context"] == 1024
    assert tiny["weights"] == "auto" and 6e6 < tiny["bytes"] < 8e6 and 1e7 < tiny["memory_bytes"] < 1e8
    assert not models["broken:latest"]["runs"] and models["broken:latest"]["reason"]
    assert not models["p/\x1b[2Jr/a.gguf"]["runs"]
    text = tallow("list", env=of_home(home)).stdout.decode()
    assert "\x1b" not in text and re.search(r"^org/tiny +6\.5 MiB +BF16 +\d+ MiB  yes, 1024 tokens$", text, re.M)
    small = json.loads(tallow("list", "--json", "--memory-limit", "1MiB", env=of_home(home)).stdout)["models"]
    assert not any(model["runs"] for model in small) and any("the limit is 1.0 MiB" in model["reason"] for model in small)


@pytest.mark.parametrize("columns", [80, 200])
def test_the_table_fits_the_terminal(terminal, home, columns):
    one = terminal("list", env=of_home(home), columns=columns)
    assert one.wait_end() == 0
    lines = one.shown.decode().splitlines()
    assert all(len(line) <= columns for line in lines), lines
    assert [name for name in ("broken:latest", "org/tiny", "p/^[[2Jr/a.gguf") if any(line.startswith(name) for line in lines)] == [
        "broken:latest", "org/tiny", "p/^[[2Jr/a.gguf"]
    assert "a.gguf: " not in one.shown.decode()  # the reason does not name the file again
    assert b"\x1b" not in one.shown


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("command", [["run", "--help"], ["--help"], ["inspect", str(shipped_model()), "--memory-limit", "1GiB"]])
def test_what_is_told_is_broken_between_words(tallow, terminal, command, columns):
    one = terminal(*command, columns=columns)
    assert one.wait_end() == 0
    lines = one.shown.decode().splitlines()
    assert all(len(line) <= columns for line in lines if not line.startswith(("      --isa ", "usage: ", str(shipped_model()))))
    assert " ".join(one.shown.decode().split()) == " ".join(tallow(*command).stdout.decode().split())


def test_what_run_chose_is_broken_between_words(terminal):
    one = opened(terminal, "run", "models/tallow-tiny", columns=80)
    told = one.shown.decode().split("\r\n/help")[0].splitlines()
    assert len(told) > 3 and all(len(line.split("\r")[-1]) <= 80 for line in told)
    assert "of memory in all, of " in " ".join(told)


def test_nothing_found_says_where_was_looked(tallow, tmp_path):
    text = tallow("list", env=of_home(tmp_path)).stdout.decode()
    assert "No models were found" in text and "%s/.cache/huggingface/hub (not there)" % tmp_path in text
    # Without HOME it is the user's home, as the system knows it.
    text = tallow("list", env=of_home("")).stdout.decode()
    assert "%s/.cache/huggingface/hub" % pwd.getpwuid(os.getuid()).pw_dir in text


def test_run_finds_chooses_and_talks(tallow, home):
    for name in ("org/tiny", "tiny", "ORG/Tiny", home / ".cache/huggingface/hub/models--org--tiny/snapshots/0123"):
        result = tallow("run", name, "--temperature", "0", input=b"The capital of France is\n", env=of_home(home))
        assert result.stdout == b"The capital of France is Paris.\n", result.stderr
        told = result.stderr.decode().splitlines()
        assert len(told) == 3 and "LlamaForCausalLM" in told[0] and told[1] == "weights as they lie in the file, BF16"
        assert told[2].startswith("context 1024 tokens (the model's own); ")
    quiet = tallow("run", "org/tiny", "-q", "--weights", "q8", "--context", "256", "--json", input=b"hello\n", env=of_home(home))
    assert quiet.stderr == b"" and json.loads(quiet.stdout)["context_tokens"] == 256


def test_run_lists_what_a_name_may_mean(tallow, home, text_model, tmp_path):
    ollama = home / ".ollama/models"
    (ollama / "manifests/registry.ollama.ai/library/twin").mkdir(parents=True)
    (ollama / "manifests/registry.ollama.ai/library/twin/latest").write_text("{}")
    shutil.copytree(ollama, tmp_path / "other")
    result = tallow("run", "twin", env=dict(of_home(home), OLLAMA_MODELS=str(tmp_path / "other")))
    assert result.returncode == 2 and result.stderr.count(b"  twin:latest  (Ollama) its manifest has no layer") == 2, result.stderr
    for store in (".lmstudio/models", ".cache/lm-studio/models"):
        shutil.copytree(text_model, home / store / "by/pair")
    result = tallow("run", "pair", env=of_home(home))
    assert result.returncode == 2 and result.stderr.count(b"  by/pair  (LM Studio) %s/" % bytes(home)) == 2, result.stderr
    assert tallow("run", home / ".lmstudio/models/by/pair", input=b"", env=of_home(home)).returncode == 0


def test_a_file_is_no_folder_of_models(tallow, home, text_model):
    told = tallow("list", "--models-dir", text_model / "config.json", env=of_home(home))
    assert told.returncode == 2 and told.stderr.endswith(b"config.json: Not a directory\n")


def test_run_never_fetches(tallow, home):
    result = tallow("run", "org/tinny", env=of_home(home))
    told = result.stderr.decode()
    assert result.returncode == 3 and "hf download org/tinny" in told and "The nearest: org/tiny" in told
    assert "%s/.cache/huggingface/hub\n" % home in told and told.splitlines()[-1].startswith("tallow: no model org/tinny")
    broken = tallow("run", "broken", env=of_home(home))
    assert broken.returncode == 3 and b"sha256-0123456789" in broken.stderr
    assert tallow("run", env=of_home(home)).returncode == 2
    assert tallow("list", "--models-dir", home / "none", env=of_home(home)).returncode == 2


def test_weights_are_chosen_by_what_fits(tallow, tmp_path, text_model):
    """bf16 weights of 1.2 GB that take no disk space."""
    from conftest import llama_config, write_model
    vocab_size = json.loads((text_model / "config.json").read_text())["vocab_size"]
    config = llama_config(hidden_size=2048, intermediate_size=8192, num_hidden_layers=6, num_attention_heads=32,
                          num_key_value_heads=4, max_position_embeddings=65536, vocab_size=vocab_size)
    write_model(tmp_path / "models" / "big", config, text_model, None)

    def chosen(limit):
        result = tallow("list", "--json", "--models-dir", tmp_path / "models", "--memory-limit", limit, env=of_home(tmp_path))
        return json.loads(result.stdout)["models"][0]

    assert [chosen("16GiB")[key] for key in ("weights", "context")] == ["q8", 32768]
    assert chosen("1GiB")["weights"] == "q8" and chosen("1GiB")["context"] < 32768
    tight = chosen("420MiB")
    assert tight["weights"] == "q4" and tight["context"] == 2048
    assert not chosen("100MiB")["runs"]
