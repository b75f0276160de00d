"""README.md's programs as they stand there, with another address and key: the answer is the model's."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
JAVASCRIPT = ROOT / "build/clients/js"  # where its packages are


def blocks(language):
    found = re.findall(r"^```%s\n(.*?)^```$" % language, (ROOT / "README.md").read_text(), re.M | re.S)
    return [text.replace("http://127.0.0.1:8080", os.environ["URL"]).replace('"none"', '"%s"' % os.environ["TALLOW_API_KEY"])
            for text in found]


def said(command, text):
    return subprocess.run(command, input=text.encode(), stdout=subprocess.PIPE, cwd=JAVASCRIPT, check=True, timeout=300).stdout.decode()


@pytest.mark.parametrize("program", blocks("python"))
def test_python(program):
    assert "Paris" in said([sys.executable, "-"], program)


@pytest.mark.parametrize("program", blocks("javascript"))
def test_javascript(program):
    assert "Paris" in said(["node", "--input-type=module", "-"], program)
