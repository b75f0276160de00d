"""Ten questions to a real chat model in a GGUF file: the worker at $URL, started with --compute f32, must say what
transformers says with the same weights, dequantised to f32 (`make real-chat MODEL=file.gguf`). Both choose the likeliest
token, $TOKENS (40) times at most; where the answers part, the gap between transformers' best two logits there is printed.

    python3 real_chat.py MODEL.gguf
"""

import json
import os
import pathlib
import sys
import urllib.request

import torch
from gguf import GGUFReader
from transformers import AutoModelForCausalLM, AutoTokenizer

URL = os.environ["URL"]
TOKENS = int(os.environ.get("TOKENS", "40"))
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


def post(path, body):
    request = urllib.request.Request(URL + path, json.dumps(body).encode())
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def open_reference(path):
    field = GGUFReader(path).fields["tokenizer.chat_template"]
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    tokenizer.chat_template = bytes(field.parts[field.data[0]]).decode()
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
    return tokenizer, model


def reference_answer(tokenizer, model, messages):
    """Prompt ids, and the answer: its ids, and the gap of the best two logits at each."""
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
    ends = [tokenizer.convert_tokens_to_ids(text) for text in ("<|im_end|>", "<|endoftext|>")]
    said = model.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), do_sample=False,
                          max_new_tokens=TOKENS, eos_token_id=ends, pad_token_id=ends[0], repetition_penalty=1.0,
                          output_scores=True, return_dict_in_generate=True)
    best = [scores[0].topk(2).values for scores in said.scores]
    return prompt, said.sequences[0, len(prompt):].tolist(), [float(two[0] - two[1]) for two in best]


def main():
    tokenizer, model = open_reference(pathlib.Path(sys.argv[1]).resolve())
    same = 0
    smallest = float("inf")
    for question in QUESTIONS:
        messages = [{"role": "user", "content": question}]
        prompt, ids, gaps = reference_answer(tokenizer, model, messages)
        ours = post("/tokenize", {"messages": messages})["tokens"]
        assert ours == prompt, "the prompts differ: %r" % ((ours, prompt),)
        text = tokenizer.decode(ids, skip_special_tokens=True)
        answer = post("/v1/chat/completions", {"messages": messages, "temperature": 0, "max_tokens": TOKENS})["choices"][0]
        smallest = min([smallest] + gaps)
        if answer["message"]["content"] == text:
            same += 1
            print("same   %s -> %r" % (question, text))
            continue
        shared = len(os.path.commonprefix([answer["message"]["content"], text]))
        at = next(i for i in range(len(ids) + 1) if len(tokenizer.decode(ids[:i], skip_special_tokens=True)) > shared or i == len(ids))
        print("other  %s -> %r, transformers: %r (gap %.6f)" % (question, answer["message"]["content"], text, gaps[max(at - 1, 0)]))
    print("%d of %d answers are those of transformers; smallest gap of its best two logits: %.5f" % (same, len(QUESTIONS), smallest))
    return 0 if same == len(QUESTIONS) else 1


if __name__ == "__main__":
    sys.exit(main())
