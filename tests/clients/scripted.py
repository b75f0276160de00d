"""scripted.py FOLDER: a model whose answer is the script that the last message names: reasoning, calls, plain text."""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))
import scripted_model  # noqa: E402

TEMPLATE = "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{% endfor %}{{ '<go:' + messages[-1].content + '>' }}"
SCRIPTS = {
    "plain": "A plain answer.",
    "thinks": "<think>\nLet me see.\n</think>\n\nHello there!",
    "calls": "<think>Weather?</think>\n\nOn it.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Rome\"}}\n"
             "</tool_call>",
    "sunny": "It is sunny.",
}

if __name__ == "__main__":
    scripted_model.write(pathlib.Path(sys.argv[1]), ROOT / "models/tallow-tiny",
                         {"<go:%s>" % name: text for name, text in SCRIPTS.items()}, TEMPLATE)
