"""Writes the small random models of tests/models, of every family and rope scaling, and what transformers computes on
them. A development tool: the tests read what it wrote and never need Python packages.

    python3 -m venv venv
    venv/bin/pip install torch==2.9.1 transformers==4.57.6 safetensors==0.7.0 numpy==2.2.6
    venv/bin/python tests/goldens/make_models.py                      # all random models
    venv/bin/python tests/goldens/make_models.py qwen3-bf16           # some of them
    venv/bin/python tests/goldens/make_models.py --shipped models/tallow-tiny

Each folder holds a model as Hugging Face lays it out and a golden.json: a prompt, the logits of some of its positions (in
golden.bin, little-endian f32, [positions, vocab]) and 64 greedy tokens with the gap between the best two logits. The
reference is from_pretrained of the family's class on the files as written, computing in f32 on the stored weights widened
to f32, eager attention. The same versions write the same bytes.

Where rope scaling depends on the length (dynamic, longrope), prompt and greedy tokens are on one side of the switch; beyond
it, transformers sees the whole length before anything else, so that it computes all positions for that length, as Tallow
does. Windows are shorter than the prompts, and these longer than a block of keys.
"""

import argparse
import copy
import json
import pathlib

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, CONFIG_MAPPING

ROOT = pathlib.Path(__file__).resolve().parents[1] / "models"
BASE = dict(
    hidden_size=64, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=128, max_position_embeddings=512, rms_norm_eps=1e-5, rope_theta=10000.0, tie_word_embeddings=False,
    bos_token_id=1, eos_token_id=2,
)
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=128)


def longrope(n):
    """Factors that grow along the head, the short ones slower, as published ones do."""
    return dict(type="longrope", short_factor=[round(1 + 0.05 * i, 3) for i in range(n)],
                long_factor=[round(1 + 0.9 * i ** 1.3, 3) for i in range(n)])


# name: changes to BASE ("family" is llama where it is not said), dtype, and how the files are laid out
MODELS = {
    "gqa-f32": (dict(), "float32", ""),
    "mha-f16-tied": (dict(num_key_value_heads=4, tie_word_embeddings=True), "float16", ""),
    "mqa-bf16": (dict(num_key_value_heads=1, num_attention_heads=8, head_dim=8), "bfloat16", ""),
    "bias-f32": (dict(attention_bias=True, mlp_bias=True), "float32", ""),
    "wide-head-bf16": (dict(head_dim=32, num_attention_heads=4), "bfloat16", ""),
    "rope-linear-f16": (dict(rope_scaling=dict(rope_type="linear", factor=4.0)), "float16", "old-rope"),
    "rope-llama3-bf16": (dict(rope_scaling=LLAMA3, rope_theta=500000.0), "bfloat16", ""),
    "rope-parameters-bf16": (dict(rope_theta=500000.0), "bfloat16", "newest"),
    "sharded-f16": (dict(num_hidden_layers=3), "float16", "sharded"),
    "odd-sizes-bf16": (dict(hidden_size=72, intermediate_size=100, num_attention_heads=3, num_key_value_heads=3,
                            head_dim=10, vocab_size=203), "bfloat16", ""),
    "eos-list-f16": (dict(eos_token_id=[2, 5], rms_norm_eps=1e-6), "float16", ""),
    # every row is a multiple of 256: the block of GGUF's k-quants
    "blocks-bf16": (dict(hidden_size=256, intermediate_size=256, num_attention_heads=4, num_key_value_heads=1,
                         head_dim=64, tie_word_embeddings=True), "bfloat16", "long"),
    "qwen2-bf16": (dict(family="qwen2", tie_word_embeddings=True, sliding_window=8, use_sliding_window=False,
                        max_window_layers=0), "bfloat16", ""),
    "qwen2-window-f16": (dict(family="qwen2", sliding_window=70, use_sliding_window=True, max_window_layers=1), "float16",
                         "window"),
    "mistral-bf16": (dict(family="mistral", head_dim=24, sliding_window=50), "bfloat16", "window"),
    "qwen3-bf16": (dict(family="qwen3", head_dim=32, tie_word_embeddings=True, rope_theta=1000000.0), "bfloat16", ""),
    "phi3-f16": (dict(family="phi3", pad_token_id=0, num_key_value_heads=4, sliding_window=37), "float16", "window"),
    "phi3-longrope-short-bf16": (dict(family="phi3", pad_token_id=0, rope_scaling=longrope(8), original_max_position_embeddings=128),
                                 "bfloat16", ""),
    "phi3-longrope-long-bf16": (dict(family="phi3", pad_token_id=0, rope_scaling=longrope(8), original_max_position_embeddings=32),
                                "bfloat16", ""),
    "phi3-partial-f16": (dict(family="phi3", pad_token_id=0, partial_rotary_factor=0.75, tie_word_embeddings=True,
                              rope_scaling=longrope(6), original_max_position_embeddings=32), "float16", ""),
    "rope-dynamic-f16": (dict(max_position_embeddings=64, rope_scaling=dict(rope_type="dynamic", factor=8.0)), "float16",
                         "over"),
    "rope-dynamic-below-bf16": (dict(rope_scaling=dict(rope_type="dynamic", factor=8.0)), "bfloat16", ""),
    "rope-yarn-bf16": (dict(family="qwen2", rope_scaling=YARN, max_position_embeddings=128), "bfloat16", ""),
    "rope-yarn-mscale-f16": (dict(rope_scaling=dict(YARN, mscale=1.2, mscale_all_dim=0.7, truncate=False, beta_fast=16,
                                                    beta_slow=2)), "float16", ""),
    "rope-yarn-factor-f16": (dict(rope_scaling=dict(YARN, attention_factor=0.9), rope_theta=500000.0), "float16", ""),
}
ARCHITECTURES = dict(llama="LlamaForCausalLM", mistral="MistralForCausalLM", qwen2="Qwen2ForCausalLM",
                     qwen3="Qwen3ForCausalLM", phi3="Phi3ForCausalLM")
PROMPT_LENGTHS = {"long": 300, "window": 150, "over": 80}
SHIPPED_PROMPT = (
    "Once upon a time, there was a child named Lily. Lily had a red ball. She loved her ball very much.\n\n"
    "One sunny day, Lily went to the park. She played all day, but then she could not find the ball. Lily was sad."
)


def randomise(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        with torch.no_grad():
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name:
                parameter.copy_(1 + 0.1 * noise)
            elif name.endswith("bias"):
                parameter.copy_(0.1 * noise)
            else:
                parameter.copy_(noise * (2.0 / parameter.shape[-1] ** 0.5))


def write_weights(folder, weights, sharded):
    if not sharded:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names, weight_map = sorted(weights), {}
    for i in range(2):
        file = f"model-{i + 1:05d}-of-00002.safetensors"
        part = {name: weights[name] for name in names[i::2]}
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map.update({name: file for name in part})
    index = {"metadata": {"total_size": sum(w.nbytes for w in weights.values())}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def config_json(shape, dtype, layout):
    config = dict(architectures=[ARCHITECTURES[shape["family"]]], model_type=shape["family"], hidden_act="silu",
                  **{key: value for key, value in shape.items() if key != "family"})
    if layout == "newest":
        config["rope_parameters"] = dict(rope_theta=config.pop("rope_theta"), rope_type="default")
        config["dtype"] = dtype
    else:
        config["torch_dtype"] = dtype
    if layout == "old-rope":
        config["rope_scaling"] = dict(type=config["rope_scaling"]["rope_type"], factor=config["rope_scaling"]["factor"])
    return config


def load(path, layout=""):
    # These versions do not read rope_parameters and would take theta for 10000.
    changes = dict(rope_theta=MODELS[path.name][0]["rope_theta"]) if layout == "newest" else {}
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager", **changes).eval()


def golden(model, prompt, folder, source):
    """Writes golden.json and golden.bin of one model: logits of the prompt's first four and last four positions."""
    ids, gaps = list(prompt), []
    with torch.no_grad():
        model(torch.zeros((1, len(prompt) + 64), dtype=torch.long))  # as long as it will be: rope is chosen for that
        logits = model(torch.tensor([prompt])).logits[0]
        kept = sorted({*range(4), *range(len(prompt) - 4, len(prompt))})
        for _ in range(64):
            last = model(torch.tensor([ids])).logits[0, -1]
            best = torch.topk(last, 2)
            gaps.append(round((best.values[0] - best.values[1]).item(), 6))
            assert gaps[-1] > 2e-5 * (logits.max() - logits.min()), "a near tie: take another seed"
            ids.append(best.indices[0].item())
    (folder / "golden.bin").write_bytes(logits[kept].contiguous().numpy().astype("<f4").tobytes())
    (folder / "golden.json").write_text(json.dumps(dict(
        source=source, transformers=transformers.__version__, torch=torch.__version__, compute="float32",
        prompt=prompt, positions=kept, vocab=logits.shape[1],
        logits_range=round((logits.max() - logits.min()).item(), 6), greedy=ids[len(prompt):], gaps=gaps)) + "\n")
    return ids[len(prompt):]


def prompt_of(length, vocab, seed):
    generator = torch.Generator().manual_seed(seed)
    return [1] + torch.randint(3, vocab, (length - 1,), generator=generator).tolist()


def make_random(number, name):
    changes, dtype, layout = MODELS[name]
    shape = {"family": "llama", **BASE, **changes}
    folder = ROOT / name
    folder.mkdir(parents=True, exist_ok=True)
    settings = {key: copy.deepcopy(value) for key, value in shape.items() if key != "family"}
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[shape["family"]](**settings), attn_implementation="eager")
    randomise(model, number)
    stored = getattr(torch, dtype)
    weights = {key: value.to(stored).contiguous().clone() for key, value in model.state_dict().items()
               if not (shape["tie_word_embeddings"] and key == "lm_head.weight")}
    write_weights(folder, weights, layout == "sharded")
    (folder / "config.json").write_text(json.dumps(config_json(shape, dtype, layout), indent=1) + "\n")
    length = PROMPT_LENGTHS.get(layout, 40)
    golden(load(folder, layout), prompt_of(length, shape["vocab_size"], 100 + number), folder, f"random, seed {number}")


def make_shipped(path):
    """Goldens of a real model, for a prompt of its own kind; prompt_text and text are for tests of the whole program."""
    path = pathlib.Path(path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    folder = ROOT / "shipped"
    folder.mkdir(parents=True, exist_ok=True)
    prompt = tokenizer(SHIPPED_PROMPT).input_ids
    assert len(prompt) >= 40
    model = load(path)
    greedy = golden(model, prompt, folder, path.name)
    stop = greedy.index(model.config.eos_token_id) if model.config.eos_token_id in greedy else len(greedy)
    text = tokenizer.decode(prompt + greedy[:stop], skip_special_tokens=True)
    file = folder / "golden.json"
    document = dict(json.loads(file.read_text()), prompt_text=SHIPPED_PROMPT, text=text[len(SHIPPED_PROMPT):])
    assert text.startswith(SHIPPED_PROMPT)
    file.write_text(json.dumps(document, ensure_ascii=False) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these models")
    parser.add_argument("--shipped", metavar="PATH", help="only the goldens of this trained model")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    if options.shipped:
        make_shipped(options.shipped)
        return
    for number, name in enumerate(MODELS, 1):
        if options.names and name not in options.names:
            continue
        make_random(number, name)
        print(name, flush=True)


main()
