"""scripted.py FOLDER: a model whose answer is the script that the last message names, or "plain", or "calls" with tools; with
an agent's shell among its tools it calls that once, and is done."""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))
import scripted_model  # noqa: E402

TEMPLATE = ("{{ bos_token }}{% set ns = namespace(go=messages[-1].content, made=false) %}"
            "{% if ns.go not in NAMES %}{% if not tools %}{{ ns.go }}{% endif %}{% set ns.go = 'calls' if tools else 'plain' %}{% endif %}"
            "{% for m in messages %}[{{ m.role }}]{% if m.role == 'tool' %}{% set ns.made = true %}{% endif %}{% endfor %}"
            "{% for t in tools or [] %}{% if t.function.name in ('Bash', 'exec_command') %}"
            "{% set ns.go = 'done' if ns.made else t.function.name %}{% endif %}{% endfor %}{{ '<go:' + ns.go + '>' }}")
SCRIPTS = {
    "plain": "A plain answer.",
    "thinks": "<think>\nLet me see.\n</think>\n\nHello there!",
    "calls": "<think>Weather?</think>\n\nOn it.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Rome\"}}\n"
             "</tool_call>",
    "sunny": "It is sunny.",
    "Bash": "<tool_call>{\"name\": \"Bash\", \"arguments\": {\"command\": \"echo bash > made.txt\", \"description\": \"Makes it\"}}"
            "</tool_call>",
    "exec_command": "<tool_call>{\"name\": \"exec_command\", \"arguments\": {\"cmd\": \"echo exec > made.txt\"}}</tool_call>",
    "done": "The file is there.",
}

if __name__ == "__main__":
    scripted_model.write(pathlib.Path(sys.argv[1]), ROOT / "models/tallow-tiny",
                         {"<go:%s>" % name: text for name, text in SCRIPTS.items()},
                         TEMPLATE.replace("NAMES", str(list(SCRIPTS))))
