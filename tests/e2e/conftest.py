"""Fixtures of the end-to-end tests: they start the real binary, talk HTTP to it, and play its orchestrator.

Environment: TALLOW_BINARY (default build/tallow), TALLOW_RUNNER (what runs it, such as an emulator with its flags),
TALLOW_TEST_ISA (--isa of every command that is not given one), TALLOW_TEST_MODEL_PATH (one more model for
test_generate.py), TALLOW_FIXTURES (published model folders, when they are there). Python's standard library and pytest only.
"""

import array
import http.server
import json
import os
import pathlib
import queue
import random
import select
import subprocess
import threading
import time

import pytest

from http_client import WAIT_S, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]


def program():
    """The command line that starts the binary."""
    return os.environ.get("TALLOW_RUNNER", "").split() + [str((ROOT / os.environ.get("TALLOW_BINARY", "build/tallow")).resolve())]


def has_sanitizer():
    """Whether the binary was built with one."""
    binary = pathlib.Path(program()[-1])
    names = binary.read_bytes() if binary.is_file() else b""
    return b"__asan_init" in names or b"__tsan_init" in names


def not_sanitized(reason):
    """For a test that cannot hold in a build with a sanitizer."""
    return pytest.mark.skipif(has_sanitizer(), reason="a build with a sanitizer: " + reason)


def shipped_model():
    """The model in models/, which is also what `make run` serves."""
    for config in sorted(ROOT.glob("models/*/config.json")):
        return config.parent
    pytest.fail("models/ holds no model")


def clean_environment(extra=None):
    """Ours without the worker's own variables, so that a developer's settings do not change what is tested."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TALLOW_", "LLORCH_"))}
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID"):
        inherited.pop(name, None)
    if "TALLOW_TEST_ISA" in os.environ:
        inherited["TALLOW_ISA"] = os.environ["TALLOW_TEST_ISA"]
    inherited.update(extra or {})
    return inherited


# ---- models ----


def write_model(folder, config, tokenizer_from, block):
    """A model folder whose f32 weights are `block` (bytes of f32) over and over; None: zeros that take no disk space."""
    folder.mkdir(parents=True, exist_ok=True)
    hidden, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    kv = config["num_key_value_heads"] * hidden // config["num_attention_heads"]
    shapes = {"model.embed_tokens.weight": [config["vocab_size"], hidden], "model.norm.weight": [hidden]}
    for i in range(layers):
        for name, shape in {
            "input_layernorm": [hidden], "self_attn.q_proj": [hidden, hidden], "self_attn.k_proj": [kv, hidden],
            "self_attn.v_proj": [kv, hidden], "self_attn.o_proj": [hidden, hidden],
            "post_attention_layernorm": [hidden], "mlp.gate_proj": [inner, hidden], "mlp.up_proj": [inner, hidden],
            "mlp.down_proj": [hidden, inner],
        }.items():
            shapes["model.layers.%d.%s.weight" % (i, name)] = shape
            if config.get("attention_bias") and "attn" in name:
                shapes["model.layers.%d.%s.bias" % (i, name)] = shape[:1]
    header, offset = {}, 0
    for name, shape in shapes.items():
        size = 4
        for n in shape:
            size *= n
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        start = file.tell()
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            if "norm" in name:
                file.seek(start + begin)
                file.write(array.array("f", [1.0]).tobytes() * ((end - begin) // 4))
            elif block:
                file.seek(start + begin)
                file.write((block * ((end - begin) // len(block) + 1))[: end - begin])
        file.truncate(start + offset)
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((tokenizer_from / name).read_bytes())
    return folder


def llama_config(**fields):
    return dict({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": True, "torch_dtype": "float32", "bos_token_id": 1,
        "eos_token_id": 2,
    }, **fields)


@pytest.fixture(scope="session")
def text_model():
    """A model whose text means something."""
    return shipped_model()


@pytest.fixture(scope="session")
def slow_model(tmp_path_factory):
    """A model of 20 MB with random weights: a token takes milliseconds, so that tests can act in the middle of a stream."""
    tokenizer_from = shipped_model()
    vocab_size = json.loads((tokenizer_from / "config.json").read_text())["vocab_size"]
    config = llama_config(hidden_size=256, intermediate_size=768, num_hidden_layers=6, num_attention_heads=4,
                          num_key_value_heads=2, max_position_embeddings=8192, vocab_size=vocab_size)
    numbers = random.Random(1)
    block = array.array("f", [numbers.gauss(0, 0.06) for _ in range(50021)])  # a prime: no two rows are alike
    return write_model(tmp_path_factory.mktemp("models") / "slow", config, tokenizer_from, block.tobytes())


@pytest.fixture
def big_model(tmp_path):
    """A model of 0.5 GB of zeros that takes no disk space but a while to load: it is new, so no page of it is cached."""
    tokenizer_from = shipped_model()
    vocab_size = json.loads((tokenizer_from / "config.json").read_text())["vocab_size"]
    config = llama_config(hidden_size=2048, intermediate_size=8192, num_hidden_layers=2, num_attention_heads=32,
                          num_key_value_heads=4, max_position_embeddings=512, vocab_size=vocab_size)
    return write_model(tmp_path / "big", config, tokenizer_from, None)


# ---- workers ----


class Worker:
    """A running `tallow serve`. Standard output is read for the ready line, standard error goes to a file."""

    def __init__(self, arguments, model, log_path, env=None, wait=True, command=None, **popen):
        arguments = [str(a) for a in arguments]
        if "--model" not in arguments and "--model-ref" not in arguments:
            arguments = ["--model", str(model)] + arguments
        if "--port" not in arguments:
            arguments += ["--port", "0"]
        self.log_path = log_path
        self.ready = None
        self.port = None
        with open(log_path, "wb") as log:
            self.process = subprocess.Popen((command or program()) + arguments, stdout=subprocess.PIPE,
                                            stderr=popen.pop("stderr", log), stdin=subprocess.DEVNULL,
                                            env=clean_environment(env), cwd=ROOT, **popen)
        if wait:
            self.wait_ready()

    @property
    def pid(self):
        return self.process.pid

    @property
    def url(self):
        return "http://127.0.0.1:%d" % self.port

    def wait_ready(self):
        """Reads the ready line. Fails, with the log, when the process ends before or takes too long."""
        readable, _, _ = select.select([self.process.stdout], [], [], WAIT_S)
        line = self.process.stdout.readline() if readable else b""
        if not line:
            self.kill()
            pytest.fail("the worker did not get ready:\n" + self.log())
        self.ready = json.loads(line)
        self.port = self.ready["port"]
        return self.ready

    def listening_port(self):
        """The port as soon as the server listens, which is before the model is loaded."""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end and self.alive():
            for event in self.events("listening"):
                self.port = int(event["uri"].rsplit(":", 1)[1])
                return self.port
            time.sleep(0.002)
        pytest.fail("the worker does not listen:\n" + self.log())

    def alive(self):
        return self.process.poll() is None

    def log(self):
        return pathlib.Path(self.log_path).read_text(errors="replace")

    def events(self, name):
        """The log's JSON lines of that event."""
        found = []
        for line in self.log().splitlines():
            if line.startswith("{") and line.endswith("}"):
                event = json.loads(line)
                if event["event"] == name:
                    found.append(event)
        return found

    def told(self, name, n=1):
        """The same, when there are as many: a thread of the log's own writes them, when it can."""
        wait_until(lambda: len(self.events(name)) >= n)
        return self.events(name)

    def reason(self):
        """The last line of standard error: why it ended."""
        return (self.log().splitlines() or [""])[-1]

    def cpu_seconds(self):
        fields = pathlib.Path("/proc/%d/stat" % self.pid).read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self):
        if self.alive():
            self.process.kill()
        self.process.wait(WAIT_S)
        self.process.stdout.close()

    def check_sanitizers(self):
        """A build with a sanitizer tells what it finds on standard error, also where no test looks."""
        log = self.log()
        assert "Sanitizer: " not in log and "runtime error: " not in log, log

    def wait_end(self):
        """Its exit code, when it ends of itself."""
        return self.process.wait(WAIT_S)

    def ended(self, job_id):
        """What the log says about the end of a job; None before it has ended."""
        return next((event for event in self.events("request_end") if event["job_id"] == job_id), None)

    def stop(self):
        """Asks it to end; its exit code. Kills what does not listen."""
        if self.alive():
            self.process.terminate()
        try:
            return self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail("the worker does not end on SIGTERM:\n" + self.log())


@pytest.fixture
def worker(slow_model, tmp_path):
    """worker("--flag", ..., env={...}, wait=True, model=path): starts workers that end with the test."""
    started = []

    def start(*arguments, model=None, **options):
        log_path = tmp_path / ("worker-%d.log" % len(started))
        started.append(Worker(arguments, model or slow_model, log_path, **options))
        return started[-1]

    yield start
    for one in started:
        one.kill()
    for one in started:
        one.check_sanitizers()


@pytest.fixture(scope="session")
def shared_worker(slow_model, tmp_path_factory):
    """One worker for all tests that change nothing about it."""
    one = Worker([], slow_model, tmp_path_factory.mktemp("shared") / "log")
    yield one
    assert one.stop() == 0, one.log()
    one.check_sanitizers()


# ---- the command line ----


@pytest.fixture(scope="session")
def tallow():
    """tallow("inspect", path, input=b"", env={}): runs a command to its end."""

    def run(*arguments, input=b"", env=None):
        return subprocess.run(program() + [str(a) for a in arguments], input=input, capture_output=True,
                              env=clean_environment(env), cwd=ROOT, timeout=WAIT_S)

    return run


# ---- the orchestrator ----


class Orchestrator:
    """An HTTP server that notes what workers POST. `answers`: status codes for the next posts; then 200 (or `default`)."""

    def __init__(self):
        self.posts = queue.Queue()
        self.answers = []
        self.default = 200
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.posts.put({"path": self.path, "headers": dict(self.headers), "body": json.loads(body)})
                self.send_response(outer.answers.pop(0) if outer.answers else outer.default)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *unused):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = "http://127.0.0.1:%d" % self.port
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def next_post(self):
        return self.posts.get(timeout=WAIT_S)

    def stop(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def orchestrator():
    one = Orchestrator()
    yield one
    one.stop()
