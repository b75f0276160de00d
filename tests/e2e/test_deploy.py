"""What src/deploy carries for those who run workers: that what it names is there. That it works takes other programs and minutes:
`make dashboards-test`, `make balancers-test`, `make kubernetes-check`."""

import json
import re
import shutil
import subprocess

import pytest

from conftest import ROOT
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
