#!/usr/bin/env python3
"""Makes tests/tokenizers/configs.json: folders of a small tokenizer.json with all kinds of files beside it, and what
AutoTokenizer makes of them.

    python3 -m venv venv && venv/bin/pip install transformers==5.24.0 tokenizers==0.23.3
    venv/bin/python tests/goldens/make_tokenizer_configs.py     # the same bytes each time

The tokenizer is made here: GPT-2's alphabet, eight merges. Each case has the files' text, so that the test can write the
folder again; ids are those of tokenizer(text), decoded is decode(ids, skip_special_tokens=True).
"""
import json
import os
import random
import shutil
import sys
import tempfile

os.environ["TRANSFORMERS_VERBOSITY"] = "critical"
os.environ["HF_HUB_OFFLINE"] = "1"
import tokenizers
import transformers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoTokenizer

assert (transformers.__version__, tokenizers.__version__) == ("5.24.0", "0.23.3")
TARGET = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tokenizers", "configs.json")

MERGES = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("a", "b"), ("Ġ", "ab"), ("d", "a"), ("da", "y"), ("<", "|")]
TEXTS = ["the day <|tool|> the", "ab</s> \n <s>the<pad> the <unk>", "ab<X Y> ab [MASK]s é e\u0301 <|end|>day theday",
         "<|end|> <|end|>the  the <sp> x <new>", " the  [MASK]  ab\n\n</s>  the", "theday day ab abday <|to|>"]
CONTENTS = ["<|tool|>", "<|end|>", "</s>", "<s>", "<unk>", "<pad>", "the", "ab", "<X Y>", "[MASK]", "é", "Ġthe", " <sp> ",
            "day"]
LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|"
         r"\s+")
FAST = "PreTrainedTokenizerFast"


def model():
    vocab = {name: i for i, name in enumerate(["<unk>", "<s>", "</s>"])}
    for token in sorted(ByteLevel.alphabet()) + ["".join(pair) for pair in MERGES]:
        vocab[token] = len(vocab)
    return {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "", "end_of_word_suffix": "",
            "fuse_unk": False, "byte_fallback": False, "vocab": vocab, "merges": [list(pair) for pair in MERGES]}


MODEL = model()
N = len(MODEL["vocab"])


def token(content, **flags):
    return {"content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
            "special": True, **flags}


def given(content, **flags):
    return {"__type": "AddedToken", "content": content, **flags}


FILE_TOKENS = [{"id": 1, **token("<s>")}, {"id": 2, **token("</s>")}]


def case(name, config=None, mapped=None, listed=None, added=FILE_TOKENS, pre_tokenizer=LEVEL, normalizer=None, padding=None):
    template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                                                         {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}
    stages = {"truncation": None, "padding": padding, "added_tokens": added, "normalizer": normalizer,
              "pre_tokenizer": pre_tokenizer, "post_processor": template, "decoder": LEVEL}
    files = {"tokenizer_config.json": config, "special_tokens_map.json": mapped, "added_tokens.json": listed}
    return {"name": name, "stages": stages, "files": {k: v for k, v in files.items() if v is not None}}


def decoder_cases():
    entry = lambda number, *args, **flags: {"tokenizer_class": FAST, "added_tokens_decoder": {str(number): token(*args, **flags)}}
    out = [case("decoder-new", entry(N, "<|tool|>")), case("decoder-far", entry(N + 700, "<|tool|>")),
           case("decoder-plain", entry(N, "<|tool|>", special=False)),
           case("decoder-in-vocabulary", entry(MODEL["vocab"]["day"], "day")),
           case("decoder-in-vocabulary-word", entry(5, "the", special=False, single_word=True)),
           case("decoder-empty", {"tokenizer_class": FAST, "added_tokens_decoder": {}, "eos_token": "<|end|>"}),
           case("decoder-few-keys", {"added_tokens_decoder": {str(N): {"content": "<|tool|>"}}}),
           case("decoder-few-keys-special", {"added_tokens_decoder": {str(N): {"content": "<X Y>", "special": True}}}),
           case("decoder-named", {"eos_token": "<|end|>", "added_tokens_decoder": {
               str(N): {"content": "<|end|>", "special": False, "rstrip": True}}}),
           case("decoder-order", {"added_tokens_decoder": {
               str(N + 9): token("<|tool|>"), str(N + 1): token("<X Y>"), str(N + 10): token("[MASK]")}}),
           case("decoder-hides-map", {"added_tokens_decoder": {"2": token("</s>")}}, {"pad_token": "<pad>"}, {"<|tool|>": N})]
    for flag in ("lstrip", "rstrip", "normalized", "single_word"):
        out.append(case("decoder-overrides-" + flag, entry(2, "</s>", **{flag: True})))
        out.append(case("decoder-new-" + flag, entry(N, "[MASK]", **{flag: True})))
        out.append(case("decoder-takes-away-" + flag, entry(2, "</s>"), added=[{"id": 2, **token("</s>", **{flag: True})}]))
    out.append(case("decoder-not-special", entry(2, "</s>", special=False)))
    out.append(case("decoder-now-special", entry(2, "</s>"), added=[{"id": 2, **token("</s>", special=False)}]))
    out.append(case("decoder-lowercase", entry(N, "[MASK]", normalized=True, special=False), normalizer={"type": "Lowercase"}))
    return out


def name_cases():
    out = [case(f"name-{role}", {"tokenizer_class": FAST, f"{role}_token": "<|tool|>"})
           for role in ("bos", "eos", "unk", "sep", "pad", "cls", "mask", "image")]
    out += [case("name-object", {"pad_token": given("<pad>", lstrip=True, rstrip=True, normalized=False, special=False)}),
            case("name-object-of-own", {"audio_token": given("<|tool|>", lstrip=True, special=False)}),
            case("name-null", {"pad_token": None, "unk_token": None}),
            case("name-order", {"mask_token": "[MASK]", "image_token": "<|tool|>", "pad_token": "<pad>", "bos_token": "<X Y>"}),
            case("name-makes-special", {"eos_token": "</s>"}, added=[{"id": 2, **token("</s>", special=False)}]),
            case("name-in-vocabulary", {"pad_token": "day", "unk_token": "<unk>"}, added=[]),
            case("additional", {"additional_special_tokens": ["<|tool|>", "<|end|>", "the"]}),
            case("additional-objects", {"additional_special_tokens": [given("<|tool|>", special=True, lstrip=True),
                                                                      given("<|end|>", special=False)]}),
            case("extra", {"extra_special_tokens": ["<|tool|>", "[MASK]"], "additional_special_tokens": ["<|end|>"]}),
            case("extra-named", {"extra_special_tokens": {"video_token": "<|tool|>", "other": given("<|end|>", rstrip=True)},
                                 "additional_special_tokens": ["<X Y>"]}),
            case("extra-empty", {"extra_special_tokens": [], "additional_special_tokens": ["<X Y>"]}),
            case("padding", {}, padding={"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None,
                                         "pad_id": 0, "pad_type_id": 0, "pad_token": "<new>"}),
            case("split", {"split_special_tokens": True, "pad_token": "<pad>"}),
            case("split-not", {"split_special_tokens": False}),
            case("ends-are-the-processors", {"tokenizer_class": FAST, "bos_token": "<s>", "eos_token": "</s>",
                                             "add_bos_token": False, "add_eos_token": True})]
    return out


def older_cases():
    return [case("map", None, {"eos_token": "<|end|>", "pad_token": {"content": "<pad>", "lstrip": True, "normalized": False}}),
            case("map-wins", {"pad_token": "<pad>"}, {"pad_token": "<new>", "additional_special_tokens": ["<|tool|>"]}),
            case("map-own-role", {}, {"image_token": {"content": "<|tool|>", "rstrip": True}}),
            case("map-loses", {"additional_special_tokens": []}, {"additional_special_tokens": ["<|tool|>"]}),
            case("map-extra", {"extra_special_tokens": ["<X Y>"]}, {"extra_special_tokens": ["<|tool|>", {"content": "<|end|>"}]}),
            case("list", None, None, {"<|tool|>": N + 1, "<|end|>": N}),
            case("list-special", {"pad_token": "<|tool|>", "additional_special_tokens": ["<|end|>"]}, None,
                 {"<|tool|>": N + 1, "<|end|>": N, "[MASK]": N + 2}),
            case("list-same-ids", None, None, {"<|tool|>": 1, "the": 2, "<X Y>": N, "[MASK]": N}),
            case("list-again", {"eos_token": "</s>"}, None, {"</s>": N, "ab": 0})]


def class_cases():
    qwen = {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": QWEN2}, "behavior": "Isolated", "invert": False}, dict(LEVEL, use_regex=False)]}
    out = []
    for space in (True, False, None):
        setting = {} if space is None else {"add_prefix_space": space}
        for in_file in (True, False):
            names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"}
            level = dict(LEVEL, add_prefix_space=in_file)
            out.append(case(f"prefix-gpt2-{space}-{in_file}", {"tokenizer_class": "GPT2Tokenizer", **names, **setting},
                            pre_tokenizer=level))
            steps = dict(qwen, pretokenizers=[qwen["pretokenizers"][0], dict(level, use_regex=False)])
            out.append(case(f"prefix-qwen2-{space}-{in_file}", {"tokenizer_class": "Qwen2Tokenizer", **names, **setting},
                            pre_tokenizer=steps, normalizer={"type": "NFC"}))
    return out


def random_case(rng, number):
    def flags(share):
        return {f: rng.random() < 0.35 for f in ("lstrip", "rstrip", "normalized", "single_word", "special")
                if rng.random() < share}

    def name():
        content = rng.choice(CONTENTS)
        return content if rng.random() < 0.5 else given(content, **flags(0.8))
    config, mapped, listed = {}, None, None
    if rng.random() < 0.5:
        config["added_tokens_decoder"] = {
            str(rng.choice([rng.randint(0, 9), N + rng.randint(0, 9)])): {"content": rng.choice(CONTENTS), **flags(1)}
            for _ in range(rng.randint(0, 5))}
    for role in ("bos", "eos", "unk", "sep", "pad", "cls", "mask", "image"):
        if rng.random() < 0.25:
            config[role + "_token"] = name()
    for key in ("additional_special_tokens", "extra_special_tokens"):
        if rng.random() < 0.3:
            config[key] = [name() for _ in range(rng.randint(0, 3))]
    if rng.random() < 0.15:
        config["split_special_tokens"] = True
    if rng.random() < 0.4:
        mapped = {role + "_token": rng.choice([rng.choice(CONTENTS), {"content": rng.choice(CONTENTS), **flags(0.7)}])
                  for role in ("eos", "pad", "audio") if rng.random() < 0.5}
    if rng.random() < 0.3:
        listed = {rng.choice(CONTENTS): rng.choice([rng.randint(0, 8), N + rng.randint(0, 6)]) for _ in range(3)}
    added = [t for t in FILE_TOKENS if rng.random() < 0.7]
    return case(f"random-{number}", config, mapped, listed, added=added)


def answer(row):
    folder = tempfile.mkdtemp()
    document = {"version": "1.0", **row["stages"], "model": MODEL}
    for name, value in [("tokenizer.json", document), *row["files"].items()]:
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            json.dump(value, file)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    shutil.rmtree(folder)
    ids = [tokenizer(text)["input_ids"] for text in TEXTS]
    if row["stages"]["normalizer"] == {"type": "Lowercase"}:
        return {"ids": ids}  # tokenizers 0.22.2 decodes a normalized token as it is spelled, 0.23.3 in lower case
    return {"ids": ids, "decoded": [tokenizer.decode(row, skip_special_tokens=True) for row in ids]}


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def main():
    rng = random.Random(20261128)
    cases = decoder_cases() + name_cases() + older_cases() + class_cases() + [random_case(rng, i) for i in range(60)]
    rows = []
    for row in cases:
        files = {name: compact(value) for name, value in row["files"].items()}
        rows.append(compact({"name": row["name"], "stages": compact(row["stages"])[1:-1], "files": files, **answer(row)}))
    head = {"oracle": "transformers 5.24.0, tokenizers 0.23.3", "made_by": "tests/goldens/make_tokenizer_configs.py",
            "texts": TEXTS, "model": compact(MODEL)}
    with open(TARGET, "w", encoding="utf-8", newline="\n") as file:
        file.write(compact(head)[:-1] + ',"cases":[\n' + ",\n".join(rows) + "\n]}\n")


if __name__ == "__main__":
    sys.exit(main())
