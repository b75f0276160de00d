"""The short forms of `make soak` and its kin: some hundred requests, connections and mutated heads, and all adds up."""

import os
import subprocess
import sys

from conftest import ROOT, clean_environment, program
from http_client import WAIT_S


def run(*arguments):
    """A program of tests/soak on the binary that is tested; what it printed."""
    environment = clean_environment({name: os.environ[name] for name in ("TALLOW_RUNNER",) if name in os.environ})
    done = subprocess.run([sys.executable, str(ROOT / "tests/soak" / arguments[0]), program()[-1], *arguments[1:]], cwd=ROOT,
                          env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=4 * WAIT_S)
    text = done.stdout.decode(errors="replace")
    assert done.returncode == 0, text
    return text


def test_random_requests_add_up():
    assert "400 requests from 16 clients" in run("soak.py", "--requests", "400")


def test_connections_in_numbers_come_and_go():
    assert run("connections.py", "--parts", "crowd,storm", "--scale", "0.04").endswith("crowd,storm: 0 wrong\n")


def test_mutated_http_is_answered_or_ended():
    assert "1000 connections" in run("fuzz_server.py", "--cases", "1000")
