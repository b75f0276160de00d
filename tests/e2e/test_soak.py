"""The short forms of `make soak` and its kin: some hundred requests, and all adds up."""

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
