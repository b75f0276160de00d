"""lm-evaluation-harness against the worker at $URL, started with --compute f32 --kv f32: its local-completions client (echo and
log-probabilities of a completion's prompt) gives each answer of a small task the log-likelihood that transformers gives it with
the same weights, dequantised to f32 (`make language-eval MODEL=file.gguf`).

    python3 language_eval.py MODEL.gguf
"""

import json
import os
import pathlib
import sys
import tempfile

import lm_eval
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM
from lm_eval.models.openai_completions import LocalCompletionsAPI

from real_chat import URL, open_reference

BOUND = 5e-4  # of a log-likelihood: both compute in f32, in another order
QUESTIONS = [
    ("What do bees make?", ["honey", "wool", "bread", "glass"], 0),
    ("How many days are in a week?", ["five", "six", "seven", "ten"], 2),
    ("Which of these is a fruit?", ["a hammer", "an apple", "a river", "a shirt"], 1),
    ("What is the capital of France?", ["Rome", "Madrid", "Berlin", "Paris"], 3),
    ("What falls from clouds?", ["sand", "rain", "leaves", "coins"], 1),
    ("What is the opposite of hot?", ["cold", "warm", "dry", "soft"], 0),
    ("Which animal barks?", ["a cat", "a cow", "a dog", "a duck"], 2),
    ("What color is the sky on a clear day?", ["green", "blue", "black", "pink"], 1),
    ("What do we use to cut paper?", ["scissors", "a spoon", "a pillow", "soap"], 0),
    ("What is 2 plus 3?", ["4", "5", "6", "23"], 1),
    ("Which is the largest?", ["a mouse", "a horse", "a whale", "a hen"], 2),
    ("When does the sun rise?", ["in the evening", "at night", "in the morning", "never"], 2),
]


def make_task(folder):
    lines = [json.dumps({"question": q, "choices": c, "answer": a}) for q, c, a in QUESTIONS]
    (folder / "questions.jsonl").write_text("\n".join(lines) + "\n")
    return ConfigurableTask(config={
        "task": "questions",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "questions.jsonl")}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    })


def evaluate(model, task):
    found = lm_eval.evaluate(lm=model, task_dict={"questions": task}, log_samples=True, bootstrap_iters=0)
    samples = sorted(found["samples"]["questions"], key=lambda sample: sample["doc_id"])
    scores = {name: value for name, value in found["results"]["questions"].items() if name.startswith("acc")}
    return scores, [[float(one[0][0]) for one in sample["resps"]] for sample in samples]


def main():
    tokenizer, reference = open_reference(pathlib.Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        tokenizer.save_pretrained(folder / "tokenizer")
        task = make_task(folder)
        # Both begin as the tokenizer does; by default the first does and the second does not.
        local = HFLM(pretrained=reference, tokenizer=tokenizer, batch_size=1, add_bos_token=True)
        wanted_scores, wanted = evaluate(local, task)
        worker = LocalCompletionsAPI(model="any", base_url=URL + "/v1/completions", tokenizer=str(folder / "tokenizer"),
                                     num_concurrent=2, max_length=2048, add_bos_token=True)
        given_scores, given = evaluate(worker, task)
    largest = max(abs(a - b) for one, other in zip(wanted, given) for a, b in zip(one, other))
    print(f"transformers {wanted_scores}\nthe worker   {given_scores}")
    print(f"{sum(map(len, given))} log-likelihoods, the largest difference {largest:.1e} (bound {BOUND})")
    if wanted_scores != given_scores or largest > BOUND:
        sys.exit("they differ")


if __name__ == "__main__":
    main()
