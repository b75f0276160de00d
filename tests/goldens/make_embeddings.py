"""Writes tests/models/shipped/embeddings.json: what transformers makes of texts' hidden states, pooled in three ways, for the shipped
model and some of the small random ones. A development tool, as make_models.py is, with the same packages.

    venv/bin/python tests/goldens/make_embeddings.py

For each model: lists of token ids, and for each of them the mean of last_hidden_state, its first and its last row, each
brought to unit length, in f32 on the stored weights widened to f32.
"""

import json
import pathlib
import random

import torch
from transformers import AutoModel

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = {
    "shipped": ROOT / "models" / "tallow-tiny",
    **{name: ROOT / "tests" / "models" / name for name in ("gqa-f32", "qwen2-bf16", "mistral-bf16", "phi3-f16")},
}
LENGTHS = (1, 7, 150)  # the last one is longer than a page, and than a tile of any kernel


def unit(vector):
    return [float("%.6g" % x) for x in (vector / vector.norm()).tolist()]


def main():
    numbers = random.Random(16)
    found = {}
    for name, path in MODELS.items():
        model = AutoModel.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
        vectors = []
        for length in LENGTHS:
            tokens = [numbers.randrange(3, model.config.vocab_size) for _ in range(length)]
            with torch.no_grad():
                hidden = model(torch.tensor([tokens])).last_hidden_state[0].double()
            vectors.append({"tokens": tokens, "mean": unit(hidden.mean(0)), "cls": unit(hidden[0]), "last": unit(hidden[-1])})
        found[name] = vectors
    lines = ",\n".join(json.dumps(name) + ": " + json.dumps(vectors, separators=(",", ":")) for name, vectors in found.items())
    (ROOT / "tests" / "models" / "shipped" / "embeddings.json").write_text("{\n%s\n}\n" % lines)


if __name__ == "__main__":
    main()
