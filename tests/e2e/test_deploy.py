"""What src/deploy carries for those who run workers: that what it names is there. That it works takes other programs and minutes:
`make dashboards-test`, `make balancers-test`, `make kubernetes-check`."""

import json
import re
import shutil
import subprocess

import pytest

from conftest import ROOT, program
from http_client import get

DEPLOY = ROOT / "src/deploy"
RULES, ALERTS = DEPLOY / "prometheus/tallow.rules.yml", DEPLOY / "prometheus/tallow.alerts.yml"
DASHBOARD = DEPLOY / "grafana/tallow.json"


@pytest.fixture(scope="module")
def told(shared_worker):
    """Names on /metrics, those of a histogram's samples included."""
    return {re.split(r"[{ ]", line)[0] for line in get(shared_worker.port, "/metrics").body.decode().splitlines() if line[:1] != "#"}


def dashboard_queries():
    dashboard = json.loads(DASHBOARD.read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])] + \
           [variable["query"] for variable in dashboard["templating"]["list"]]


def test_every_metric_that_is_asked_for_is_there(told):
    rules = RULES.read_text() + ALERTS.read_text()
    for text in [rules] + dashboard_queries():
        # Of keys there is something where there are keys; worker_crashed is a line of the log.
        assert not set(re.findall(r"\bworker_[a-z_]+\b", text)) - told - {"worker_key_requests_total", "worker_crashed"}, text
    assert len(set(re.findall(r"\bworker_[a-z_]+\b", rules))) > 10 and len(dashboard_queries()) > 30


def test_alerts_say_what_is_so_and_what_to_do():
    recorded = set(re.findall(r"record: (\S+)", RULES.read_text()))
    text = ALERTS.read_text()
    assert set(re.findall(r"\btallow:[a-z0-9_:]+", text)) <= recorded
    alerts = text.split("- alert: ")[1:]
    assert len(alerts) >= 9
    for alert in alerts:
        assert re.search(r'summary: "[^"]{20,}"', alert) and re.search(r'what_to_do: "[^"]{20,}"', alert), alert
        assert re.search(r"severity: (critical|warning|info)", alert), alert


def test_rules_pass_promtool():
    promtool = shutil.which("promtool") or shutil.which(str(ROOT / "build/tools/promtool"))
    if not promtool:
        pytest.skip("promtool is not there: make promtool")
    for command in (["check", "config", DEPLOY / "prometheus/prometheus.yml"], ["test", "rules", ROOT / "tests/deploy/alerts_test.yml"]):
        result = subprocess.run([promtool, *command], capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr


# ---- scripts ----


def test_arguments_of_a_patch_are_quoted(tmp_path):
    stub = tmp_path / "tallow"
    stub.write_text("#!/bin/sh\necho '{\"memory\":{\"total_bytes\":1048576,\"threads\":2}}'\n")
    stub.chmod(0o755)
    odd = ['/models/a "b" \\c', "--name=$(HOME) 50% 'x'"]
    made = subprocess.run([DEPLOY / "kubernetes/resources.sh", *odd], env={"TALLOW": str(stub), "PATH": "/usr/bin:/bin"},
                          capture_output=True, text=True, check=True).stdout
    arguments = [json.loads(line.strip()[2:]) for line in made.splitlines() if line.startswith('            - "')]
    assert arguments[0] == "serve" and arguments[1] == "--model=" + odd[0] and arguments[-1] == odd[1].replace("$(", "$$(")


# ---- options ----

WORKER_COMMANDS = [(path, line) for path in sorted(DEPLOY.rglob("*")) if path.is_file() and path.parent.name in ("balancers", "kubernetes")
                   for line in path.read_text().splitlines()]


def test_options_that_are_named_exist():
    known = set(re.findall(r"--[a-z0-9-]+", subprocess.run([*program(), "serve", "--help"], capture_output=True, text=True).stdout)) | {"--json"}
    foreign = {"--from-literal", "--install", "--patch-file"}  # kubectl's and helm's
    used = {option for _, line in WORKER_COMMANDS for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", line)}
    assert len(used) > 10 and used - foreign <= known, used - foreign - known


def milliseconds(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m)", text).groups()
    return int(number) * {"ms": 1, "s": 1000, "m": 60000}[unit]


def test_a_pod_is_given_the_time_that_its_worker_takes_to_end():
    text = (DEPLOY / "kubernetes/deployment.yaml").read_text()
    grace_s = int(re.search(r"terminationGracePeriodSeconds: (\d+)", text).group(1))
    taken_ms = sum(milliseconds(re.search(r"- --shutdown-%s=(\S+)" % what, text).group(1)) for what in ("delay", "timeout"))
    assert grace_s * 1000 >= taken_ms + 5000


def test_the_deployments_command_line_is_taken(worker, text_model):
    """Its own arguments, but for address, port and the model's place."""
    text = (DEPLOY / "kubernetes/deployment.yaml").read_text()
    arguments = re.findall(r"^ {12}- (\S+)$", text, re.M)
    assert arguments[0] == "serve" and len(arguments) > 8
    kept = [word for word in arguments[1:] if not word.startswith(("--model=", "--host=", "--port="))]
    started = worker(*kept, model=text_model)
    assert get(started.port, "/health").status == 200 and b"vllm:num_requests_waiting" in get(started.port, "/metrics").body
