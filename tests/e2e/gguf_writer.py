"""GGUF files of a SafeTensors model folder, as a converter would write them, for the end-to-end tests. The format is
github.com/ggml-org/ggml/blob/master/docs/gguf.md; standard library only."""

import array
import json
import struct

U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9  # types of values
TYPES = {"F32": 0, "F16": 1, "Q8_0": 8, "Q4_K": 12, "NVFP4": 40, "BF16": 30}
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6  # types of tokens

NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}


# ---- from SafeTensors ----


def read_tensors(folder):
    """name -> (dtype, shape, bytes)"""
    data = (folder / "model.safetensors").read_bytes()
    n_header = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + n_header])
    found = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = (8 + n_header + at for at in entry["data_offsets"])
            found[name] = (entry["dtype"], entry["shape"], data[begin:end])
    return found


def name_of(name):
    if name.startswith("model.layers."):
        layer, rest = name[len("model.layers."):].split(".", 1)
        return "blk.%s.%s.weight" % (layer, NAMES[rest.removesuffix(".weight")])
    return {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
            "lm_head.weight": "output.weight"}[name]


def pair_rows(raw, n_rows, head_dim):
    """Rows of a llama's q and k: those of a head's second half come between those of its first."""
    n, half = len(raw) // n_rows, head_dim // 2
    order = [head + i % 2 * half + i // 2 for head in range(0, n_rows, head_dim) for i in range(head_dim)]
    return b"".join(raw[row * n:(row + 1) * n] for row in order)


def floats_of(raw):
    """bf16 -> f32"""
    wide = bytearray(2 * len(raw))
    wide[2::4], wide[3::4] = raw[0::2], raw[1::2]
    return array.array("f", bytes(wide))


def q8_0(values):
    """Blocks of 32: a scale in f16, then bytes."""
    out = []
    for at in range(0, len(values), 32):
        block = values[at:at + 32]
        scale = max(max(block), -min(block)) / 127
        inverse = 1 / scale if scale else 0.0
        out.append(struct.pack("<e32b", scale, *[round(value * inverse) for value in block]))
    return b"".join(out)


def half(value):
    """The value as 16 bits have it, and their bytes."""
    raw = struct.pack("<e", value)
    return struct.unpack("<e", raw)[0], raw


def q4_k(values):
    """Blocks of 256 in groups of 32, which span their least to their greatest value, and zero: steps and minima are
    6-bit shares of the block's largest, in f16."""
    out = bytearray()
    for at in range(0, len(values), 256):
        groups = [values[at + i:at + i + 32] for i in range(0, 256, 32)]
        lows = [-min(0, *group) for group in groups]
        steps = [(max(0, *group) + low) / 15 for group, low in zip(groups, lows)]
        step_unit, raw_step = half(max(steps) / 63)
        low_unit, raw_low = half(max(lows) / 63)
        step_shares = [min(63, round(step / step_unit)) if step_unit else 0 for step in steps]
        low_shares = [min(63, round(low / low_unit)) if low_unit else 0 for low in lows]
        codes = []
        for group, share, low in zip(groups, step_shares, low_shares):
            inverse = 1 / (step_unit * share) if step_unit * share else 0.0
            codes.append([max(0, min(15, round((value + low_unit * low) * inverse))) for value in group])
        out += raw_step + raw_low + pack_shares(step_shares, low_shares)
        for first, second in zip(codes[0::2], codes[1::2]):
            out += bytes(a | b << 4 for a, b in zip(first, second))
    return bytes(out)


def pack_shares(steps, lows):
    """Eight and eight numbers of 6 bits in 12 bytes: the later four of each leave their upper 2 bits with the first."""
    first = [shares[i] | shares[i + 4] >> 4 << 6 for shares in (steps, lows) for i in range(4)]
    return bytes(first + [steps[i] & 15 | (lows[i] & 15) << 4 for i in range(4, 8)])


MAKERS = {"Q8_0": q8_0, "Q4_K": q4_k}


def tensors_of(folder, kind_of=lambda name: "BF16"):
    """(name, type, shape, bytes) of a llama whose weights are bf16: norms in F32, matrices of the type that kind_of gives."""
    config = json.loads((folder / "config.json").read_text())
    out = []
    for name, (dtype, shape, raw) in sorted(read_tensors(folder).items()):
        assert dtype == "BF16", dtype
        to = name_of(name)
        if "attn_q." in to or "attn_k." in to:
            raw = pair_rows(raw, shape[0], config["head_dim"])
        if len(shape) == 1:
            out.append((to, "F32", shape, floats_of(raw).tobytes()))
        elif kind_of(to) == dtype:
            out.append((to, dtype, shape, raw))
        else:
            out.append((to, kind_of(to), shape, MAKERS[kind_of(to)](floats_of(raw))))
    return out


def vocabulary_of(path, pre=None):
    """key -> (type, value) of a tokenizer.json: SentencePiece's, merged by scores, or byte-level BPE that `pre` cuts."""
    document = json.loads(path.read_text())
    model, added = document["model"], {token["content"]: token for token in document["added_tokens"]}
    vocab = model["vocab"] | {name: token["id"] for name, token in added.items()}
    tokens = sorted(vocab, key=vocab.get)
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]

    def kind(token):
        if token in added:
            if token == model["unk_token"]:
                return UNKNOWN
            return CONTROL if added[token]["special"] else USER_DEFINED
        return BYTE if not pre and len(token) == 6 and token.startswith("<0x") else NORMAL

    values = {
        "tokenizer.ggml.model": (STRING, "gpt2" if pre else "llama"),
        "tokenizer.ggml.pre": (STRING, pre or "default"),
        "tokenizer.ggml.tokens": (STRING, tokens),
        "tokenizer.ggml.token_type": (I32, [kind(token) for token in tokens]),
    }
    if pre:
        return values | {"tokenizer.ggml.merges": (STRING, [" ".join(pair) for pair in pairs])}
    ranks = {left + right: rank for rank, (left, right) in reversed(list(enumerate(pairs)))}
    return values | {"tokenizer.ggml.scores": (F32, [-float(ranks.get(token, len(ranks))) for token in tokens])}


def values_of(folder):
    """key -> (type, value): the model's shape and its vocabulary."""
    config = json.loads((folder / "config.json").read_text())
    return vocabulary_of(folder / "tokenizer.json") | {
        "general.architecture": (STRING, "llama"),
        "llama.embedding_length": (U32, config["hidden_size"]),
        "llama.feed_forward_length": (U32, config["intermediate_size"]),
        "llama.block_count": (U32, config["num_hidden_layers"]),
        "llama.attention.head_count": (U32, config["num_attention_heads"]),
        "llama.attention.head_count_kv": (U32, config["num_key_value_heads"]),
        "llama.attention.layer_norm_rms_epsilon": (F32, config["rms_norm_eps"]),
        "llama.rope.dimension_count": (U32, config["head_dim"]),
        "llama.rope.freq_base": (F32, config["rope_theta"]),
        "llama.context_length": (U32, config["max_position_embeddings"]),
        "llama.vocab_size": (U32, config["vocab_size"]),
        "tokenizer.ggml.bos_token_id": (U32, config["bos_token_id"]),
        "tokenizer.ggml.eos_token_id": (U32, config["eos_token_id"]),
        "tokenizer.ggml.add_bos_token": (BOOL, True),
        "tokenizer.ggml.add_eos_token": (BOOL, False),
    }


# ---- the file ----


def string(text):
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def one(kind, value):
    return string(value) if kind == STRING else struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}[kind], value)


def value(kind, content):
    if not isinstance(content, list):
        return struct.pack("<I", kind) + one(kind, content)
    return struct.pack("<IIQ", ARRAY, kind, len(content)) + b"".join(one(kind, item) for item in content)


def write(path, values, tensors, version=3, alignment=32):
    """tensors: (name, type, shape, bytes), outermost dimension first."""
    if alignment != 32:
        values = values | {"general.alignment": (U32, alignment)}
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(values))
    head += b"".join(string(key) + value(*content) for key, content in values.items())
    data = b""
    for name, kind, shape, raw in tensors:
        dims = b"".join(struct.pack("<Q", n) for n in reversed(shape))
        head += string(name) + struct.pack("<I", len(shape)) + dims + struct.pack("<IQ", TYPES[kind], len(data))
        data += raw + b"\0" * (-len(raw) % alignment)
    path.write_bytes(head + b"\0" * (-len(head) % alignment) + data)
    return path


def write_split(folder, name, values, tensors, n_files):
    """A set of n_files; the path of the first."""
    paths = [folder / ("%s-%05d-of-%05d.gguf" % (name, i + 1, n_files)) for i in range(n_files)]
    for i, path in enumerate(paths):
        here = {"split.no": (U32, i), "split.count": (U32, n_files), "split.tensors.count": (I32, len(tensors))}
        write(path, (values if i == 0 else {}) | here, tensors[i::n_files])
    return paths[0]
