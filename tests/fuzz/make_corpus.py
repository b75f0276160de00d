#!/usr/bin/env python3
"""Writes small valid files of every kind into tests/fuzz/corpus, from which fuzzing starts.

    python3 tests/fuzz/make_corpus.py && make fuzz FUZZ_SECONDS=600 && make fuzz-corpus

The committed corpus is what `make fuzz-corpus` keeps of these and of what fuzzing found. Standard library only.
"""
import json
import pathlib
import struct

ROOT = pathlib.Path(__file__).parent
SEPARATOR = b"\n=====\n"  # fuzz.h

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
NUMBERS = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "?", U64: "Q", I64: "q", F64: "d"}
# Bytes of a block and values in it, by ggml's number of the type.
BLOCKS = {0: (4, 1), 1: (2, 1), 2: (18, 32), 3: (20, 32), 6: (22, 32), 7: (24, 32), 8: (34, 32), 10: (84, 256),
          11: (110, 256), 12: (144, 256), 13: (176, 256), 14: (210, 256), 16: (66, 256), 17: (74, 256),
          18: (98, 256), 19: (50, 256), 20: (18, 32), 21: (110, 256), 22: (82, 256), 23: (136, 256), 29: (56, 256),
          30: (2, 1), 34: (54, 256), 35: (66, 256), 39: (17, 32)}


def write(target, name, *parts):
    folder = ROOT / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    parts = [p if isinstance(p, bytes) else json.dumps(p, ensure_ascii=False).encode() for p in parts]
    (folder / name).write_bytes(SEPARATOR.join(parts))


# ---- config ----

LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 96,
         "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 128,
         "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "hidden_act": "silu",
         "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False, "torch_dtype": "bfloat16"}


def family(name):
    return {**LLAMA, "architectures": [name + "ForCausalLM"], "model_type": name.lower()}


def configs():
    write("config", "plain", LLAMA)
    write("config", "defaults", {"model_type": "llama"})
    write("config", "generation", {**LLAMA, "eos_token_id": [2, 3]}, {"eos_token_id": [4, 5], "bos_token_id": 1})
    write("config", "linear", {**LLAMA, "rope_scaling": {"type": "linear", "factor": 4.0}, "head_dim": 32})
    write("config", "llama3", {**LLAMA, "attention_bias": True, "mlp_bias": True, "rope_scaling": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64}})
    write("config", "newest", {**LLAMA, "dtype": "float16", "partial_rotary_factor": 1.0, "rope_parameters": {
        "rope_theta": 10000.0, "rope_type": "default"}})
    write("config", "dynamic", {**LLAMA, "rope_scaling": {"type": "dynamic", "factor": 8.0}})
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
    write("config", "yarn", {**LLAMA, "rope_scaling": {**yarn, "attention_factor": 0.9, "beta_fast": 16, "beta_slow": 2}})
    write("config", "yarn-mscale", {**LLAMA, "rope_scaling": {**yarn, "mscale": 1.2, "mscale_all_dim": 0.7,
                                                              "truncate": False}})
    write("config", "phi3", {**family("Phi3"), "sliding_window": 31, "partial_rotary_factor": 0.5, "rope_scaling": {
        "type": "longrope", "short_factor": [1, 1, 1.5, 2], "long_factor": [1, 2, 4, 8.5]},
        "original_max_position_embeddings": 64})
    write("config", "mistral", {**family("Mistral"), "sliding_window": 31, "head_dim": 32})
    write("config", "qwen2", {**family("Qwen2"), "sliding_window": 31, "use_sliding_window": True,
                              "max_window_layers": 1})
    write("config", "qwen3", {**family("Qwen3"), "sliding_window": 31, "use_sliding_window": True,
                              "layer_types": ["full_attention", "sliding_attention"]})
    write("config", "quantized", {**LLAMA, "quantization_config": {"quant_method": "gptq", "bits": 4}})
    write("config", "odd", {"architectures": [], "model_type": None, "text": "\u0000\"\\\U0001F600", "n": [1e5, -0.5]})


# ---- SafeTensors ----

WEIGHTS = {"model.embed_tokens.weight": [3, 2], "model.norm.weight": [2], "lm_head.weight": [3, 2],
           **{"model.layers.0." + name: shape for name, shape in {
               "self_attn.q_proj.weight": [2, 2], "self_attn.k_proj.weight": [2, 2],
               "self_attn.v_proj.weight": [2, 2], "self_attn.o_proj.weight": [2, 2], "mlp.gate_proj.weight": [2, 2],
               "mlp.up_proj.weight": [2, 2], "mlp.down_proj.weight": [2, 2], "input_layernorm.weight": [2],
               "post_attention_layernorm.weight": [2]}.items()}}


def safetensors(tensors, metadata=None, padding=0):
    sizes = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I8": 1, "F8_E4M3": 1}
    header, at = {"__metadata__": metadata} if metadata else {}, 0
    for name, (dtype, shape) in tensors.items():
        n_bytes = sizes[dtype]
        for dim in shape:
            n_bytes *= dim
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + n_bytes]}
        at += n_bytes
    text = json.dumps(header, separators=(",", ":")).encode() + b" " * padding
    return struct.pack("<Q", len(text)) + text + bytes(i % 251 for i in range(at))


def weight_files():
    types = {"a": ("F32", [2, 3]), "b": ("I8", [1]), "c": ("BF16", [1, 1, 2, 2]), "d": ("F16", []), "e": ("F32", [0, 7]),
             "f": ("I64", [1]), "g": ("F8_E4M3", [3])}
    write("safetensors", "types", safetensors(types, {"format": "pt"}, 5))
    write("safetensors", "empty", safetensors({}))
    for dtype in "F32", "BF16":
        write("safetensors", "model-" + dtype, safetensors({n: (dtype, s) for n, s in WEIGHTS.items()}))
    shards = [{"x": ("F32", [2])}, {"y": ("F16", [3]), "z": ("F16", [1])}]
    index = {"metadata": {"total_size": 16}, "weight_map": {"x": "a.safetensors", "y": "b.safetensors",
                                                            "z": "b.safetensors"}}
    write("safetensors", "shards", index, *map(safetensors, shards))


# ---- GGUF ----

def string(text):
    raw = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(raw)) + raw


def item(kind, value):
    return string(value) if kind == STRING else struct.pack("<" + NUMBERS[kind], value)


def entry(key, kind, value):
    if isinstance(value, list):
        return string(key) + struct.pack("<IIQ", ARRAY, kind, len(value)) + b"".join(item(kind, v) for v in value)
    return string(key) + struct.pack("<I", kind) + item(kind, value)


def gguf(values, tensors=(), version=3, alignment=32):
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(values))
    out += b"".join(entry(*value) for value in values)
    data = b""
    for name, dims, kind, *given in tensors:
        n_bytes, n_values = BLOCKS[kind]
        size = n_bytes
        for dim in dims:
            size *= dim
        size //= n_values
        out += string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, len(data))
        data += given[0] if given else bytes(i * 37 % 256 for i in range(size))
        data += bytes(-len(data) % alignment)
    return out + bytes(-len(out) % alignment) + data if tensors else out


BAR = "\u2581"
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
PRE_TOKENIZERS = ["llama-bpe", "smaug-bpe", "qwen2", "stablelm2", "gpt-2", "smollm", "tekken", "gpt-4o", "deepseek-llm",
                  "deepseek-coder", "deepseek-v3", "default"]


def spm(tokens, types, extra=()):
    return [("tokenizer.ggml.model", STRING, "llama"), ("tokenizer.ggml.tokens", STRING, tokens),
            ("tokenizer.ggml.token_type", I32, types),
            ("tokenizer.ggml.scores", F32, [-float(i % 7) for i in range(len(tokens))]), *extra]


def gpt2(pre, extra=()):
    tokens = ["a", "b", "c", "ab", "abc", "\u0120", "\u0120a", "<|im_end|>", "1", "12"]
    return [("tokenizer.ggml.model", STRING, "gpt2"), ("tokenizer.ggml.pre", STRING, pre),
            ("tokenizer.ggml.tokens", STRING, tokens), ("tokenizer.ggml.token_type", I32, [1] * 7 + [3, 1, 1]),
            ("tokenizer.ggml.merges", STRING, ["a b", "ab c", "\u0120 a"]), *extra]


def model(name, keys=(), tensors=(), matrices=(), n_turned=4):
    """One layer of two heads of 4, 16 tokens."""
    values = [("general.architecture", STRING, name),
              *((f"{name}.{key}", U32, value) for key, value in [
                  ("embedding_length", 8), ("feed_forward_length", 8), ("block_count", 1), ("attention.head_count", 2),
                  ("attention.head_count_kv", 1), ("context_length", 64), ("rope.dimension_count", n_turned)]),
              (f"{name}.attention.layer_norm_rms_epsilon", F32, 1e-5),
              *((f"{name}.{key}", kind, value) for key, kind, value in keys)]
    parts = matrices or [("attn_q", 8), ("attn_k", 4), ("attn_v", 4), ("ffn_gate", 8), ("ffn_up", 8)]
    layer = [(f"blk.0.{part}.weight", [8, rows], 1) for part, rows in [*parts, ("attn_output", 8), ("ffn_down", 8)]]
    layer += [(f"blk.0.{part}.weight", [8], 0) for part in ("attn_norm", "ffn_norm")]
    return gguf(values, [("token_embd.weight", [8, 16], 1), ("output_norm.weight", [8], 0), *layer, *tensors])


def models():
    window = [("attention.sliding_window", U32, 7)]
    yarn = [("rope.scaling.type", STRING, "yarn"), ("rope.scaling.factor", F32, 4.0),
            ("rope.scaling.original_context_length", U32, 16), ("rope.scaling.attn_factor", F32, 0.9),
            ("rope.scaling.yarn_beta_fast", F32, 16.0), ("rope.scaling.yarn_ext_factor", F32, 1.0)]
    write("gguf", "model-llama", model("llama", window, [("rope_freqs.weight", [2], 0, struct.pack("<2f", 1, 8)),
                                                         ("output.weight", [8, 16], 1)]))
    write("gguf", "model-qwen2", model("qwen2", yarn, [("blk.0.attn_q.bias", [8], 0), ("blk.0.attn_k.bias", [4], 0),
                                                       ("blk.0.attn_v.bias", [4], 0)]))
    write("gguf", "model-qwen3", model("qwen3", [*window, ("attention.sliding_window_pattern", BOOL, [True])],
                                       [("blk.0.attn_q_norm.weight", [4], 0), ("blk.0.attn_k_norm.weight", [4], 0)]))
    write("gguf", "model-phi3", model("phi3", [("rope.scaling.original_context_length", U32, 16)],
                                      [("rope_factors_short.weight", [1], 0, struct.pack("<f", 1)),
                                       ("rope_factors_long.weight", [1], 0, struct.pack("<f", 2.5))],
                                      [("attn_qkv", 16), ("ffn_up", 16)], n_turned=2))


def gguf_files():
    models()
    every = [(f"type.{kind}", kind, 1) for kind in NUMBERS] + [(f"array.{kind}", kind, [0, 1]) for kind in NUMBERS]
    every += [("s", STRING, "text"), ("array.s", STRING, ["", "b"]), ("general.alignment", U32, 64)]
    write("gguf", "values", gguf(every, version=2))
    for kind, (_, n_values) in BLOCKS.items():
        write("gguf", f"tensor-{kind}", gguf([], [("t", [n_values, 2] if n_values < 256 else [n_values], kind)]))
    write("gguf", "tensors", gguf([("general.architecture", STRING, "llama")],
                                  [("a", [], 0), ("b", [3, 2, 1, 2], 1), ("c", [32], 8)]))
    words = ["<unk>", "<s>", "</s>", BAR, "a", "b", BAR + "a", "ab", BAR + "ab", "bb", "abb"]
    kinds = [2, 3, 3] + [1] * 8
    ends = [("tokenizer.ggml.bos_token_id", U32, 1), ("tokenizer.ggml.eos_token_id", U32, 2),
            ("tokenizer.ggml.unknown_token_id", U32, 0), ("tokenizer.ggml.add_bos_token", BOOL, True),
            ("tokenizer.ggml.add_eos_token", BOOL, True), ("tokenizer.ggml.add_space_prefix", BOOL, False)]
    write("gguf", "spm", gguf(spm(words, kinds)))
    write("gguf", "spm-ends", gguf(spm(words, kinds, ends)))
    write("gguf", "spm-bytes", gguf(spm(words + BYTES, kinds + [6] * 256, [("fuzz.text", STRING, "ab\u00e9 a")])))
    write("gguf", "spm-merges", gguf(spm(words, kinds, [("tokenizer.ggml.merges", STRING, ["a b", BAR + " ab"])])))
    write("gguf", "spm-user", gguf(spm(words + ["<|x|>"], kinds + [4], [("fuzz.text", STRING, "a<|x|>b<s>")])))
    for pre in PRE_TOKENIZERS:
        write("gguf", "gpt2-" + pre, gguf(gpt2(pre, [("tokenizer.ggml.eot_token_id", U32, 7)])))

    def split(number):
        return [("split.no", U16, number), ("split.count", U16, 2), ("split.tensors.count", I32, 2)]
    write("gguf", "split", gguf(split(0), [("a", [4], 0)]), gguf(split(1), [("b", [4], 0)]))


# ---- tokenizer.json ----

def added(content, special, **flags):
    return {"id": 9, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
            "special": special, **flags}


def regex(pattern):
    return {"Regex": pattern}


def bpe(vocab, merges, **fields):
    return {"type": "BPE", "dropout": None, "unk_token": None, "vocab": {t: i for i, t in enumerate(vocab)},
            "merges": merges, **fields}


def sequence(key, *steps):
    return {"type": "Sequence", key: list(steps)}


def template(*items):
    return {"type": "TemplateProcessing", "single": [
        {"Sequence": {"id": "A", "type_id": 0}} if name == "A" else {"SpecialToken": {"id": name, "type_id": 0}}
        for name in items], "special_tokens": {n: {"id": n, "ids": [1], "tokens": [n]} for n in items if n != "A"}}


QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def tokenizers():
    words = ["<unk>", "<s>", "</s>", BAR, "a", "b", BAR + "a", BAR + "ab"]
    merges = [BAR + " a", BAR + "a b"]
    llama2 = {"version": "1.0", "added_tokens": [added(t, True) for t in words[:3]],
              "normalizer": sequence("normalizers", {"type": "Prepend", "prepend": BAR},
                                     {"type": "Replace", "pattern": {"String": " "}, "content": BAR}),
              "pre_tokenizer": None, "post_processor": template("<s>", "A"),
              "decoder": sequence("decoders", {"type": "Replace", "pattern": {"String": BAR}, "content": " "},
                                  {"type": "ByteFallback"}, {"type": "Fuse"},
                                  {"type": "Strip", "content": " ", "start": 1, "stop": 0}),
              "model": bpe(words + BYTES[:128:5], merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)}
    write("tokenizer", "llama2", llama2)
    write("tokenizer", "llama2-config", llama2, {"tokenizer_class": "LlamaTokenizerFast", "bos_token": "<s>",
                                                 "eos_token": {"content": "</s>"}, "add_eos_token": True})
    write("tokenizer", "llama2-text", llama2, b"", "ab \u00e9<s> a".encode())
    write("tokenizer", "beside", llama2, {
        "added_tokens_decoder": {"2": added("</s>", True, rstrip=True), "40": {"content": "<|x|>", "lstrip": True}},
        "pad_token": {"__type": "AddedToken", "content": "<pad>"}, "image_token": "<i>", "split_special_tokens": False,
        "extra_special_tokens": {"v": "<v>"}, "additional_special_tokens": ["<|x|>", "ab"], "add_prefix_space": False,
        "fix_mistral_regex": True, "auto_map": {}}, b"ab<|x|> <i>")
    write("tokenizer", "beside-map", llama2, {"add_prefix_space": False, "tokenizer_class": "LlamaTokenizer"}, b"a<p>b",
          {"eos_token": "</s>", "pad_token": {"content": "<p>", "lstrip": True}, "additional_special_tokens": ["a"]},
          {"<q>": 60, "ab": 4}, {"model_type": "mistral"})
    alphabet = ["a", "b", "c", "\u0120", "\u0120a", "ab", "1"]
    qwen = {"added_tokens": [added("<|end|>", True), added("xy", False, normalized=True, lstrip=True, rstrip=True)],
            "normalizer": {"type": "NFC"},
            "pre_tokenizer": sequence("pretokenizers", {"type": "Split", "pattern": regex(QWEN2),
                                                        "behavior": "Isolated", "invert": False},
                                      {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}),
            "post_processor": sequence("processors", {"type": "ByteLevel"}, template("A", "<|end|>")),
            "decoder": {"type": "ByteLevel"}, "model": bpe(alphabet, [["\u0120", "a"], ["a", "b"]], ignore_merges=True)}
    write("tokenizer", "qwen2", qwen)
    write("tokenizer", "gpt2", {**qwen, "normalizer": None, "pre_tokenizer": {
        "type": "ByteLevel", "add_prefix_space": True, "use_regex": True}})
    steps = [{"type": t} for t in ("NFD", "NFKC", "NFKD", "StripAccents", "Lowercase")]
    write("tokenizer", "normalizers", {"normalizer": sequence(
        "normalizers", *steps, {"type": "Strip", "strip_left": True, "strip_right": True},
        {"type": "Replace", "pattern": regex(r"(?m)[^a-z\d]{2,3}|\bx\B"), "content": "a"}),
        "added_tokens": [added("A\u0301", False, normalized=True, single_word=True)], "model": bpe("ab1", [])})
    behaviors = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
    for i, behavior in enumerate(behaviors):
        steps = [{"type": "Split", "pattern": regex(r"[[:alpha:]]+|\s"), "behavior": behavior, "invert": i % 2 == 0},
                 {"type": "Split", "pattern": {"String": "b"}, "behavior": behavior, "invert": i % 2 == 1},
                 [{"type": "Digits", "individual_digits": True}, {"type": "Digits", "individual_digits": False},
                  {"type": "Whitespace"}, {"type": "WhitespaceSplit"}, {"type": "ByteLevel", "add_prefix_space": True}][i],
                 {"type": "Punctuation", "behavior": behavior},
                 {"type": "Metaspace", "replacement": "_", "split": i % 2 == 0,
                  "prepend_scheme": ["always", "first", "never"][i % 3]}]
        decoder = [{"type": "Metaspace", "replacement": "_", "prepend_scheme": "first"}, None,
                   sequence("decoders", {"type": "Strip", "content": "_", "start": 1, "stop": 1}, {"type": "Fuse"}),
                   {"type": "Replace", "pattern": regex("_+"), "content": " "}, {"type": "ByteFallback"}][i]
        write("tokenizer", behavior, {"pre_tokenizer": sequence("pretokenizers", *steps), "decoder": decoder,
                                      "model": bpe(["a", "b", "_", "_a", "1", "'"], ["_ a"])})


# ---- requests ----


def requests():
    host = b"Host: localhost:8080\r\n"
    heads = {
        "get": b"GET /v1/inference/a%20b/stream?x=1&y HTTP/1.1\r\n" + host + b"X-Request-Id: r-1\r\n\r\n",
        "old": b"\r\nHEAD / HTTP/1.0\r\nConnection: keep-alive, TE\r\n\r\n",
        "absolute": b"OPTIONS http://[::1]:80 HTTP/1.1\r\n" + host + b"Origin: null\r\n\r\n",
        "asterisk": b"OPTIONS * HTTP/1.1\r\n" + host + b"Authorization: Bearer \xc3\xa9 \t\r\n\r\n",
        "length": b"POST /execute HTTP/1.1\r\n" + host + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n{}",
        "chunked": b"POST /execute HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked\r\n\r\n"
                   b"2;a=\"b\"\r\n{}\r\n0A \r\n0123456789\r\n0\r\nX: y\r\n\r\nGET /",
        "space": b"POST /cancel HTTP/1.1\r\n" + host + b"Content-Length : 2\r\n\r\n{}",
        "folded": b"GET / HTTP/1.1\r\n" + host + b"X: a\r\n b\r\n\r\n",
    }
    for name, head in heads.items():
        write("http", name, head)


# ---- bodies of requests ----

def bodies():
    """A letter for the dialect (fuzz_dialects.c), and a body of it."""
    ask = {
        "c1": ("e",
            {'messages': [{'role': 'user', 'content': [{'type': 'text', 'text': 'a'}]},
                          {'role': 'assistant', 'content': 'x'}],
             'continue_final_message': True,
             'tools': [],
             'logit_bias': {'5': 1},
             'n': 2,
             'stop': ['a', 'b']}),
        "c2": ("e",
            {'messages': [{'role': 'user', 'content': 'a'}],
             'response_format': {'type': 'json_schema', 'json_schema': {'schema': {'type': 'string', 'format': 'x'}}},
             'tools': [{'type': 'function', 'function': {'name': 'f', 'strict': True, 'parameters': {'type': 'object'}}}],
             'tool_choice': {'type': 'function', 'function': {'name': 'f'}}}),
        "g3": ("d", {'prompt': 'p', 'format': {'type': 'object', 'properties': {'a': {'const': 1}}}}),
        "i2": ("i", {'prompt': 'p', 'structured_outputs': {'regex': 'a{2}', 'complete': True}}),
        "i3": ("g", {'prompt': 'p', 'grammar': 'root ::= "a" [b-c]*', 'complete': False}),
        "i4": ("g", {'prompt': 'p', 'guided_choice': ['a', 'b'], 'max_tokens': 3}),
        "g1": ("d", {'prompt': 'p', 'system': 's', 'raw': False, 'think': True, 'options': {'num_ctx': 5}, 'context': []}),
        "g2": ("d", {'prompt': 'p', 'raw': True}),
        "i1": ("i", {'prompt': 'p', 'top_p': 0.5}),
        "j1": ("h", {'operation': 'infer', 'prompt': 'p', 'max_tokens': 5}),
        "m1": ("a",
            {'model': 'x',
             'max_tokens': 10,
             'system': [{'type': 'text', 'text': 'x-anthropic-a: b\nBe'}],
             'messages': [{'role': 'user', 'content': 'Hi'},
                          {'role': 'assistant',
                           'content': [{'type': 'thinking', 'thinking': 't', 'signature': 's'},
                                       {'type': 'text', 'text': 'a'},
                                       {'type': 'tool_use', 'id': '1', 'name': 'f', 'input': {'a': 1}}]},
                          {'role': 'user',
                           'content': [{'type': 'tool_result',
                                        'tool_use_id': '1',
                                        'content': [{'type': 'text', 'text': 'r'},
                                                    {'type': 'search_result',
                                                     'content': [{'type': 'text', 'text': 's'}]}]},
                                       {'type': 'document', 'source': {'type': 'text', 'data': 'd'}}]},
                          {'role': 'system', 'content': 's'}, {'role': 'assistant', 'content': 'pre '}],
             'tools': [{'name': 'f', 'description': 'd', 'input_schema': {'type': 'object'}},
                       {'type': 'web_search', 'name': 'w'}],
             'tool_choice': {'type': 'auto'},
             'thinking': {'type': 'enabled'},
             'output_config': {'effort': 'low'},
             'stop_sequences': ['x'],
             'stream': True,
             'temperature': 0.5,
             'top_k': 5}),
        "o1": ("c",
            {'model': 'x:latest',
             'messages': [{'role': 'system', 'content': 's'}, {'role': 'user', 'content': 'u'},
                          {'role': 'assistant',
                           'content': '',
                           'thinking': 't',
                           'tool_calls': [{'function': {'name': 'f', 'arguments': {'a': 1}}}]},
                          {'role': 'tool', 'content': 'r', 'tool_name': 'f'}],
             'tools': [{'type': 'function', 'function': {'name': 'f', 'parameters': {}}}],
             'options': {'temperature': 0.1,
                         'top_k': 3,
                         'num_predict': -1,
                         'stop': ['a'],
                         'seed': -1,
                         'mirostat': 2,
                         'repeat_last_n': 0},
             'think': 'low',
             'format': '',
             'stream': False}),
        "r1": ("b",
            {'model': 'x',
             'instructions': 'i',
             'input': [{'role': 'developer', 'content': 'd'},
                       {'type': 'message', 'role': 'user', 'content': [{'type': 'input_text', 'text': 't'}]},
                       {'type': 'reasoning', 'summary': [{'type': 'summary_text', 'text': 's'}]},
                       {'type': 'function_call', 'call_id': '1', 'name': 'f', 'arguments': '{"a":1}'},
                       {'type': 'function_call_output', 'call_id': '1', 'output': [{'type': 'input_text', 'text': 'o'}]},
                       {'type': 'custom_tool_call', 'call_id': '2', 'name': 'g', 'input': 'x'}],
             'tools': [{'type': 'function', 'name': 'f', 'parameters': {}},
                       {'type': 'namespace', 'name': 'n', 'tools': [{'type': 'function', 'name': 'h'}]},
                       {'type': 'custom', 'name': 'c'}],
             'tool_choice': 'auto',
             'reasoning': {'effort': 'low'},
             'text': {'format': {'type': 'text'}},
             'metadata': {},
             'max_output_tokens': 1}),
        "r2": ("b", {'input': 'hi', 'tool_choice': 'none'}),
        "t1": ("f", {'prompt': [1, 2, 3], 'logprobs': 2}),
        "t2": ("f", {'prompt': ['a'], 'max_tokens': 5}),
        "w1": ("g",
            {'prompt': 'p', 'job_id': 'j', 'stop': 'x', 'priority': 3, 'deadline_ms': 5, 'seed': 18446744073709551615}),
    }
    for name, (letter, body) in ask.items():
        write("dialects", name, letter.encode() + json.dumps(body).encode())


# ---- chat templates ----

def templates():
    folder = ROOT.parent / "templates"
    conversation = json.loads((folder / "conversation.json").read_text(encoding="utf-8"))["conversation"]
    for kind in ("expressions", "filters", "methods", "statements"):
        cases = json.loads((folder / f"{kind}.json").read_text(encoding="utf-8"))
        for i, case in enumerate(cases):
            write("template", f"{kind}-{i}", case[0].encode(), conversation)


# ---- answers ----

def answers():
    """Three bytes first: the form, flags, and how it is cut."""
    call, arguments = '{"name": "f", "arguments": %s}', '{"s": "\u00e9 </tool_call> }{ \\"q\\"", "n": [1, -2.5, null]}'
    one = call % arguments
    generic = 20
    texts = {
        "reasoning": (22, "<think>\nWhy < not.\n</think>\n\nSo."),
        "hermes": (4, f"Text.\n<tool_call>\n{one}\n</tool_call>\n<tool_call>{one}</tool_call>"),
        "parameters": (0, "<tool_call>\n<function=f>\n<parameter=s>\na\nb\n</parameter>\n<parameter=n>\n5\n</parameter>\n"
                          "</function>\n</tool_call>"),
        "list": (7, f"[TOOL_CALLS][{one}, {one}]"), "named": (5, f"[TOOL_CALLS]f[CALL_ID]abc[ARGS]{arguments}"),
        "bare": (18, f"{one}; {one}"), "functionary": (11, f">>>all\nText>>>f\n{arguments}"),
        "function": (12, f"<function=f>{arguments}</function>"),
        "deepseek": (9, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n"
                        f"{arguments}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"),
        "action": (14, f"Action:\n```json\n[{one}]```"),
        "quoted": (4, "<tool_call>" + call % json.dumps(arguments) + "</tool_call>"),
        "astray": (4, "<tool_call>" + call % '{"s": }' + "</tool_call>"),
    }
    for name, (form, text) in texts.items():
        for number in (form, generic):
            write("answer", f"{name}-{number}", bytes([number, 0, 5]) + text.encode())


bodies()
configs()
requests()
answers()
weight_files()
gguf_files()
templates()
tokenizers()
