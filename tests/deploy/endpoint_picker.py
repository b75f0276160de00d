"""llm-d's endpoint picker, with file discovery and the configuration of src/deploy/balancers/endpoint-picker, in front of three workers.

endpoint_picker.py WORKER EPP PICK: PICK is pick.go, built. What is shown: the picker reads the workers' metrics; a worker with a queue is
left alone; a conversation stays with its worker, where it finds its tokens; a worker that leaves the file gets nothing.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
GRPC, HEALTH, METRICS = 19002, 19003, 19004
PATIENCE_S = 120


def wait_until(condition, what):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("waited in vain: " + what)
        time.sleep(0.1)


def ask(url, body=None):
    request = urllib.request.Request(url, json.dumps(body).encode() if body is not None else None, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return answer.read()


class Worker:
    def __init__(self, binary, log):
        self.process = subprocess.Popen([binary, "--model", ROOT / "models/tallow-tiny", "--port", "0", "--metrics-vllm-names", "--parallel", "1",
                                         "--threads", "1", "--context", "1024"], stdout=subprocess.PIPE, stderr=log)
        self.port = json.loads(self.process.stdout.readline())["port"]
        self.place = "127.0.0.1:%d" % self.port

    def metric(self, name):
        return sum(float(line.rsplit(" ", 1)[1]) for line in ask("http://%s/metrics" % self.place).decode().splitlines()
                   if line.startswith(name))


def write_endpoints(path, workers):
    text = json.dumps({"endpoints": [{"name": "w%d" % i, "address": "127.0.0.1", "port": str(worker.port)}
                                     for i, worker in enumerate(workers)]})
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").rename(path)


class Picker:
    def __init__(self, binary):
        self.process = subprocess.Popen([binary, "127.0.0.1:%d" % GRPC], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def pick(self, body):
        self.process.stdin.write(json.dumps(body) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


def chat(content):
    return {"model": "tallow-tiny", "messages": [{"role": "user", "content": content}], "max_tokens": 16, "temperature": 0}


def picks(picker, n, word):
    """Of n conversations of their own."""
    return [picker.pick(chat("%s %d: tell me something." % (word, i))) for i in range(n)]


def busy_is_left_alone(picker, workers):
    """One worker runs a request and has others waiting, until the others are ended."""
    busy, streams = workers[0], []

    def stream():
        body = {"prompt": "Once", "max_tokens": 1000, "ignore_eos": True, "stream": False}
        while not stop.is_set():
            ask("http://%s/execute" % busy.place, body)
    stop = threading.Event()
    for _ in range(6):
        streams.append(threading.Thread(target=stream))
        streams[-1].start()
    try:
        wait_until(lambda: busy.metric("worker_requests_waiting") >= 3, "a queue")
        wait_until(lambda: busy.place not in picks(picker, 5, "probing"), "the picker to see the queue")
        found = picks(picker, 30, "beside a queue")
    finally:
        stop.set()
        for one in streams:
            one.join()
    if busy.place in found or len(set(found)) != 2:
        raise SystemExit("with a queue at %s: %s" % (busy.place, found))
    print("a worker with a queue got none of 30, the two others %s" % sorted(found.count(place) for place in set(found)))


def conversations_stay(picker):
    cached = []
    for number in range(4):
        body = chat("Conversation %d: tell me a long story of a child, a boat, a dog and the sea. %s" % (number, "It was said that " * 60))
        places = set()
        for _ in range(4):
            place = picker.pick(body)
            places.add(place)
            told = json.loads(ask("http://%s/v1/chat/completions" % place, body))
            cached.append(told["usage"]["prompt_tokens_details"]["cached_tokens"])
            body["messages"] += [told["choices"][0]["message"], {"role": "user", "content": "And then?"}]
        if len(places) != 1 or not all(cached[-3:]):
            raise SystemExit("a conversation went to %s and found %s tokens" % (places, cached[-4:]))
    print("four conversations of four turns each stayed with a worker; cached tokens: %s" % cached)


def main():
    binary, epp, pick = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        workers = [Worker(binary, open(folder / "worker.log", "ab")) for _ in range(3)]
        write_endpoints(folder / "endpoints.yaml", workers)
        config = (ROOT / "src/deploy/balancers/endpoint-picker/config.yaml").read_text().replace("/etc/epp/endpoints.yaml", str(folder / "endpoints.yaml"))
        (folder / "config.yaml").write_text(config)
        server = subprocess.Popen([epp, "--config-file", folder / "config.yaml", "--pool-name", "tallow", "--pool-namespace", "tallow",
                                   "--grpc-port", str(GRPC), "--grpc-health-port", str(HEALTH), "--metrics-port", str(METRICS),
                                   "--secure-serving=false", "--metrics-endpoint-auth=false", "--tracing=false"],
                                  stdout=open(folder / "epp.log", "wb"), stderr=subprocess.STDOUT, env=dict(os.environ))
        picker = Picker(pick)
        try:
            wait_until(lambda: len(set(picks(picker, 12, "first")) & {worker.place for worker in workers}) == 3, "all workers to be picked")
            print("requests are spread over the three workers of the file")
            busy_is_left_alone(picker, workers)
            conversations_stay(picker)
            write_endpoints(folder / "endpoints.yaml", workers[1:])
            wait_until(lambda: workers[0].place not in picks(picker, 12, "looking"), "the file to be read again")
            found = picks(picker, 30, "without one")
            if set(found) != {worker.place for worker in workers[1:]}:
                raise SystemExit("a worker that left the file, or none: %s" % found)
            print("a worker that left the file gets nothing")
        except BaseException:
            print((folder / "epp.log").read_text()[-3000:])
            raise
        finally:
            for process in (picker.process, server, *[worker.process for worker in workers]):
                process.kill()
                process.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
