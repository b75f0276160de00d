"""What a model's answers lose to the arithmetic: `make accuracy MODEL=path`. For each type of weights and of keys and values
and each way to compute, beside the same weights in f32 with an f32 cache:

    KL        Kullback-Leibler divergence of whole distributions, mean over a text's tokens
    from file the same from the file's own values in f32: conversion and arithmetic
    ppl       perplexity of the text
    argmax    how often both find the same token likeliest
    answers   how many of ten everyday questions get the same answer, greedy, --tokens of it

    python3 accuracy.py BINARY MODEL [--text FILE] [--bytes N] [--tokens N] [--forms auto:auto:auto,q8:auto:fine,...]
                                     [--skip-answers] [-- FLAGS OF EVERY RUN]

A form is WEIGHTS:KV:COMPUTE. Python's standard library only; some minutes for a model of half a billion weights.
"""

import argparse
import concurrent.futures
import json
import pathlib
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

HELD_OUT = pathlib.Path(__file__).parents[1] / "text" / "held-out.txt"
FORMS = "auto:auto:auto,auto:auto:fast,auto:auto:fine,auto:q8:auto,q8:auto:auto,q8:auto:fine,q4:auto:auto,q4:auto:fine"
QUESTIONS = [
    "What is the capital of France?",
    "Write a haiku about the sea.",
    "How many legs does a spider have?",
    "Translate to German: Good morning, how are you?",
    "Explain in one sentence why the sky is blue.",
    "Name three fruits that are yellow.",
    "What is 17 plus 25?",
    "Write a Python function that reverses a string.",
    "Who wrote Romeo and Juliet?",
    "Give me a title for a story about a lost dog.",
]


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["choices"][0]


def ask(url, question, n_tokens):
    """As a chat; as a text to go on with where the model has no template."""
    body = {"temperature": 0, "max_tokens": n_tokens}
    try:
        return post(url + "/v1/chat/completions", {**body, "messages": [{"role": "user", "content": question}]})["message"]["content"]
    except urllib.error.HTTPError as error:
        if error.code != 400:
            raise
        return post(url + "/v1/completions", {**body, "prompt": question})["text"]


class Judge:
    def __init__(self, arguments, text):
        self.arguments, self.text = arguments, text
        self.found = {}  # answers by flags: references serve several forms

    def answers(self, *flags):
        """All questions together: what a request is told does not depend on those beside it."""
        if flags in self.found:
            return self.found[flags]
        command = [self.arguments.binary, "serve", "--model", self.arguments.model, "--port", "0", "--context", "512", "--parallel",
                   str(len(QUESTIONS)), "--log-level", "error", *flags, *self.arguments.flags]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as worker:
            try:
                ready = worker.stdout.readline()
                if not ready:
                    sys.exit("the worker did not start: " + " ".join(command))
                url = "http://127.0.0.1:%d" % json.loads(ready)["port"]
                with concurrent.futures.ThreadPoolExecutor(len(QUESTIONS)) as threads:
                    said = list(threads.map(lambda question: ask(url, question, self.arguments.tokens), QUESTIONS))
            finally:
                worker.terminate()
        self.found[flags] = said
        return said

    def perplexity(self, *flags):
        command = [self.arguments.binary, "perplexity", self.arguments.model, self.text, "--json", *flags, *self.arguments.flags]
        return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)

    def row(self, weights, kv, compute):
        form = ("--weights", weights, "--kv", kv, "--compute", compute)
        same = self.perplexity(*form, "--same-weights")
        from_file = same["divergence_mean"] if weights == "auto" else self.perplexity(*form, "--reference")["divergence_mean"]
        equal = "-"
        if not self.arguments.skip_answers:
            # A file's own types are the same values in f32, and that is faster than to widen them for each token.
            exact = self.answers("--weights", "f32" if weights == "auto" else weights, "--compute", "f32", "--kv", "f32")
            equal = "%d of %d" % (sum(a == b for a, b in zip(self.answers(*form), exact)), len(exact))
        return "%-8s %-5s %-7s %10.2e %10.2e %9.4f %8.2f%%  %s" % (
            weights if weights != "auto" else same["weights"], kv, compute, same["divergence_mean"], from_file, same["perplexity"],
            100 * same["same_top"], equal)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("model")
    parser.add_argument("--text", default=HELD_OUT)
    parser.add_argument("--bytes", type=int, default=6000, help="of the text")
    parser.add_argument("--tokens", type=int, default=64, help="of an answer")
    parser.add_argument("--forms", default=FORMS)
    parser.add_argument("--skip-answers", action="store_true")
    parser.add_argument("flags", nargs="*", help="after --: of every run, such as --isa avx2")
    return parser.parse_args()


def main():
    arguments = parse()
    with tempfile.NamedTemporaryFile() as text:
        text.write(pathlib.Path(arguments.text).read_bytes()[:arguments.bytes])
        text.flush()
        judge = Judge(arguments, text.name)
        print("%-8s %-5s %-7s %10s %10s %9s %9s  %s" % ("weights", "kv", "compute", "KL", "from file", "ppl", "argmax", "answers"), flush=True)
        for form in arguments.forms.split(","):
            print(judge.row(*form.split(":")), flush=True)


if __name__ == "__main__":
    main()
