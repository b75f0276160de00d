"""A model that says what it is told to: after a prompt that ends with a text that starts a script it says
the script, then ends.

Every piece of a script is an added token of its own, found once in the vocabulary, so that the token alone tells what comes next:
the embedding is the identity, attention and MLP are zero, and the head leads each token to its successor, whatever the sampling.
"""

import array
import json
import re

EOS, HEAD_DIM = 2, 64


def cut(text, taken, places, special):
    """The text in pieces of a few characters that no script has yet; each special one whole. Each is the longest that the text goes
    on with at its place, and at the places before (what is left of a text, its next piece), so that the tokenizer cuts it so, too."""
    n_before = len(places)

    def fits(run, piece):
        return (piece not in taken and not any(run.startswith(one) and len(one) > len(piece) for one in taken) and
                not any(rest.startswith(piece) and len(piece) > len(there) for rest, there in places))

    def take(run, piece):
        assert fits(run, piece), "another script has this, too: %r" % piece
        taken.add(piece)
        places.append((run, piece))
        return run[len(piece):]

    for run in re.split("(%s)" % "|".join(map(re.escape, special)), text) if special else [text]:
        while run:
            n = len(run) if run in special else next((n for n in range(3, len(run) + 1) if fits(run, run[:n])), 0)
            if n == 0:  # the rest is known: it joins the piece before
                before, piece = places.pop()
                assert piece not in special and before == piece + run, "another script has this, too: %r" % run
                taken.remove(piece)
                run, n = before, len(before)
            run = take(run, run[:n])
    return [piece for _, piece in places[n_before:]]


def write_weights(path, size, next_of):
    def ones_at(columns_of):
        for row in range(size):
            values = array.array("f", bytes(4 * size))
            for column in columns_of(row):
                values[column] = 1.0
            yield values.tobytes()

    before = {}
    for token in range(size):
        before.setdefault(next_of.get(token, EOS), []).append(token)
    ones, layer = array.array("f", [1.0] * size).tobytes(), "model.layers.0."
    tensors = {"model.embed_tokens.weight": ([size, size], ones_at(lambda row: [row])),
               "lm_head.weight": ([size, size], ones_at(lambda row: before.get(row, []))),
               "model.norm.weight": ([size], [ones]), layer + "input_layernorm.weight": ([size], [ones]),
               layer + "post_attention_layernorm.weight": ([size], [ones])}
    for name, rows, columns in (("self_attn.q_proj", size, size), ("self_attn.k_proj", HEAD_DIM, size),
                                ("self_attn.v_proj", HEAD_DIM, size), ("self_attn.o_proj", size, size),
                                ("mlp.gate_proj", HEAD_DIM, size), ("mlp.up_proj", HEAD_DIM, size),
                                ("mlp.down_proj", size, HEAD_DIM)):
        tensors[layer + name + ".weight"] = ([rows, columns], [])
    header, offset = {}, 0
    for name, (shape, _) in tensors.items():
        begin, offset = offset, offset + 4 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, offset]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, rows in tensors.values():
            for row in rows:
                file.write(row)
        file.truncate(8 + len(text) + offset)  # the others are zero


def write(folder, tokenizer_from, scripts, template, special=()):
    """The folder of such a model: {text that starts it: script}, a chat template, and the pieces that are control tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = json.loads((tokenizer_from / "tokenizer.json").read_text())
    vocab, next_of = tokenizer["model"]["vocab"], {}
    taken, places = {token.replace("▁", " ") for token in vocab}, []
    for start, text in scripts.items():
        ids = []
        for piece in [start] + cut(text, taken, places, special):
            ids.append(len(vocab))
            vocab[piece] = ids[-1]
            tokenizer["added_tokens"].append({
                "id": ids[-1], "content": piece, "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False, "special": piece in special})
        next_of.update(zip(ids, ids[1:]))
    size = -(-len(vocab) // HEAD_DIM) * HEAD_DIM
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    settings = json.loads((tokenizer_from / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(dict(settings, chat_template=template)))
    (folder / "config.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0, "tie_word_embeddings": False, "torch_dtype": "float32", "bos_token_id": 1, "eos_token_id": EOS,
        "hidden_size": size, "intermediate_size": HEAD_DIM, "num_hidden_layers": 1, "num_attention_heads": size // HEAD_DIM,
        "num_key_value_heads": 1, "max_position_embeddings": 2048, "vocab_size": size}))
    write_weights(folder / "model.safetensors", size, next_of)
    return folder
