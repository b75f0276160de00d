#!/usr/bin/env python3
"""Writes a GGUF file of the shape of `make bench`'s model (TinyLlama-1.1B) whose matrices are random blocks of one type.

    make_gguf.py Q5_K model.gguf

For `tallow bench --model model.gguf`. Values lie within about -0.04 ... 0.04; the same 4,096 blocks fill every matrix. The
head and the embedding are of the same type, and there is no vocabulary worth the name.
"""
import random
import struct
import sys

LAYERS, HIDDEN, INNER, HEADS, KV_HEADS, HEAD_DIM, VOCAB = 22, 2048, 5632, 32, 4, 64, 32000
SIZE = 0.04
# Name: number in files, values and bytes of a block, where its f16 scale stands and what it is, the same of a minimum.
TYPES = {
    "Q8_0": (8, 32, 34, 0, 1 / 127, None, 0),
    "Q4_0": (2, 32, 18, 0, 1 / 8, None, 0),
    "Q4_1": (3, 32, 20, 0, 1 / 8, 2, -0.94),
    "Q5_0": (6, 32, 22, 0, 1 / 16, None, 0),
    "Q5_1": (7, 32, 24, 0, 1 / 16, 2, -1),
    "Q2_K": (10, 256, 84, 80, 1 / 24, 82, 1.5 / 24),
    "Q3_K": (11, 256, 110, 108, 1 / 64, None, 0),
    "Q4_K": (12, 256, 144, 0, 1 / 512, 2, 7.5 / 512),
    "Q5_K": (13, 256, 176, 0, 1 / 1024, 2, 15.5 / 1024),
    "Q6_K": (14, 256, 210, 208, 1 / 2048, None, 0),
    "IQ4_NL": (20, 32, 18, 0, 1 / 127, None, 0),
    "IQ4_XS": (23, 256, 136, 0, 1 / 4096, None, 0),
    "MXFP4": (39, 32, 17, None, 0, None, 0),
    "BF16": (30, 32, 64, None, 0, None, 0),
}
F32 = 0
U32_KEY, F32_KEY, STRING_KEY, ARRAY_KEY = 4, 6, 8, 9


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def key(name, value):
    if isinstance(value, str):
        return text(name) + struct.pack("<I", STRING_KEY) + text(value)
    if isinstance(value, float):
        return text(name) + struct.pack("<If", F32_KEY, value)
    if isinstance(value, int):
        return text(name) + struct.pack("<II", U32_KEY, value)
    items = b"".join(text(item) if isinstance(item, str) else struct.pack("<f", item) for item in value)
    kind = STRING_KEY if isinstance(value[0], str) else F32_KEY
    return text(name) + struct.pack("<IIQ", ARRAY_KEY, kind, len(value)) + items


def keys():
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    pieces += [f"token{number}" for number in range(len(pieces), VOCAB)]
    values = {
        "general.architecture": "llama",
        "llama.embedding_length": HIDDEN,
        "llama.feed_forward_length": INNER,
        "llama.block_count": LAYERS,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
        "llama.rope.dimension_count": HEAD_DIM,
        "llama.context_length": 16384,
        "llama.vocab_size": VOCAB,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.freq_base": 10000.0,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": pieces,
        "tokenizer.ggml.scores": [-float(number) for number in range(VOCAB)],
        "tokenizer.ggml.bos_token_id": 1,
    }
    return [key(name, value) for name, value in values.items()]


def tensors():
    """Name, rows (0: a vector), columns."""
    yield "token_embd.weight", VOCAB, HIDDEN
    yield "output.weight", VOCAB, HIDDEN
    yield "output_norm.weight", 0, HIDDEN
    for layer in range(LAYERS):
        for name, rows, columns in (("attn_norm", 0, HIDDEN), ("ffn_norm", 0, HIDDEN), ("attn_q", HIDDEN, HIDDEN),
                                    ("attn_k", KV_HEADS * HEAD_DIM, HIDDEN), ("attn_v", KV_HEADS * HEAD_DIM, HIDDEN),
                                    ("attn_output", HIDDEN, HIDDEN), ("ffn_gate", INNER, HIDDEN),
                                    ("ffn_up", INNER, HIDDEN), ("ffn_down", HIDDEN, INNER)):
            yield f"blk.{layer}.{name}.weight", rows, columns


def blocks(kind, n):
    _, n_values, n_bytes, scale_at, scale, minimum_at, minimum = TYPES[kind]
    source = random.Random(7)
    data = bytearray(source.randbytes(n * n_bytes))
    if kind == "BF16":
        return b"".join(struct.pack("<f", source.uniform(-SIZE, SIZE))[2:] for _ in range(n * n_values))
    if kind == "MXFP4":
        data[::n_bytes] = bytes(source.choice((119, 120)) for _ in range(n))  # powers of 2: up to 6 times 2^(e - 127)
        return bytes(data)
    for block in range(n):
        size = SIZE * source.uniform(0.5, 1.5)
        struct.pack_into("<e", data, block * n_bytes + scale_at, scale * size)
        if minimum_at is not None:
            struct.pack_into("<e", data, block * n_bytes + minimum_at, minimum * size)
    return bytes(data)


def main(kind, path):
    number, n_values, n_bytes = TYPES[kind][:3]
    infos, offset, sizes = [], 0, []
    for name, rows, columns in tensors():
        size = rows * columns // n_values * n_bytes if rows else 4 * columns
        dims = (columns, rows) if rows else (columns,)
        infos.append(text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, number if rows else F32, offset))
        sizes.append((rows, size))
        offset += (size + 31) // 32 * 32
    head = b"".join(keys())
    file_head = b"GGUF" + struct.pack("<IQQ", 3, len(infos), len(keys())) + head + b"".join(infos)
    chunk = blocks(kind, 4096)
    with open(path, "wb") as file:
        file.write(file_head + bytes(-len(file_head) % 32))
        for rows, size in sizes:
            data = chunk * (size // len(chunk)) + chunk[: size % len(chunk)] if rows else struct.pack("<f", 1) * (size // 4)
            file.write(data + bytes(-size % 32))


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in TYPES:
        sys.exit(__doc__ + "\nTypes: " + ", ".join(TYPES))
    main(*sys.argv[1:])
