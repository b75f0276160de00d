"""Makes the model that ships with Tallow: tokenizer, training, export, evaluation. A development tool; nothing that
builds, runs or tests Tallow needs it.

    python3 -m venv venv
    venv/bin/pip install torch==2.9.1 transformers==4.57.6 tokenizers==0.22.2 safetensors==0.7.0 numpy==2.2.6
    venv/bin/python models/train.py models/tallow-tiny [--minutes 42]

The text is that of make_text.py, from fixed seeds: the same command, the same data. Weights differ in the last bits
between machines, because the number of threads changes the order of sums.
"""

import argparse
import json
import math
import os
import re
import time

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM

import make_text

BOS, EOS, CHAT_START, CHAT_END = 1, 2, 3, 4
SEQUENCE, BATCH = 256, 16
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SHAPE = dict(
    vocab_size=1024, hidden_size=256, intermediate_size=768, num_hidden_layers=4, num_attention_heads=4,
    num_key_value_heads=2, head_dim=64, max_position_embeddings=1024, rope_theta=10000.0, rms_norm_eps=1e-5,
    tie_word_embeddings=True, bos_token_id=BOS, eos_token_id=EOS,
)


def make_tokenizer(folder):
    """Llama 2's scheme: BPE over text with spaces as U+2581, unknown characters as bytes."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    specials = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    byte_tokens = [f"<0x{i:02X}>" for i in range(256)]
    texts = [text for doc in make_text.documents(20000, seed=1) for _, text in doc]
    # The scheme has no pre-tokenizer, so the trainer is shown what a merge may span: letters of one word, one digit,
    # one mark, each with the space before it. Letters outside ASCII stay out of the alphabet and are spelled in bytes.
    pieces = [piece for text in texts for piece in re.findall(
        "\u2581?[A-Za-z]+|\u2581?[^A-Za-z\u2581]", "\u2581" + text.replace(" ", "\u2581")) if piece.strip("\u2581").isascii()]
    trainer = trainers.BpeTrainer(
        vocab_size=SHAPE["vocab_size"], special_tokens=specials + byte_tokens, show_progress=False,
        initial_alphabet=[chr(c) for c in range(33, 127)] + ["\u2581"], limit_alphabet=95)
    # The normalizer must not add a second mark while training on words that have one.
    plain = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    plain.train_from_iterator(pieces, trainer)
    trained = json.loads(plain.to_str())["model"]
    vocab = dict(trained["vocab"])
    for i in range(SHAPE["vocab_size"] - len(vocab)):  # few words: fill up to the full table
        vocab[f"<|reserved_{i}|>"] = len(vocab)
    tokenizer.model = models.BPE(
        vocab=vocab, merges=[tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in trained["merges"]],
        unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in specials])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", BOS)])
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    return tokenizer


def encode_document(tokenizer, document):
    if document[0][0] is None:
        return [BOS] + tokenizer.encode(document[0][1], add_special_tokens=False).ids + [EOS]
    text = "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in document)
    return [BOS] + tokenizer.encode(text, add_special_tokens=False).ids + [EOS]


def packed(tokenizer, documents):
    """All documents end to end, cut in rows of SEQUENCE + 1."""
    ids = [i for document in documents for i in encode_document(tokenizer, document)]
    n = len(ids) // (SEQUENCE + 1)
    return torch.tensor(ids[: n * (SEQUENCE + 1)]).view(n, SEQUENCE + 1)


def loss_of(model, rows):
    logits = model(input_ids=rows[:, :-1]).logits
    return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), rows[:, 1:].flatten())


def validation_loss(model, rows):
    with torch.no_grad():
        return sum(loss_of(model, rows[i : i + 8]).item() for i in range(0, len(rows), 8)) / math.ceil(len(rows) / 8)


def train(model, tokenizer, minutes, folder):
    rows = packed(tokenizer, make_text.documents(120000, seed=2))
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(3))]
    print(f"{rows.numel() / 1e6:.1f} million tokens of text", flush=True)
    decay = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}], lr=0, betas=(0.9, 0.95))
    start, step, saved = time.time(), 0, 0.0
    while (elapsed := (time.time() - start) / 60) < minutes:
        done = elapsed / minutes
        rate = 3e-3 * min(1, (step + 1) / 60) * (0.5 + 0.5 * math.cos(math.pi * done)) + 1e-5
        for group in optimizer.param_groups:
            group["lr"] = rate
        first = step * BATCH % (len(rows) - BATCH)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = loss_of(model, rows[first : first + BATCH])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 25 == 0:
            print(f"step {step} {elapsed:.1f} min loss {loss.item():.3f}", flush=True)
        if elapsed - saved > 6:
            saved = elapsed
            export(model, folder)
        step += 1
    return step, step * BATCH * SEQUENCE


def write_json(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, ensure_ascii=False)
        file.write("\n")


def export(model, folder):
    weights = {name: p.detach().to(torch.bfloat16).contiguous().clone() for name, p in model.state_dict().items()
               if name != "lm_head.weight"}
    save_file(weights, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    write_json(folder, "config.json", {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "attention_bias": False,
        "mlp_bias": False, "rope_scaling": None, "torch_dtype": "bfloat16", **SHAPE})
    write_json(folder, "generation_config.json", {"bos_token_id": BOS, "eos_token_id": [EOS, CHAT_END]})
    write_json(folder, "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
        "add_bos_token": True, "add_eos_token": False, "clean_up_tokenization_spaces": False,
        "model_max_length": SHAPE["max_position_embeddings"], "chat_template": CHAT_TEMPLATE})


SAMPLES = ["Once upon a time", "The capital of France is", "Question: What is 12 plus 5?\nAnswer:"]


def answer(model, tokenizer, prompt, n=220):
    ids = tokenizer.encode(prompt).ids
    out = model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=n, eos_token_id=[EOS, CHAT_END],
                         pad_token_id=EOS)[0].tolist()
    return tokenizer.decode(out)[len(prompt):]


def evaluate(folder):
    """Of the exported model, widened to f32: loss on held-out documents, little things known, samples."""
    tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    held_out = packed(tokenizer, make_text.documents(1500, seed=4, held_out=True))
    print(f"validation loss {validation_loss(model, held_out):.4f} ({held_out.numel()} tokens)")
    sums = [(a, b) for a in range(21) for b in range(21 - a)]
    for name, pairs in [("sums seen", [p for p in sums if p not in make_text.HELD_OUT_SUMS]),
                        ("sums never seen", sorted(make_text.HELD_OUT_SUMS))]:
        right = sum(answer(model, tokenizer, f"Question: What is {a} plus {b}?\nAnswer:", 16).strip()
                    == f"{a} plus {b} is {a + b}." for a, b in pairs)
        print(f"{name}: {right} of {len(pairs)}")
    right = sum(answer(model, tokenizer, f"Question: What is the capital of {country}?\nAnswer:", 24).strip()
                == f"The capital of {country} is {capital}." for country, capital in make_text.CAPITALS.items())
    print(f"capitals: {right} of {len(make_text.CAPITALS)}")
    for prompt in SAMPLES:
        print(f"--- {prompt}{answer(model, tokenizer, prompt)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("--minutes", type=float, default=42)
    parser.add_argument("--evaluate", action="store_true", help="only evaluate what is there")
    options = parser.parse_args()
    if options.evaluate:
        evaluate(options.folder)
        return
    os.makedirs(options.folder, exist_ok=True)
    torch.manual_seed(0)
    tokenizer = make_tokenizer(options.folder)
    model = LlamaForCausalLM(LlamaConfig(**SHAPE))
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} million parameters", flush=True)
    steps, tokens = train(model, tokenizer, options.minutes, options.folder)
    export(model, options.folder)
    print(f"{steps} steps, {tokens / 1e6:.1f} million tokens")
    evaluate(options.folder)


if __name__ == "__main__":
    main()
