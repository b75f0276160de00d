"""Every query of the dashboard, every recording rule and every alert, asked of a real Prometheus that scrapes a worker under load.

dashboards.py WORKER PROMETHEUS: exits with 1 and the queries that have no data. What is asked is what Grafana would ask, with its
variables filled in.
"""

import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "src/deploy"
PROMETHEUS_PORT = 19090
PATIENCE_S = 120  # until all have data; they do after some 15 s


def ask(url, body=None):
    data = json.dumps(body).encode() if body is not None else None
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, {"Content-Type": "application/json"}), timeout=60) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:  # refused requests are part of the load
        return json.loads(error.read())


def queries():
    """[(where, expression)] of the dashboard, as Grafana fills them in."""
    dashboard = json.loads((DEPLOY / "grafana/tallow.json").read_text())
    found = [("variable " + v["name"], v["query"]) for v in dashboard["templating"]["list"] if v["type"] == "query"]
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            found.append((panel["title"], target["expr"]))
    return [(where, text.replace("$__rate_interval", "10s").replace("$job", "tallow").replace("$instance", ".*"))
            for where, text in found]


def series(port, text):
    """What a query gives; a variable's is the label's values."""
    if text.startswith("label_values("):
        selector, label = text[len("label_values("):-1].rsplit(", ", 1)
        return [s for s in series(port, selector) if label in s["metric"]]
    answer = ask("http://127.0.0.1:%d/api/v1/query?%s" % (port, urllib.parse.urlencode({"query": text})))
    if answer["status"] != "success":
        raise SystemExit("%s\n  %s" % (text, answer["error"]))
    return [s for s in answer["data"]["result"] if not math.isnan(float(s["value"][1]))]


def load(url, stop):
    """All that a dashboard could show: answers of several kinds, a queue, refusals, errors."""
    kinds = [("/execute", {"prompt": "Once upon a time", "max_tokens": 24, "stream": False}),
             ("/execute", {"prompt": "Once upon a time", "max_tokens": 0}),
             ("/v1/chat/completions", {"messages": [{"role": "user", "content": "The capital of France is"}]})]
    while not stop.is_set():
        for path, body in kinds:
            ask(url + path, body)


def rules_without_data(port):
    """Recording rules that gave nothing, and rules that could not be evaluated."""
    bad = []
    for group in ask("http://127.0.0.1:%d/api/v1/rules" % port)["data"]["groups"]:
        for rule in group["rules"]:
            if rule["health"] != "ok":
                bad.append(("rule " + rule["name"], "%s: %s" % (rule["health"], rule.get("lastError", ""))))
            elif rule["type"] == "recording" and not series(port, rule["name"]):
                bad.append(("rule " + rule["name"], rule["query"]))
    return bad


def start_prometheus(binary, folder, worker_port):
    for name in ("tallow.rules.yml", "tallow.alerts.yml"):
        shutil.copy(DEPLOY / "prometheus" / name, folder)
    # Recording rules look at minutes; a test has seconds.
    rules = folder / "tallow.rules.yml"
    rules.write_text(rules.read_text().replace("[5m]", "[10s]").replace("[2m]", "[10s]"))
    (folder / "prometheus.yml").write_text(json.dumps({
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["tallow.rules.yml", "tallow.alerts.yml"],
        "scrape_configs": [{"job_name": "tallow", "static_configs": [{"targets": ["127.0.0.1:%d" % worker_port]}]}]}))
    return subprocess.Popen([binary, "--config.file=%s/prometheus.yml" % folder, "--storage.tsdb.path=%s/data" % folder,
                             "--web.listen-address=127.0.0.1:%d" % PROMETHEUS_PORT],
                            stdout=subprocess.DEVNULL, stderr=open(folder / "log", "wb"))


def missing(port):
    return [(where, text) for where, text in queries() if not series(port, text)] + rules_without_data(port)


def wait_for_all(port):
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            found = missing(port)
        except urllib.error.URLError:
            found = [("Prometheus", "does not listen")]
        if not found or time.monotonic() > end:
            return found
        time.sleep(1)


def main():
    worker_binary, prometheus_binary = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        worker = subprocess.Popen([worker_binary, "--model", ROOT / "models/tallow-tiny", "--port", "0", "--parallel", "2",
                                   "--queue", "2", "--kv-memory", "8MiB"],
                                  stdout=subprocess.PIPE, stderr=open(folder / "worker.log", "wb"), env=dict(os.environ, TALLOW_CONFIG=""))
        stop, threads, prometheus = threading.Event(), [], None
        try:
            port = json.loads(worker.stdout.readline())["port"]
            threads = [threading.Thread(target=load, args=("http://127.0.0.1:%d" % port, stop)) for _ in range(6)]
            for thread in threads:
                thread.start()
            prometheus = start_prometheus(prometheus_binary, folder, port)
            found = wait_for_all(PROMETHEUS_PORT)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
            for process in (prometheus, worker):
                if process:
                    process.terminate()
                    process.wait()
    for where, text in found:
        print("no data: %s\n  %s" % (where, text))
    print("%d queries and %d rules asked, %d without data"
          % (len(queries()), sum((DEPLOY / "prometheus" / f).read_text().count("expr:")
                                 for f in ("tallow.rules.yml", "tallow.alerts.yml")), len(found)))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
