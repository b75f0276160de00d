#!/usr/bin/env python3
"""Makes tests/gguf/: blocks of every type with what they are worth, and the project's tokenizers as GGUF vocabularies.

    python3 -m venv venv && venv/bin/pip install gguf==0.19.0 sentencepiece==0.2.1 tokenizers==0.22.2
    venv/bin/python tests/goldens/make_gguf.py          # writes tests/gguf and src/tensor/block_grid_bits.c, the same bytes each time

The oracles are the `gguf` package (its writer for the format, gguf.dequantize for the blocks) and `sentencepiece` for
merging by score; tokenizers come from tests/tokenizers (make_tokenizers.py). Output:

    blocks.gguf           for each type a tensor of seeded random blocks, named as the type, and its values as NAME.f32;
                          under NAME.many one number that stands for the values of many more
    <style>.gguf          vocabulary, merges, flags of tests/tokenizers/<style>; golden.json there holds for it too
    spm-scores.gguf       llama2-style by scores alone, with many ties
    spm-scores.json       what sentencepiece makes of hard texts with it
    pre.json              how the pre-tokenizers that tokenizer.ggml.pre names cut hard texts, by `tokenizers`
"""
import json
import os
import struct
import unicodedata

import gguf
import numpy as np
import sentencepiece
from gguf import GGMLQuantizationType as Type

from tokenizers import Regex, pre_tokenizers

from make_tokenizers import CASE_TEXTS, LLAMA3_REGEX, ROOT as TOKENIZERS, hard_texts

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "gguf")
assert sentencepiece.__version__ == "0.2.1", sentencepiece.__version__

# ---- blocks ----

# Where the 16-bit floats of a block stand.
HALVES = {Type.Q8_0: [0], Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.IQ4_NL: [0],
          Type.Q2_K: [80, 82], Type.Q3_K: [108], Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208],
          Type.IQ4_XS: [0], Type.MXFP4: [], Type.IQ3_S: [0], Type.IQ3_XXS: [0], Type.IQ2_S: [0], Type.IQ2_XS: [0],
          Type.IQ2_XXS: [0], Type.IQ1_M: [], Type.IQ1_S: [0], Type.TQ2_0: [64], Type.TQ1_0: [52]}
# Zeros, subnormals, the smallest normal, one, the largest, the infinities, NaN.
EXTREMES = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x3C00, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00]
# Of MXFP4, whose scale is an exponent in byte 0: subnormal scales, one, values beyond the largest.
EXPONENTS = [0, 1, 2, 127, 128, 252, 253, 254, 255]


def random_scales(count, rng):
    """Scales as models have them; then one extreme in each of the later blocks."""
    scales = (rng.standard_normal(count) * 0.01).astype(np.float16).view(np.uint16)
    scales[3:] = rng.choice(EXTREMES, count - 3, replace=count - 3 > len(EXTREMES))
    return scales


def random_blocks(kind, rng):
    n_values, n_bytes = gguf.GGML_QUANT_SIZES[kind]
    count = 24 if n_values == 32 else 8
    blocks = rng.integers(0, 256, (count, n_bytes), dtype=np.uint8)
    for at in HALVES[kind]:
        blocks[:, at:at + 2] = random_scales(count, rng).view(np.uint8).reshape(count, 2)
    if kind == Type.IQ1_M:  # its float lies in the high halves of bytes 49, 51, 53, 55, the lowest bits first
        scales = random_scales(count, rng)
        for part in range(4):
            at = 49 + 2 * part
            blocks[:, at] = blocks[:, at] & 15 | (scales >> 4 * part & 15).astype(np.uint8) << 4
    if kind == Type.MXFP4:
        blocks[:len(EXPONENTS), 0] = EXPONENTS
    return blocks.reshape(-1)


def plain_numbers(kind, rng):
    size = gguf.GGML_QUANT_SIZES[kind][1]
    bits = rng.integers(0, 1 << 8 * size, 64, dtype=np.uint64)
    bits[:len(EXTREMES)] = [x << 8 * (size - 2) for x in EXTREMES]
    return np.frombuffer(b"".join(int(x).to_bytes(size, "little") for x in bits), dtype=np.uint8)


N_MANY = 512


def hash_of_many(kind):
    """Blocks of random_byte (tests/unit/random_blocks.h), which reach every point of a grid; their values as one number:
    FNV-1a's step (Fowler, Noll, Vo) for each value's bits, where zeros are one and NaN are one."""
    state, mask, data = kind + 1, (1 << 64) - 1, bytearray()
    for _ in range(N_MANY * gguf.GGML_QUANT_SIZES[kind][1]):
        state ^= state >> 12
        state ^= state << 25 & mask
        state ^= state >> 27
        data.append((state * 2685821657736338717 & mask) >> 56)
    values = gguf.dequantize(np.frombuffer(bytes(data), np.uint8), kind).astype(np.float32)
    bits = np.where(np.isnan(values), np.uint32(0x7FC00000), (values + np.float32(0)).view(np.uint32))
    out = 0xCBF29CE484222325
    for value in bits.tolist():
        out = (out ^ value) * 0x100000001B3 & mask
    return out


def write_grids():
    """src/tensor/block_grid_bits.c: block_grids.h says how."""
    parts = ["/* Made by tests/goldens/make_gguf.py from gguf 0.19.0; do not edit. */\n#include \"tensor/block_grids.h\"\n",
             "/* clang-format off */"]
    for name, kind in (("iq1", Type.IQ1_S), ("iq2_xxs", Type.IQ2_XXS), ("iq2_xs", Type.IQ2_XS), ("iq2_s", Type.IQ2_S),
                       ("iq3_xxs", Type.IQ3_XXS), ("iq3_s", Type.IQ3_S)):
        table = getattr(gguf.quants, kind.name)
        table.init_grid()
        levels, points = list(table.grid_map), table.grid.reshape(table.grid_shape)
        numbers = [sum(levels.index(level) * len(levels) ** place for place, level in enumerate(point)) for point in points]
        assert numbers == sorted(set(numbers))
        bits = sum(1 << number for number in numbers)
        n_words = (len(levels) ** points.shape[1] + 63) // 64
        words = ["0x%016x," % (bits >> 64 * word & (1 << 64) - 1) for word in range(n_words)]
        rows = ["\t" + " ".join(words[at:at + 6]) for at in range(0, n_words, 6)]
        parts.append("const uint64_t grid_bits_%s[] = {\n%s\n};" % (name, "\n".join(rows)))
    with open(os.path.join(OUT, "..", "..", "src", "tensor", "block_grid_bits.c"), "w", encoding="utf-8") as file:
        file.write("\n".join(parts) + "\n/* clang-format on */\n")


def write_blocks():
    rng = np.random.default_rng(20240601)
    writer = gguf.GGUFWriter(os.path.join(OUT, "blocks.gguf"), "none")
    writer.add_description("made by tests/goldens/make_gguf.py with gguf.dequantize")
    with np.errstate(all="ignore"):
        for kind in [Type.F32, Type.F16, Type.BF16, *HALVES]:
            raw = random_blocks(kind, rng) if kind in HALVES else plain_numbers(kind, rng)
            values = raw.view(np.float32) if kind == Type.F32 else gguf.dequantize(raw, kind).astype(np.float32)
            writer.add_tensor(kind.name, raw, raw_dtype=kind)
            writer.add_tensor(kind.name + ".f32", values.reshape(-1))
            if kind in HALVES:
                writer.add_uint64(kind.name + ".many", hash_of_many(kind))
    finish(writer)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# ---- tokenizers ----

PRE = {"gpt2-style": "gpt-2", "llama3-style": "llama-bpe", "qwen2-style": "qwen2"}
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)


def read_style(style):
    folder = os.path.join(TOKENIZERS, style)
    with open(os.path.join(folder, "tokenizer.json"), encoding="utf-8") as file:
        document = json.load(file)
    with open(os.path.join(folder, "tokenizer_config.json"), encoding="utf-8") as file:
        return document, json.load(file)


def tokens_of(document):
    """Texts and types by id."""
    vocab = dict(document["model"]["vocab"])
    added = {token["content"]: token for token in document["added_tokens"]}
    vocab.update((name, token["id"]) for name, token in added.items())
    tokens = sorted(vocab, key=vocab.get)
    assert [vocab[token] for token in tokens] == list(range(len(tokens)))
    byte_fallback = document["model"].get("byte_fallback", False)

    def kind(token):
        if token in added:
            special = added[token]["special"]
            return UNKNOWN if token == document["model"]["unk_token"] else CONTROL if special else USER_DEFINED
        return BYTE if byte_fallback and len(token) == 6 and token.startswith("<0x") else NORMAL

    return tokens, [kind(token) for token in tokens]


def write_vocabulary(name, style, scores=None):
    document, config = read_style(style)
    tokens, kinds = tokens_of(document)
    writer = gguf.GGUFWriter(os.path.join(OUT, name + ".gguf"), "llama")
    writer.add_tokenizer_model("gpt2" if style in PRE else "llama")
    if style in PRE:
        writer.add_tokenizer_pre(PRE[style])
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    if scores:
        writer.add_token_scores(scores(tokens))
    else:
        merges = document["model"]["merges"]
        writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    for key, add in (("bos_token", writer.add_bos_token_id), ("eos_token", writer.add_eos_token_id)):
        token = config[key]["content"] if isinstance(config[key], dict) else config[key]
        if token is not None:
            add(tokens.index(token))
    if document["model"]["unk_token"] is not None:
        writer.add_unk_token_id(tokens.index(document["model"]["unk_token"]))
    template = [piece for processor in (document["post_processor"] or {}).get("processors", [])
                for piece in processor.get("single", [])]
    writer.add_add_bos_token(config.get("add_bos_token", False) or any("SpecialToken" in piece for piece in template))
    writer.add_add_eos_token(False)
    finish(writer)
    return tokens, kinds


# ---- sentencepiece ----

def field(number, wire, payload):
    """One field of a protocol buffer."""
    return bytes(varint(number << 3 | wire)) + (bytes(varint(len(payload))) if wire == 2 else b"") + payload


def varint(value):
    while value > 127:
        yield value & 127 | 128
        value >>= 7
    yield value


def model_proto(tokens, kinds, scores):
    """sentencepiece_model.proto: pieces, trainer_spec (BPE, byte_fallback, ids), normalizer_spec (identity)."""
    out = b""
    for token, kind, score in zip(tokens, kinds, scores):
        out += field(1, 2, field(1, 2, token.encode()) + field(2, 5, struct.pack("<f", score)) +
                     field(3, 0, bytes(varint(kind))))
    ids = [tokens.index(name) for name in ("<unk>", "<s>", "</s>")]
    trainer = field(3, 0, b"\x02") + field(35, 0, b"\x01")
    trainer += b"".join(field(40 + i, 0, bytes(varint(ident))) for i, ident in enumerate(ids))
    normalizer = field(1, 2, b"identity") + field(3, 0, b"\x01") + field(4, 0, b"\x00") + field(5, 0, b"\x01")
    return out + field(2, 2, trainer) + field(3, 2, normalizer)


def tied_scores(tokens):
    return [-float(index // 5) for index in range(len(tokens))]


def write_spm():
    tokens, kinds = write_vocabulary("spm-scores", "llama2-style", tied_scores)
    oracle = sentencepiece.SentencePieceProcessor(model_proto=model_proto(tokens, kinds, tied_scores(tokens)))
    cases = [{"text": text, "ids": oracle.encode(text)} for text in hard_texts()]
    document = {"oracle": "sentencepiece 0.2.1", "made_by": "tests/goldens/make_gguf.py", "cases": cases}
    with open(os.path.join(OUT, "spm-scores.json"), "w", encoding="utf-8") as file:
        json.dump(document, file, ensure_ascii=True, separators=(",", ":"))
        file.write("\n")


# ---- pre-tokenizers, in the words of the models' tokenizer.json ----

TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?"
          r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|"
          r"\s+(?!\S)|\s+")
GPT4O = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK3 = ("[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
             " ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+")
# Letters with case, of the scripts that have it: what DeepSeek's list spells out.
CASED = ("A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚ\u1e00-"
         "\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4"
         "\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc"
         "ℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃")
CJK = "[一-龥\u0800-一가-\ud7ff]+"
LEVEL = dict(add_prefix_space=False)


def cuts(*patterns, regex=False, digits=False):
    steps = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
    steps += [pre_tokenizers.Digits(individual_digits=True)] * digits
    return pre_tokenizers.Sequence(steps + [pre_tokenizers.ByteLevel(use_regex=regex, **LEVEL)])


def pre_tokenizers_by_name():
    qwen2 = LLAMA3_REGEX.replace("{1,3}", "")
    return {
        "llama-bpe": cuts(LLAMA3_REGEX), "smaug-bpe": cuts(LLAMA3_REGEX), "qwen2": cuts(qwen2),
        "deepseek-r1-qwen": cuts(qwen2), "gpt-2": cuts(regex=True), "smollm": cuts(digits=True, regex=True),
        "tekken": cuts(TEKKEN), "gpt-4o": cuts(GPT4O),
        "deepseek-llm": cuts("[\r\n]", "\\s?[" + CASED + "]+", "\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+", "\\s+$", CJK, "\\p{N}+"),
        "deepseek-coder": cuts("[\r\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", CJK, digits=True),
        "deepseek-v3": cuts("\\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+", DEEPSEEK3),
        # No model's own; what llama.cpp does.
        "default": cuts("[\\p{P}$+<=>^~|]+", "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)",
                        "\\p{N}+", "[0-9][0-9][0-9]"),
    }


def write_pre():
    # NFC goes before the cutting of qwen2 and is not part of it: texts that it leaves alone.
    texts = [text for text in CASE_TEXTS + ["O'Neill SHE'LL he's DON'T", "x1234567y 1,234.5", "http://a.b/c?d=e/\n//\r\n",
                                            "ひらがなカタカナ漢字한글ｆｕｌｌ！　wide", "GHz iPhone ÀÉß ǅ ʰa"]
             if text and unicodedata.is_normalized("NFC", text)]
    rows = {name: [[piece for piece, _ in stage.pre_tokenize_str(text)] for text in texts]
            for name, stage in pre_tokenizers_by_name().items()}
    document = {"oracle": "tokenizers 0.22.2", "made_by": "tests/goldens/make_gguf.py", "texts": texts, "pieces": rows}
    with open(os.path.join(OUT, "pre.json"), "w", encoding="utf-8") as file:
        json.dump(document, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")


def main():
    os.makedirs(OUT, exist_ok=True)
    write_blocks()
    write_grids()
    for style in ("llama2-style", *PRE):
        write_vocabulary(style, style)
    write_spm()
    write_pre()


if __name__ == "__main__":
    main()
