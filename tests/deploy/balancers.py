"""Balancers of src/deploy/balancers in front of three workers, each of which lives in a network namespace of its own.

As root: unshare -n balancers.py WORKER HAPROXY NGINX LIBRARIES [which ...]. Everything ends with the namespaces. The configurations are
used as they are, but for the paths of certificates, sockets and temporary files.

For each balancer: tokens come when they are made; a conversation stays with its worker, by header and by how it begins, over TLS,
too; each worker is drained and started again under load, and no request fails; after a worker was killed, and after a host has
vanished, new requests are answered by others.
"""

import http.client
import json
import os
import pathlib
import random
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
KEY = "secret"
HEADERS = {"Authorization": "Bearer " + KEY, "Content-Type": "application/json"}
N_CLIENTS = 8
PATIENCE_S = 120


def run(*command):
    subprocess.run([str(word) for word in command], check=True)


def wait_until(condition, what):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("waited in vain: " + what)
        time.sleep(0.05)


class Host:
    """A network namespace with an address, and the worker in it."""

    def __init__(self, number, binary, arguments, folder):
        self.name, self.address = "w%d" % number, "192.0.2.%d" % (10 + number)
        self.arguments = [binary, "--model", ROOT / "models/tallow-tiny", "--host", self.address, "--port", "8080", "--context", "1024",
                          "--parallel", "4", "--threads", "1", "--allowed-host", "tallow.example", "--log-level", "warn", *arguments]
        self.log = open(folder / (self.name + ".log"), "wb")
        self.holder = subprocess.Popen(["unshare", "-n", "sleep", "1d"])
        wait_until(lambda: os.readlink("/proc/%d/ns/net" % self.holder.pid) != os.readlink("/proc/self/ns/net"), "a namespace")
        run("ip", "link", "add", self.name, "type", "veth", "peer", "name", "eth0", "netns", self.holder.pid)
        run("ip", "link", "set", self.name, "master", "br0", "up")
        self.inside("ip", "addr", "add", self.address + "/24", "dev", "eth0")
        self.inside("ip", "link", "set", "eth0", "up")
        self.start()

    def inside(self, *command):
        run("nsenter", "-n", "-t", self.holder.pid, *command)

    def start(self):
        self.process = subprocess.Popen(["nsenter", "-n", "-t", str(self.holder.pid), *map(str, self.arguments)],
                                        stdout=subprocess.PIPE, stderr=self.log, env=dict(os.environ, TALLOW_API_KEY=KEY))
        if not self.process.stdout.readline():
            raise SystemExit("%s does not get ready: %s" % (self.name, pathlib.Path(self.log.name).read_text()))

    def end(self, number):
        self.process.send_signal(number)
        self.process.wait()
        self.process.stdout.close()

    def link(self, state):
        run("ip", "link", "set", self.name, state)

    def metric(self, name):
        answer = ask("GET", "/metrics", host=self.address, port=8080)
        return sum(float(line.rsplit(" ", 1)[1]) for line in answer.body.decode().splitlines() if line.startswith(name))

    def close(self):
        if self.process.poll() is None:
            self.end(signal.SIGKILL)
        self.holder.kill()
        self.holder.wait()


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, dict(response.getheaders()), response.read()

    def json(self):
        return json.loads(self.body)

    @property
    def served_by(self):
        return self.headers.get("x-served-by") or self.headers.get("X-Served-By")


def ask(method, path, body=None, headers=None, host="127.0.0.1", port=8080, context=None):
    """One request on a connection of its own."""
    if context:
        connection = http.client.HTTPSConnection(host, 8443, timeout=PATIENCE_S, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, {**HEADERS, **(headers or {})})
        return Answer(connection.getresponse())
    finally:
        connection.close()


def converse(n_turns, opening, headers=None, context=None):
    """[(who served, cached tokens, prompt tokens)] of the turns of one conversation."""
    messages, turns = [{"role": "user", "content": opening}], []
    for turn in range(n_turns):
        answer = ask("POST", "/v1/chat/completions", {"model": "m", "messages": messages, "max_tokens": 12, "temperature": 0},
                     headers, context=context)
        if answer.status != 200:
            raise SystemExit("a turn got %d: %s" % (answer.status, answer.body))
        told = answer.json()
        usage = told["usage"]
        turns.append((answer.served_by, usage["prompt_tokens_details"]["cached_tokens"], usage["prompt_tokens"]))
        messages += [told["choices"][0]["message"], {"role": "user", "content": "And then, what came after number %d?" % turn}]
    return turns


# ---- load ----


class Load:
    """Clients that send one request after the other: streamed ones, whole ones, chats, over connections that are kept."""

    KINDS = [
        ("/execute", {"prompt": "Once upon a time", "max_tokens": 60, "ignore_eos": True}),
        ("/execute", {"prompt": "The capital of France is", "max_tokens": 30, "ignore_eos": True, "stream": False}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Tell me of the sea"}], "max_tokens": 40, "stream": True}),
        ("/v1/completions", {"prompt": "One, two,", "max_tokens": 20}),
        ("/tokenize", {"prompt": "One, two,"}),
    ]

    def __init__(self):
        self.stop, self.lock = threading.Event(), threading.Lock()
        self.n, self.by, self.failures = 0, {}, []
        self.threads = [threading.Thread(target=self.client, args=(i,)) for i in range(N_CLIENTS)]
        for thread in self.threads:
            thread.start()

    def client(self, number):
        drawn, connection = random.Random(number), None
        while not self.stop.is_set():
            path, body = drawn.choice(self.KINDS)
            headers = {"X-Conversation": "c%d" % drawn.randrange(50)} if drawn.random() < 0.5 else {}
            connection = connection or http.client.HTTPConnection("127.0.0.1", 8080, timeout=PATIENCE_S)
            started = time.monotonic()
            try:
                connection.request("POST", path, json.dumps(body), {**HEADERS, **headers})
                answer = Answer(connection.getresponse())
                whole = answer.body.rstrip().endswith((b"}", b"[DONE]")) and b"event: error" not in answer.body
                problem = None if answer.status == 200 and whole else "%d %s" % (answer.status, answer.body[-200:])
            except (OSError, http.client.HTTPException) as error:
                answer, problem = None, repr(error)
            if not answer or answer.headers.get("connection", "").lower() == "close":
                connection.close()
                connection = None
            with self.lock:
                self.n += 1
                if problem:
                    self.failures.append((started, path, problem))
                else:
                    self.by[answer.served_by] = self.by.get(answer.served_by, 0) + 1

    def after(self, n):
        """Waits until n more requests have ended."""
        target = self.n + n
        wait_until(lambda: self.n >= target, "requests to end")

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def under_load(what, act, allowed=lambda failure: False):
    load = Load()
    try:
        load.after(40)
        act(load)
        load.after(40)
    finally:
        load.end()
    failures = [failure for failure in load.failures if not allowed(failure)]
    print("  %s: %d requests, %d failed%s; answered by %s" % (
        what, load.n, len(failures), " (and %d that ran there)" % (len(load.failures) - len(failures)) if len(load.failures) != len(failures) else "",
        ", ".join("%s %d" % pair for pair in sorted(load.by.items()))))
    if failures:
        raise SystemExit("  failed: %s" % failures[:5])
    return load


# ---- what is shown of each ----


def streams_are_not_held_back(hosts):
    connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=PATIENCE_S)
    connection.request("POST", "/execute", json.dumps({"prompt": "Once", "max_tokens": 1000, "ignore_eos": True}), HEADERS)
    response = connection.getresponse()
    line = b""
    while not line.startswith(b"event: token"):
        line = response.readline()
    running = sum(host.metric("worker_active_requests") for host in hosts)
    connection.close()
    if running != 1:
        raise SystemExit("the first token came when its answer was over")
    wait_until(lambda: sum(host.metric("worker_active_requests") for host in hosts) == 0, "a client's leaving to be noticed")
    print("  a token comes while its answer is being made; a client's leaving reaches the worker")


def conversations_stay(certificate):
    context = ssl.create_default_context(cafile=str(certificate))
    context.check_hostname = False  # asked by address; the name is in the Host header
    ways = [("by header", {"X-Conversation": "%d"}, None), ("by beginning", {}, None),
            ("over TLS", {"Host": "tallow.example", "Origin": "https://tallow.example"}, context)]
    for way, headers, tls in ways:
        places = set()
        for number in range(6):
            filled = {name: value.replace("%d", "%s-%d" % (way, number)) for name, value in headers.items()}
            opening = "Conversation %d, %s: tell me a long story of a child, a boat and the sea, please." % (number, way)
            if way == "by header":
                opening = "Tell me a long story of a child, a boat and the sea, please, and do not forget the dog."
            turns = converse(4, opening, filled, tls)
            served = {who for who, _, _ in turns}
            if len(served) != 1:
                raise SystemExit("a conversation %s wandered: %s" % (way, turns))
            for (_, cached, n), (_, _, before) in zip(turns[1:], turns):
                if cached < before - 32:
                    raise SystemExit("a turn of %d tokens found %d of %d in the cache" % (n, cached, before))
            places |= served
        if len(places) < 2:
            raise SystemExit("six conversations %s all went to %s" % (way, places))
        print("  six conversations %s: each stayed, on %d workers; the last turn had %d of %d tokens from the cache"
              % (way, len(places), turns[-1][1], turns[-1][2]))


def jobs_find_their_worker():
    """What belongs to one worker, in three calls with the same header: made, cancelled, looked at."""
    for number in range(6):
        headers = {"X-Conversation": "job %d" % number}
        body = {"prompt": "Once", "max_tokens": 900, "ignore_eos": True}
        job = ask("POST", "/v1/inference", body, headers).json()
        cancelled = ask("POST", "/cancel", {"job_id": job["job_id"]}, headers)
        stream = ask("GET", job["sse_url"], None, headers)
        if cancelled.status != 202 or stream.status != 200 or b'"CANCELLED"' not in stream.body:
            raise SystemExit("a job, its cancelling and its stream: %d, %d %s" % (cancelled.status, stream.status, stream.body[-200:]))
    print("  six jobs were made, cancelled and looked at, each where it is")


def own_routes_are_not_passed_on():
    for method, path in (("POST", "/shutdown"), ("GET", "/metrics")):
        if ask(method, path).status != 404:
            raise SystemExit(path + " is passed on")


def restart_each(hosts, settled):
    def act(load):
        for host in hosts:
            host.end(signal.SIGTERM)
            load.after(20)
            host.start()
            settled(load)
    under_load("each worker drained and started again", act)


def kill_one(host, settled):
    """What ran there is lost, where a byte of its answer was sent; what comes later is not."""
    killed = []

    def act(load):
        host.end(signal.SIGKILL)
        killed.append(time.monotonic())
        load.after(60)
        host.start()
        settled(load)
    load = under_load("a worker killed", act, lambda failure: failure[0] <= killed[0])
    if len(load.failures) > N_CLIENTS:
        raise SystemExit("%d requests failed" % len(load.failures))


def unplug_one(host, settled):
    """A host that vanishes refuses nothing: packets are lost. What ran there hangs until its timeout, so no load is kept on it."""
    host.link("down")
    answers = [ask("POST", "/v1/completions", {"prompt": "One, two,", "max_tokens": 4}, {"X-Conversation": str(i)}) for i in range(12)]
    if [answer.status for answer in answers] != [200] * 12:
        raise SystemExit("with a host gone: %s" % [(answer.status, answer.body) for answer in answers])
    host.link("up")
    load = Load()
    settled(load)
    load.end()
    print("  a host unplugged: 12 new requests, answered by %s" % sorted({answer.served_by for answer in answers}))


def show(name, start, hosts, certificate, settled):
    print(name)
    balancer = start()
    try:
        wait_until(lambda: listens(), name + " to listen")
        settled(None)
        own_routes_are_not_passed_on()
        streams_are_not_held_back(hosts)
        jobs_find_their_worker()
        conversations_stay(certificate)
        restart_each(hosts, settled)
        kill_one(hosts[0], settled)
        unplug_one(hosts[1], settled)
    finally:
        balancer.terminate()
        balancer.wait()


def listens():
    try:
        return ask("GET", "/livez").status == 200
    except OSError:
        return False


# ---- the two ----


def make_certificate(folder):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / "tallow.key", "-out", folder / "tallow.crt",
        "-days", "2", "-subj", "/CN=tallow.example", "-addext", "subjectAltName=DNS:tallow.example"], check=True, stderr=subprocess.DEVNULL)
    (folder / "tallow.pem").write_text((folder / "tallow.crt").read_text() + (folder / "tallow.key").read_text())


def configured(name, folder, changes):
    text = (ROOT / "src/deploy/balancers" / name).read_text()
    for old, new in changes:
        if old not in text:
            raise SystemExit("%s has no %s" % (name, old))
        text = text.replace(old, new)
    (folder / name).write_text(text)
    return folder / name


def start_haproxy(binary, folder, libraries):
    config = configured("haproxy.cfg", folder, [("/etc/haproxy/tallow.pem", str(folder / "tallow.pem")),
                                                ("/run/haproxy/admin.sock", str(folder / "admin.sock"))])
    return subprocess.Popen([binary, "-db", "-f", config], stdout=open(folder / "haproxy.log", "wb"), stderr=subprocess.STDOUT,
                            env=dict(os.environ, LD_LIBRARY_PATH=libraries))


def start_nginx(binary, folder, libraries):
    temporary = "".join("%s_temp_path %s;" % (what, folder / what)
                        for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    config = configured("nginx.conf", folder, [("/etc/nginx/tallow.", "%s/tallow." % folder), ("/run/nginx.pid", "%s/pid" % folder),
                                               ("access_log off;", "access_log off;" + temporary)])
    return subprocess.Popen([binary, "-c", config, "-p", folder, "-g", "daemon off; user root;"],
                            stderr=open(folder / "nginx.log", "wb"), env=dict(os.environ, LD_LIBRARY_PATH=libraries))


def all_up(folder):
    """HAProxy's own word for it."""
    def servers_up():
        told = subprocess.run(["python3", "-c", "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
                               "s.sendall(b'show stat\\n'); print(s.makefile().read())", folder / "admin.sock"],
                              capture_output=True, text=True).stdout
        states = [line.split(",")[17] for line in told.splitlines() if line.split(",")[1:2] in (["w1"], ["w2"], ["w3"])]
        return len(states) == 6 and all(state.startswith("UP") for state in states)
    return lambda load: wait_until(servers_up, "HAProxy to find all workers well")


def all_used(hosts):
    """nginx says nothing: until each worker has had a request again."""
    def settled(load):
        if load is None:
            return
        before = [host.metric("worker_requests_total") for host in hosts]
        wait_until(lambda: all(host.metric("worker_requests_total") > n for host, n in zip(hosts, before)), "nginx to use all workers")
    return settled


def main():
    binary, haproxy, nginx, libraries = sys.argv[1:5]
    which = sys.argv[5:] or ["haproxy", "haproxy-no-delay", "nginx"]
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "br0", "type", "bridge")
    run("ip", "addr", "add", "192.0.2.1/24", "dev", "br0")
    run("ip", "link", "set", "br0", "up")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        make_certificate(folder)
        for one in which:
            hosts = []
            try:
                for number in (1, 2, 3):
                    hosts.append(Host(number, binary, ["--shutdown-delay", "4s"] if one == "haproxy" else [], folder))
                if one == "nginx":
                    show(one, lambda: start_nginx(nginx, folder, libraries), hosts, folder / "tallow.crt", all_used(hosts))
                else:
                    show(one, lambda: start_haproxy(haproxy, folder, libraries), hosts, folder / "tallow.crt", all_up(folder))
            except BaseException:
                keep = ROOT / "build/balancers"
                keep.mkdir(exist_ok=True)
                for log in folder.glob("*.log"):
                    (keep / log.name).write_bytes(log.read_bytes())
                print("logs: %s" % keep)
                raise
            finally:
                for host in hosts:
                    host.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
