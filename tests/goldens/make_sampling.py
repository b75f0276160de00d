#!/usr/bin/env python3
"""Computes what the sampler should make of a few logits and writes tests/sampling/sampling.json, which test_sampling.c
compares with.

    python3 -m venv venv && venv/bin/pip install numpy==2.2.6
    venv/bin/python tests/goldens/make_sampling.py

Each stage is written from its definition, by sorting and by brute force where the sampler selects and counts: OpenAI's API
reference (presence, frequency, logit bias), transformers' LogitsProcessors (repetition penalty, typical), the papers named
below, and the formulas of llama.cpp's samplers (XTC, DRY, mirostat 2.0, dynamic temperature, top-n-sigma). A case has the
logits after the penalties and the probability of each token.
"""
import json
import pathlib

import numpy as np

OUT = pathlib.Path(__file__).parent.parent / "sampling" / "sampling.json"
VOCAB = 40
random = np.random.default_rng(20260131)
HISTORY = [3, 7, 7, 1, 9, 3, 7, 2, 5, 3, 7, 7, 1, 4, 7, 30, 3, 7, 7, 1]
LOGITS = {
    "peaked": np.round(random.normal(0, 1.8, VOCAB), 3),
    "flat": np.round(random.normal(0, 0.4, VOCAB), 3),
    "shifted": np.round(random.normal(-30, 2, VOCAB), 3),
    "ties": np.round(random.normal(0, 1.5, VOCAB)),
}


def softmax(x):
    e = np.exp(x - x[np.isfinite(x)].max())
    return e / e.sum()


def penalised(x, tokens, n_prompt, p):
    x = x.astype(np.float64).copy()
    for token, bias in p.get("logit_bias", []):
        x[token] += bias
    window = p.get("repeat_last_n", 0) or len(tokens)
    recent = range(max(0, len(tokens) - window), len(tokens))
    penalty = p.get("repetition_penalty", 1)
    for t in sorted({tokens[i] for i in recent}):
        x[t] = x[t] / penalty if x[t] > 0 else x[t] * penalty
    output = [tokens[i] for i in recent if i >= n_prompt]
    for t in set(output):
        x[t] -= output.count(t) * p.get("frequency_penalty", 0) + p.get("presence_penalty", 0)
    for t, length in dry_lengths(tokens, p).items():
        x[t] -= p["dry_multiplier"] * p["dry_base"] ** (length - p["dry_allowed_length"])
    if len(tokens) - n_prompt < p.get("min_tokens", 0):
        x[p["ends"]] = -np.inf
    return x


def dry_lengths(tokens, p):
    """For each token the longest end of the text that stands before an earlier occurrence of it."""
    lengths = {}
    if not p.get("dry_multiplier"):
        return lengths
    text = tokens[-p["dry_last_n"]:] if p.get("dry_last_n") else tokens
    for i in range(1, len(text)):
        length = 0
        while length < i and text[i - 1 - length] == text[-1 - length] and text[-1 - length] not in p["dry_breakers"]:
            length += 1
        if length >= p["dry_allowed_length"]:
            lengths[text[i]] = max(lengths.get(text[i], 0), length)
    return lengths


def restricted(probabilities, keep):
    kept = np.where(keep, probabilities, 0)
    return kept / kept.sum()


def by_likelihood(q):
    return np.lexsort((np.arange(len(q)), -q))


def ordered(x, p):
    """The same stages in an order of their own: what is not named is off."""
    alive, temperature = np.isfinite(x), 1
    for stage in p["samplers"]:
        q = softmax(np.where(alive, x / temperature, -np.inf))
        order = by_likelihood(q)
        if stage == "temperature":
            temperature = p.get("temperature", 1)
        elif stage == "top_n_sigma":
            alive &= x >= x[alive].max() - p["top_n_sigma"] * x[alive].std()
        elif stage == "top_k":
            alive &= np.isin(np.arange(VOCAB), order[: p["top_k"]])
        elif stage == "top_p":
            alive &= np.isin(np.arange(VOCAB), order[: int((np.cumsum(q[order]) < p["top_p"]).sum()) + 1])
        elif stage == "min_p":
            alive &= q >= p["min_p"] * q.max()
        elif stage == "xtc":  # always drawn here
            above = [t for t in order if q[t] >= p["xtc_threshold"]]
            alive &= ~np.isin(np.arange(VOCAB), above[:-1])
    return softmax(np.where(alive, x / temperature, -np.inf))


def distribution(x, p):
    if "samplers" in p:
        return ordered(x, p)
    alive = np.isfinite(x)
    if p.get("top_n_sigma"):  # Tang et al., 2024: population deviation of all logits
        alive &= x >= x[alive].max() - p["top_n_sigma"] * x[alive].std()
    temperature = p.get("temperature", 1)
    if p.get("dynamic_range"):
        q = softmax(np.where(alive, x, -np.inf))[alive]
        evenness = -(q * np.log(q)).sum() / np.log(len(q))
        low, high = max(0, temperature - p["dynamic_range"]), temperature + p["dynamic_range"]
        temperature = low + (high - low) * evenness ** p["dynamic_exponent"]
    q = softmax(np.where(alive, x / temperature, -np.inf))
    if p.get("top_k"):
        q = restricted(q, np.isin(np.arange(VOCAB), by_likelihood(q)[: p["top_k"]]))
    if p.get("top_p", 1) < 1:
        order = by_likelihood(q)
        n = int((np.cumsum(q[order]) < p["top_p"]).sum()) + 1
        q = restricted(q, np.isin(np.arange(VOCAB), order[:n]))
    if p.get("min_p"):
        q = restricted(q, q >= p["min_p"] * q.max())
    if p.get("typical_p"):  # Meister et al., 2022, as TypicalLogitsWarper has it: equally typical ones stay together
        with np.errstate(divide="ignore", invalid="ignore"):
            surprisal = -np.log(q)
        entropy = (q[q > 0] * surprisal[q > 0]).sum()
        distance = np.where(q > 0, np.abs(surprisal - entropy), np.inf)
        order = np.argsort(distance, kind="stable")
        last = min(int((np.cumsum(q[order]) < p["typical_p"]).sum()), VOCAB - 1)
        q = restricted(q, distance <= distance[order[last]] + 1e-12)
    if p.get("xtc_probability") and p["xtc_threshold"] <= 0.5:
        order = by_likelihood(q)
        above = [t for t in order if q[t] >= p["xtc_threshold"]]
        if len(above) >= 2:
            dropped = restricted(q, ~np.isin(np.arange(VOCAB), above[:-1]))
            q = p["xtc_probability"] * dropped + (1 - p["xtc_probability"]) * q
    return q


def mirostat(x, p):
    """The distribution for the given bound, and the next bound after each token."""
    q = softmax(x / p.get("temperature", 1))
    keep = -np.log2(q) <= p["mirostat_bound"]
    keep[by_likelihood(q)[0]] = True
    q = restricted(q, keep)
    bounds = [p["mirostat_bound"] - p["mirostat_eta"] * (-np.log2(a) - p["mirostat_tau"]) if a > 0 else 0 for a in q]
    return q, bounds


def logprobs(x, n_top):
    q = x - x.max() - np.log(np.exp(x - x.max()).sum())
    order = [int(t) for t in by_likelihood(x)]
    return {"all": [float(a) for a in q], "rank": [order.index(t) + 1 for t in range(VOCAB)], "top": order[:n_top]}


CASES = [
    ("plain", "peaked", {}),
    ("bias", "peaked", {"logit_bias": [[0, 2.5], [7, -100], [12, 100], [39, -1.25]], "temperature": 30}),
    ("repetition", "peaked", {"repetition_penalty": 1.4}),
    ("repetition, windowed", "shifted", {"repetition_penalty": 1.1, "repeat_last_n": 4}),
    ("presence", "flat", {"presence_penalty": 1.5}),
    ("frequency", "flat", {"frequency_penalty": 0.7}),
    ("frequency, negative", "flat", {"frequency_penalty": -0.5, "presence_penalty": -0.25}),
    ("all penalties", "peaked", {"repetition_penalty": 1.2, "presence_penalty": 0.5, "frequency_penalty": 0.3,
                                 "repeat_last_n": 9, "logit_bias": [[3, 1], [7, 2]]}),
    ("min_tokens", "peaked", {"min_tokens": 16, "ends": [int(LOGITS["peaked"].argmax()), 5]}),
    ("min_tokens, reached", "peaked", {"min_tokens": 15, "ends": [int(LOGITS["peaked"].argmax()), 5]}),
    ("typical", "peaked", {"typical_p": 0.6}),
    ("typical, hot", "peaked", {"typical_p": 0.3, "temperature": 2}),
    ("typical, flat", "flat", {"typical_p": 0.9, "temperature": 0.7}),
    ("typical, ties", "ties", {"typical_p": 0.5}),
    ("typical, little", "shifted", {"typical_p": 0.01}),
    ("n-sigma", "flat", {"top_n_sigma": 1}),
    ("n-sigma, hot", "peaked", {"top_n_sigma": 1.5, "temperature": 2}),
    ("dynamic temperature", "peaked", {"temperature": 1.2, "dynamic_range": 0.8, "dynamic_exponent": 1.5}),
    ("dynamic temperature from zero", "peaked", {"temperature": 0.5, "dynamic_range": 0.9, "dynamic_exponent": 1}),
    ("xtc", "peaked", {"xtc_probability": 0.5, "xtc_threshold": 0.06}),
    ("xtc, always", "flat", {"xtc_probability": 1, "xtc_threshold": 0.03}),
    ("xtc, nothing above", "flat", {"xtc_probability": 1, "xtc_threshold": 0.4}),
    ("xtc, ties", "ties", {"xtc_probability": 1, "xtc_threshold": 0.02}),
    ("dry", "peaked", {"dry_multiplier": 0.8, "dry_base": 1.75, "dry_allowed_length": 2, "dry_breakers": []}),
    ("dry, broken", "peaked", {"dry_multiplier": 0.8, "dry_base": 1.75, "dry_allowed_length": 2, "dry_breakers": [3]}),
    ("dry, short", "flat", {"dry_multiplier": 0.3, "dry_base": 1.2, "dry_allowed_length": 1, "dry_last_n": 8,
                            "dry_breakers": []}),
    ("filters together", "peaked", {"temperature": 2.5, "top_n_sigma": 2.5, "top_k": 25, "top_p": 0.95, "min_p": 0.02,
                                    "typical_p": 0.9, "xtc_probability": 0.3, "xtc_threshold": 0.1}),
    ("top_k then typical", "flat", {"top_k": 20, "typical_p": 0.7}),
    ("temperature last", "peaked", {"temperature": 2.5, "top_p": 0.8, "min_p": 0.05,
                                    "samplers": ["top_p", "min_p", "temperature"]}),
    ("temperature left out", "flat", {"temperature": 0.3, "top_k": 8, "top_p": 0.5, "samplers": ["top_k"]}),
    ("xtc, then hot", "peaked", {"temperature": 0.4, "xtc_probability": 1, "xtc_threshold": 0.05, "top_k": 9,
                                 "samplers": ["xtc", "top_k", "temperature"]}),
    ("top_k behind top_p and n-sigma", "flat", {"temperature": 1.7, "top_k": 6, "top_p": 0.7, "top_n_sigma": 1.5,
                                                "samplers": ["temperature", "top_p", "top_n_sigma", "top_k"]}),
    ("no stage at all", "peaked", {"temperature": 0.2, "top_k": 2, "samplers": []}),
    ("mirostat", "peaked", {"mirostat_tau": 3, "mirostat_eta": 0.1, "mirostat_bound": 4.5, "temperature": 1.5}),
    ("mirostat, below the likeliest", "flat", {"mirostat_tau": 2, "mirostat_eta": 0.3, "mirostat_bound": 0.5}),
]


def make(name, logits, p):
    given = LOGITS[logits].astype(np.float32).astype(np.float64)
    n_prompt = 5
    x = penalised(given, HISTORY, n_prompt, p)
    case = {"name": name, "logits": logits, "sampling": p,
            "penalised": [float(np.float32(a)) if np.isfinite(a) else None for a in x]}
    if "mirostat_tau" in p:
        q, case["bounds"] = mirostat(x, p)
    else:
        q = distribution(x, p)
    case["probabilities"] = [float(f"{a:.9g}") for a in q]
    return case


if __name__ == "__main__":
    OUT.parent.mkdir(exist_ok=True)
    document = {
        "history": HISTORY, "n_prompt": 5,
        "logits": {name: [float(a) for a in x] for name, x in LOGITS.items()},
        "logprobs": {name: logprobs(x.astype(np.float32).astype(np.float64), 20) for name, x in LOGITS.items()},
        "cases": [make(*case) for case in CASES],
    }
    lines = ",\n".join(json.dumps(case) for case in document.pop("cases"))
    OUT.write_text(json.dumps(document)[:-1] + ', "cases": [\n' + lines + "\n]}\n")
