#!/usr/bin/env python3
"""Makes tests/tokenizers/: small tokenizers of each scheme, and what Hugging Face's library makes of hard texts.

    python3 -m venv venv && venv/bin/pip install tokenizers==0.22.2 transformers==4.57.6
    venv/bin/python tests/goldens/make_tokenizers.py          # writes tests/tokenizers, the same bytes each time

The oracle is `tokenizers` 0.22.2 (Tokenizer.from_file, encode, decode), and transformers 4.57.6 for add_bos_token and
add_eos_token of tokenizer_config.json. The training text is made here, from the sentences below and a seeded generator of
words; nothing else is read. Output:

    <style>/tokenizer.json, tokenizer_config.json, golden.json    one per scheme
    cases.json                                                    tiny tokenizers, one per stage, option and flag
    bytes.json                                                    what decoders make of bytes that are no UTF-8
"""
import json
import os
import random
import sys

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
import tokenizers

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tokenizers")
assert tokenizers.__version__ == "0.22.2", tokenizers.__version__

SENTENCES = """\
The quick brown fox jumps over the lazy dog, and the dog did not even look up.
It's not what you'd think: we've seen that they'll go, I'm sure, and she'd rather stay.
In the year 1984 there were 365 days; 12,345.67 is a number, and so is 3.14159.
How much wood would a woodchuck chuck if a woodchuck could chuck wood?
A river runs through the valley below the old stone bridge, where the children play.
Nobody knew where the sound came from, but everyone heard it again after midnight.
Zwei kleine Hunde laufen über die Straße und suchen ihren Ball. Größe, Öl, Übermut!
Le cœur a ses raisons que la raison ne connaît point; où êtes-vous, garçon?
El niño comió piñas y después cantó una canción. ¿Qué pasó? ¡Nada!
Всё хорошо, что хорошо кончается. Съешь ещё этих мягких французских булок.
Η γρήγορη αλεπού πηδάει πάνω από το τεμπέλικο σκυλί.
今日は天気がいいですね。散歩に行きましょう。カタカナとひらがな。
我喜欢在早上喝茶,然后去公园走走。你好,世界!
나는 아침에 차를 마시고 공원을 걷는 것을 좋아합니다.
أحب شرب الشاي في الصباح ثم المشي في الحديقة.
אני אוהב לשתות תה בבוקר ואז ללכת בפארק.
ฉันชอบดื่มชาในตอนเช้าแล้วไปเดินเล่นในสวน
मुझे सुबह चाय पीना और फिर पार्क में टहलना पसंद है।
Tôi thích uống trà vào buổi sáng rồi đi dạo trong công viên.
int main(void)\\n{\\n\\tfor (int i = 0; i < n; i++)\\n\\t\\tsum += values[i] * 2;\\n\\treturn sum;\\n}
def encode(self, text: str) -> list[int]:\\n    return [self.vocab.get(c, 0) for c in text if c != ' ']
{"name": "value", "list": [1, 2, 3], "nested": {"a": null, "b": true}}
https://example.org/path/to/page?query=string&x=1#fragment user@example.org /usr/local/bin
<html><body class="main"><p>Hello &amp; goodbye</p></body></html>
😀 😂 👍 🎉 ❤️ 🚀 — “quotes” ‘single’ … • → ± × ÷ € £ ¥ § ° ½
""".replace("\\n", "\n").replace("\\t", "\t").splitlines()


def training_text(seed):
    """Sentences over and over, between words that a seeded generator makes of syllables, common ones first."""
    rng = random.Random(seed)
    onsets = "b c d f g h j k l m n p r s t v w st tr pl br ch sh th gr".split()
    rimes = "a e i o u an en in on er ar or ing ed at it ou ea ai ly tion al".split()
    words = []
    while len(words) < 900:
        word = "".join(rng.choice(onsets) + rng.choice(rimes) for _ in range(rng.choice((1, 1, 2, 2, 3))))
        words.append(word)
    lines = []
    for _ in range(2500):
        picked = [words[min(int(rng.paretovariate(0.9)) - 1, len(words) - 1)] for _ in range(rng.randint(4, 14))]
        if rng.random() < 0.5:
            picked[0] = picked[0].capitalize()
        if rng.random() < 0.2:
            picked.insert(2, str(rng.randint(0, 99999)))
        lines.append(" ".join(picked) + rng.choice(". ! ? ; , ...".split()))
        if rng.random() < 0.3:
            lines.append(rng.choice(SENTENCES))
    return lines


# ---- hard texts ----

FRAGMENTS = [
    " ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", " \n ", "a", "the", " the", "Hello", "hello world", "it's", "'S", "'ſ",
    "’s", "I'll", "we'VE", "123", "1", "99999", "٣٤٥", "½", "²", "Ⅷ", "é", "e\u0301", "ё", "привет", " Привет", "你好",
    "世界", "こんにちは", "カタカナ", "한국어", "العربية", "שלום", "ไทย", "हिन्दी", "क्षि", "😀",
    "👨\u200d👩\u200d👧", "🏳️\u200d🌈", "\u200d", "\u200b", "\u00a0", "\u3000", "\u180e", "\u2028", "\u2029", "\u0085",
    "\u1680", "\u202f", "\ufeff", "\ufffe", "\uffff", "\ufffd", "\U0010ffff", "\U0010fffe", "\x00", "\x01", "\x1b",
    "\x7f", "\x80", "\x9f", "\xad", "ß", "ﬁ", "İ", "ı", "K", "Å", "Ω", "Ǆ", "ſ", "ŉ", "\u0344", "\u0958",
    "\u1e9b\u0323", "\u0300\u0327", "<s>", "</s>", "<unk>", "<|endoftext|>", "<|im_start|>", "<|im_end|>",
    "<|begin_of_text|>", "<|eot_id|>", "<0x0A>", "<0x41>", "▁", "▁the", "Ġ", "Ċ", "Ġthe", "_", "__init__", "-", "---",
    "==", "...", "…", "“", "”", "—", ".", ",", "!", "?", "(", ")", "{", "}", "[", "]", "/", "\\", "http://x.y/z?q=1&r=%20",
    "#include <stdio.h>", "x = y + 1;", "def f(x):\n    return x", "camelCase", "UPPER", "aaaaaaaa", "1a2b3c", "$100",
    "€5", "°C", "ℌ", "𝔘𝔫", "ᾳ", "ΐ", "ﷺ", "①", "ⓐ", "🅰", "Ⅳ", "٠", "𝟘", "\uac00", "\u1100\u1161\u11a8",
]


def random_text(rng):
    if rng.random() < 0.7:
        return "".join(rng.choice(FRAGMENTS) for _ in range(rng.randint(2, 12)))
    out = []
    for _ in range(rng.randint(1, 24)):
        top = rng.choice((0x7F, 0x7F, 0x2FF, 0xFFFF, 0x10FFFF))
        code = rng.randint(0, top)
        out.append(" " if 0xD800 <= code < 0xE000 else chr(code))
    return "".join(out)


def hard_texts():
    texts = [""] + FRAGMENTS + SENTENCES
    texts += ["x" + f + "y" for f in FRAGMENTS[:60]]
    texts += ["a" * 300, " " * 130, "\n" * 70, "ab" * 90 + " " + "ba" * 90, "1" * 61, "é" * 50, "e" + "\u0301" * 40,
              "😀" * 30, "the" * 60, "\t \n" * 25, "!?" * 40, "你" * 40, "\u0327\u0301" * 30]
    texts += ["Hello <s>world</s>", "<s><s> <s>", "a<|endoftext|>b", " <|im_start|>user\nHi<|im_end|>\n",
              "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>", "< s >", "<s", "s>",
              "I don't.\n\n\n  Do you?  \n", "  leading and trailing  ", "tab\tseparated\tvalues\n1\t2\t3"]
    rng = random.Random(20240601)
    texts += [random_text(rng) for _ in range(170)]
    return list(dict.fromkeys(texts))


# ---- tokenizers ----

def added(content, special=True, **flags):
    base = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"content": content, **base, **flags, "special": special}


def number(tokens, vocab):
    """Ids of added tokens as the library gives them."""
    next_id = len(vocab)
    out = []
    for token in tokens:
        if token["content"] in vocab:
            ident = vocab[token["content"]]
        else:
            ident, next_id = next_id, next_id + 1
        out.append({"id": ident, **token})
    return out


def document(model, tokens=(), normalizer=None, pre_tokenizer=None, post_processor=None, decoder=None):
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": number(tokens, model["vocab"]),
            "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": post_processor,
            "decoder": decoder, "model": model}


def train(lines, size, pre_tokenizer, alphabet, first=()):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, special_tokens=list(first),
                                  show_progress=False, min_frequency=2)
    tokenizer.train_from_iterator(lines, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


def bpe(vocab, merges, strings=False, **options):
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
    model.update(options)
    model["vocab"] = vocab
    model["merges"] = [" ".join(m) for m in merges] if strings else [list(m) for m in merges]
    return model


BYTES = ["<0x%02X>" % b for b in range(256)]
LLAMA2_NORMALIZER = {"type": "Sequence", "normalizers": [
    {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
LLAMA2_DECODER = {"type": "Sequence", "decoders": [
    {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
    {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
LLAMA3_REGEX = ("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
                "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+")


def split(regex=None, string=None, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": regex} if regex is not None else {"String": string},
            "behavior": behavior, "invert": invert}


def sequence(*stages, key="pretokenizers"):
    return {"type": "Sequence", key: list(stages)}


def template(*items):
    """Names of special tokens with their ids, and "A" for the text."""
    single, special = [], {}
    for item in items:
        if item == "A":
            single.append({"Sequence": {"id": "A", "type_id": 0}})
        else:
            name, ident = item
            single.append({"SpecialToken": {"id": name, "type_id": 0}})
            special[name] = {"id": name, "ids": [ident], "tokens": [name]}
    return {"type": "TemplateProcessing", "single": single,
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": special}


def llama2_style(lines):
    """Whole text one word, ▁ for space, bytes for what is unknown; with merges for runs of spaces."""
    vocab, merges = train(lines, 1500, pre_tokenizers.Metaspace(), [], ["<unk>", "<s>", "</s>"] + BYTES)
    for n in (1, 2, 4, 8):
        vocab.setdefault("▁" * 2 * n, len(vocab))
        merges.append(("▁" * n, "▁" * n))
    model = bpe(vocab, merges, strings=True, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokens = [added("<unk>"), added("<s>"), added("</s>")]
    config = {"add_bos_token": True, "add_eos_token": False, "bos_token": {"__type": "AddedToken", "content": "<s>"},
              "eos_token": {"__type": "AddedToken", "content": "</s>"}, "tokenizer_class": "LlamaTokenizer",
              "clean_up_tokenization_spaces": False, "model_max_length": 1000000000000000019884624838656}
    # The post-processor says otherwise than the config: the config's class has the last word.
    return document(model, tokens, LLAMA2_NORMALIZER, None, template("A"), LLAMA2_DECODER), config


def llama3_style(lines):
    regex = tokenizers.Regex(LLAMA3_REGEX)
    cut = pre_tokenizers.Sequence([pre_tokenizers.Split(regex, "isolated"),
                                   pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    vocab, merges = train(lines, 2000, cut, pre_tokenizers.ByteLevel.alphabet())
    # Words that no merge makes: only ignore_merges finds them.
    for word in ("Ġwoodchuck's", "qzx", "ĠĠĠĠĠ"):
        vocab.setdefault(word, len(vocab))
    model = bpe(vocab, merges, ignore_merges=True)
    names = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    bos = len(vocab)
    post = {"type": "Sequence", "processors": [
        {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
        template(("<|begin_of_text|>", bos), "A")]}
    config = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "tokenizer_class": "PreTrainedTokenizerFast",
              "clean_up_tokenization_spaces": False, "model_max_length": 131072}
    doc = document(model, [added(n) for n in names], None, sequence(split(LLAMA3_REGEX), BYTE_LEVEL), post,
                   {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True})
    return doc, config


def qwen2_style(lines):
    pattern = LLAMA3_REGEX.replace("{1,3}", "")
    cut = pre_tokenizers.Sequence([pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated"),
                                   pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    vocab, merges = train(lines, 1800, cut, pre_tokenizers.ByteLevel.alphabet())
    model = bpe(vocab, merges, strings=True, continuing_subword_prefix="", end_of_word_suffix="")
    tokens = [added("<|endoftext|>"), added("<|im_start|>"), added("<|im_end|>"), added("<tool_call>", special=False)]
    level = dict(BYTE_LEVEL, trim_offsets=False)
    config = {"add_bos_token": False, "add_prefix_space": False, "bos_token": None, "eos_token": "<|im_end|>",
              "tokenizer_class": "Qwen2Tokenizer", "clean_up_tokenization_spaces": False, "model_max_length": 32768}
    doc = document(model, tokens, {"type": "NFC"}, sequence(split(pattern), level), level, level)
    return doc, config


def gpt2_style(lines):
    vocab, merges = train(lines, 1200, pre_tokenizers.ByteLevel(add_prefix_space=False),
                          pre_tokenizers.ByteLevel.alphabet())
    model = bpe(vocab, merges, continuing_subword_prefix="", end_of_word_suffix="")
    del model["ignore_merges"]
    level = dict(BYTE_LEVEL, use_regex=True)
    config = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "tokenizer_class": "GPT2Tokenizer",
              "clean_up_tokenization_spaces": False, "model_max_length": 1024}
    return document(model, [added("<|endoftext|>")], None, level, level, level), config


# ---- one tiny tokenizer per stage and flag ----

CASE_TEXTS = [
    "Hello, world! It's 2024...", " lead  and trail \t\n", "a-b_c (d) [e] {f} \"g\" 'h' $5 + 6 = 11%", "e\u0301 é Å Å ﬁ",
    "１２３ ٣٤ Ⅷ ½ x²", "ÀÉÎ ŐŰ İI ẞß ΑΣ", "你好 世界。hello", "a\u00a0b\u3000c\u180ed\u2003e", "12ab34 5,678.90",
    "under_score café naïve", "!!!---???", "", "x", "  ", "\n\n\n", "the the  the   the", "▁the ▁▁ x", "d\u0323\u0307 ḍ̇ ṩ",
    "ab ab\u200dab", "A1b2C3", "한글 ㅎㅏㄴ 각", "😀👍 ok", "one\ntwo\r\nthree", "\x00\x01\x7f", "(?)", "क्षि ไทย ก็",
    "Tom & Jerry; ¿qué? «oui» — “x”", "ⓐ🅰 Ⓩ", "ABC abc Abc", "[MASK] x[MASK]y [MASK]s <x> day days yesterday",
]


def small_models(lines):
    """A model of characters whose merges do not care for words, so that every cut shows in the ids; and one of bytes."""
    few = [line for line in lines if line in SENTENCES] + CASE_TEXTS * 40
    few = ["".join(c for c in line if c.isprintable()).replace(" ", "▁") for line in few] + few
    whole = pre_tokenizers.Split(tokenizers.Regex("\\A\\z"), "isolated")
    vocab, merges = train(few, 700, whole, [], ["<unk>"] + BYTES)
    vocab = {k: v for k, v in vocab.items()}
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    byte_vocab, byte_merges = train(few, 420, level, pre_tokenizers.ByteLevel.alphabet())
    base = dict(unk_token="<unk>", fuse_unk=True, byte_fallback=True)

    # Only what a piece-wise spelled-out vocabulary leaves: no NUL, no 0xFF.
    gaps = {k: i for i, k in enumerate(k for k in byte_vocab if "Ā" not in k and "ÿ" not in k)}
    gap_merges = [m for m in byte_merges if m[0] in gaps and m[1] in gaps and m[0] + m[1] in gaps]
    half = {k: i for i, k in enumerate(k for k in vocab if not (k in BYTES[0x80:0xC8]))}
    half_merges = [m for m in merges if m[0] in half and m[1] in half and m[0] + m[1] in half]
    known = {k: i for i, k in enumerate(k for k in vocab if k not in BYTES)}
    # Merges of bytes and of the unknown token: text may not be cut between characters then.
    odd = dict(vocab)
    for token in ("<0xF0><0x9F>", "<0xF0><0x9F><0x98>", "<unk>a"):
        odd[token] = len(odd)
    odd_merges = [("<0xF0>", "<0x9F>"), ("<0xF0><0x9F>", "<0x98>"), ("<unk>", "a")] + merges
    return {
        "chars": bpe(vocab, merges, **base),
        "chars-unk": bpe(known, merges, unk_token="<unk>", fuse_unk=True),
        "chars-unk-single": bpe(known, merges, unk_token="<unk>"),
        "chars-drop": bpe(known, merges),
        "chars-half-bytes": bpe(half, half_merges, **base),
        "chars-odd-merges": bpe(odd, odd_merges, **base),
        "chars-ignore": bpe(vocab, merges, **dict(base, ignore_merges=True)),
        "bytes": bpe(byte_vocab, byte_merges),
        "bytes-ignore": bpe(byte_vocab, byte_merges[:60], ignore_merges=True),
        "bytes-gaps": bpe(gaps, gap_merges),
    }


def normalizer_cases():
    cases = [(name.lower(), {"type": name}) for name in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents")]
    for left in (False, True):
        for right in (False, True):
            cases.append(("strip-%d%d" % (left, right), {"type": "Strip", "strip_left": left, "strip_right": right}))
    replace = lambda kind, pattern, content: {"type": "Replace", "pattern": {kind: pattern}, "content": content}
    cases += [
        ("prepend", {"type": "Prepend", "prepend": "▁x"}),
        ("prepend-empty", {"type": "Prepend", "prepend": ""}),
        ("replace-string", replace("String", "the", "THE!")),
        ("replace-string-away", replace("String", " ", "")),
        ("replace-string-empty", replace("String", "", "-")),
        ("replace-regex", replace("Regex", "\\s+|[0-9]", "▁")),
        ("replace-regex-empty", replace("Regex", "x*", "y")),
        ("replace-regex-back", replace("Regex", "(?<=\\p{L})\\p{Lu}", "$0")),
        ("accents", sequence({"type": "NFD"}, {"type": "StripAccents"}, key="normalizers")),
        ("accents-recomposed", sequence({"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"}, {"type": "NFC"},
                                        key="normalizers")),
        ("nested", sequence({"type": "Lowercase"}, sequence(replace("String", " ", "▁"), {"type": "Prepend", "prepend": "▁"},
                                                            key="normalizers"), key="normalizers")),
    ]
    return [("normalizer-" + name, "chars", {"normalizer": stage}) for name, stage in cases]


BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]


def pretokenizer_cases():
    cases = []
    for behavior in BEHAVIORS:
        for invert in (False, True):
            tail = "-%s%s" % (behavior.lower(), "-inverted" if invert else "")
            cases.append(("split-string" + tail, split(string="th", behavior=behavior, invert=invert)))
            cases.append(("split-regex" + tail, split(regex="\\p{L}+|\\d", behavior=behavior, invert=invert)))
            cases.append(("split-space" + tail, split(regex="\\s", behavior=behavior, invert=invert)))
            cases.append(("split-empty" + tail, split(regex="b*", behavior=behavior, invert=invert)))
        cases.append(("punctuation-" + behavior.lower(), {"type": "Punctuation", "behavior": behavior}))
    cases.append(("punctuation", {"type": "Punctuation"}))
    cases.append(("digits", {"type": "Digits", "individual_digits": False}))
    cases.append(("digits-individual", {"type": "Digits", "individual_digits": True}))
    cases.append(("whitespace", {"type": "Whitespace"}))
    cases.append(("whitespace-split", {"type": "WhitespaceSplit"}))
    metaspace = lambda **more: {"type": "Metaspace", "replacement": "▁", **more}
    for scheme in ("always", "first", "never"):
        for cut in (True, False):
            cases.append(("metaspace-%s-%s" % (scheme, "split" if cut else "whole"),
                          metaspace(prepend_scheme=scheme, split=cut)))
    cases.append(("metaspace-old", metaspace(add_prefix_space=True)))
    cases.append(("metaspace-old-str-rep", metaspace(str_rep="▁", add_prefix_space=True)))
    cases.append(("metaspace-underscore", {"type": "Metaspace", "replacement": "_", "prepend_scheme": "always"}))
    cases.append(("sequence", sequence({"type": "WhitespaceSplit"}, {"type": "Punctuation"},
                                       {"type": "Digits", "individual_digits": True})))
    cases.append(("sequence-metaspace-first", sequence({"type": "Digits", "individual_digits": True},
                                                       metaspace(prepend_scheme="first", split=False))))
    cases.append(("sequence-nested", sequence(sequence(split(regex="[A-Z]+", behavior="MergedWithNext")),
                                              sequence({"type": "Punctuation", "behavior": "Contiguous"}, metaspace()))))
    regexes = {
        "gpt4": "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"
                "(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
        "cl100k": "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}+| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+|"
                  "\\s++$|\\s*[\\r\\n]|\\s+(?!\\S)|\\s",
        "deepseek": "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
                    " ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
        "chinese": "[一-龥\u0800-一가-퟿]+",
        "words": "\\w+", "no-words": "\\W+", "boundary": "\\b", "hex": "\\h+", "space-class": "[\\S]+", "lines": "^.+$",
        "dotall": "(?m:o.+d)", "caseless": "(?i)ABC|it's", "posix": "[[:alpha:][:digit:]]+|[[:punct:]]", "script": "\\p{Han}+",
        "long-names": "\\p{Letter}+|\\p{^L}", "interval": "[a-c]{,2}", "interval-plus": "\\p{L}{1,3}+", "braces": "a{|{x}",
        "possessive": "[a-z]++|.", "atomic": "(?>a|ab)c|b", "look": "(?<=a)b|(?<!a)c|d(?=e)", "code-points": "\\x{41}|\\u0062",
        "comment": "a(?#not b)b", "named": "(?<word>th)e", "lazy": "t.+?e", "double": "(?:ab)**",
    }
    for name, regex in regexes.items():
        cases.append(("regex-" + name, split(regex=regex)))
    out = [("pretokenizer-" + name, "chars", {"pre_tokenizer": stage}) for name, stage in cases]
    for prefix in (False, True):
        for regex in (False, True):
            stage = {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}
            name = "-%d%d" % (prefix, regex)
            decoder = {"decoder": BYTE_LEVEL}
            for model in ("bytes", "bytes-ignore", "bytes-gaps"):
                out.append(("bytelevel-" + model + name, model, {"pre_tokenizer": stage, **decoder}))
            out.append(("bytelevel-after-digits" + name, "bytes",
                        {"pre_tokenizer": sequence({"type": "Digits", "individual_digits": True}, stage), **decoder}))
            out.append(("bytelevel-then-split" + name, "bytes",
                        {"pre_tokenizer": sequence(stage, split(string="Ġ", behavior="MergedWithNext")), **decoder}))
    return out


def added_cases():
    cases = []
    for flag in ("single_word", "lstrip", "rstrip", "normalized"):
        cases.append((flag, [added("[MASK]", **{flag: True}), added("day", special=False, **{flag: True})]))
    cases.append(("all", [added("[MASK]", single_word=True, lstrip=True, rstrip=True, normalized=True),
                          added("th", special=False, lstrip=True, rstrip=True)]))
    cases.append(("longest", [added("day"), added("days", special=False), added("yes"), added("yesterday"), added("a"),
                              added("ab ab")]))
    cases.append(("spaces", [added(" ", special=False, rstrip=True), added("  ", special=False), added("\n", lstrip=True)]))
    cases.append(("in-vocab", [added("<unk>"), added("a", special=False), added("new"), added("e\u0301")]))
    cases.append(("twice", [added("day"), added("day", special=False, rstrip=True), added(""), added("x")]))
    out = []
    lower = {"type": "Lowercase"}
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    for name, tokens in cases:
        out.append(("added-" + name, "chars", {"added": tokens}))
        out.append(("added-" + name + "-lowercase", "chars", {"added": tokens, "normalizer": lower}))
        out.append(("added-" + name + "-llama", "chars",
                    {"added": tokens, "normalizer": LLAMA2_NORMALIZER, "decoder": LLAMA2_DECODER}))
        out.append(("added-" + name + "-metaspace", "chars", {"added": tokens, "pre_tokenizer": metaspace}))
    return out


def model_cases():
    names = ["chars", "chars-unk", "chars-unk-single", "chars-drop", "chars-half-bytes", "chars-odd-merges", "chars-ignore"]
    out = [("model-" + name, name, {}) for name in names]
    out += [("model-" + name + "-llama", name, {"normalizer": LLAMA2_NORMALIZER, "decoder": LLAMA2_DECODER})
            for name in names]
    return out


def decoder_cases():
    replace = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    regex = {"type": "Replace", "pattern": {"Regex": "▁+"}, "content": " "}
    strip = lambda start, stop: {"type": "Strip", "content": " ", "start": start, "stop": stop}
    fallback, fuse = {"type": "ByteFallback"}, {"type": "Fuse"}
    metaspace = lambda scheme: {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": True}
    row = lambda *stages: sequence(*stages, key="decoders")
    cases = {
        "none": None, "fuse": fuse, "fallback": fallback, "replace": replace, "regex": regex,
        "strip-left": row(replace, strip(2, 0)), "strip-right": row(replace, strip(0, 1)), "strip-many": row(replace, fallback, fuse, strip(3, 0)),
        "gemma": row(replace, fallback, fuse), "nested": row(row(replace, fallback), row(fuse, strip(1, 0))),
        "metaspace-always": metaspace("always"), "metaspace-first": metaspace("first"), "metaspace-never": metaspace("never"),
        "metaspace-fallback": row(fallback, fuse), "bytelevel": BYTE_LEVEL,
    }
    common = {"normalizer": LLAMA2_NORMALIZER, "added": [added("[MASK]"), added("day", special=False)]}
    return [("decoder-" + name, "chars", {**common, "decoder": stage}) for name, stage in cases.items()]


def post_cases():
    two = {"type": "Sequence", "processors": [BYTE_LEVEL, template(("<unk>", 0), "A", ("</s>", 7)), BYTE_LEVEL]}
    stages = {"template": template(("<s>", 5), "A"), "template-both": template(("<s>", 5), ("<s>", 6), "A", ("</s>", 7)),
              "template-twice": template("A", ("</s>", 7), "A"), "sequence": two, "bytelevel": BYTE_LEVEL}
    return [("post-" + name, "chars", {"post_processor": stage, "special": True}) for name, stage in stages.items()]


def all_cases():
    return (normalizer_cases() + pretokenizer_cases() + added_cases() + model_cases() + decoder_cases() + post_cases())


def case_document(parts, model):
    stages = {key: parts.get(key) for key in ("normalizer", "pre_tokenizer", "post_processor", "decoder")}
    return document(model, parts.get("added", ()), **stages)


# ---- goldens ----

def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)


def write_style(name, doc, config, texts):
    from transformers import AutoTokenizer
    folder = os.path.join(ROOT, name)
    write(os.path.join(folder, "tokenizer.json"), compact(doc) + "\n")
    write(os.path.join(folder, "tokenizer_config.json"), json.dumps(config, indent=1) + "\n")
    plain = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    whole = AutoTokenizer.from_pretrained(folder)
    rows = []
    for text in texts:
        plain.encode_special_tokens = False
        ids = plain.encode(text, add_special_tokens=False).ids
        plain.encode_special_tokens = True
        literal = plain.encode(text, add_special_tokens=False).ids
        row = {"text": text, "ids": ids}
        if literal != ids:
            row["literal_ids"] = literal  # special tokens' strings kept as text
        row["special_ids"] = whole(text)["input_ids"]
        assert row["special_ids"][-len(ids):] == ids or not ids, text
        decoded, skipped = plain.decode(ids, skip_special_tokens=False), plain.decode(ids, skip_special_tokens=True)
        if decoded != text:
            row["decoded"] = decoded
        if skipped != decoded:
            row["decoded_skip_special"] = skipped
        rows.append(compact(row))
    head = {"oracle": "tokenizers 0.22.2, transformers 4.57.6 (special_ids)", "made_by": "tests/goldens/make_tokenizers.py"}
    write(os.path.join(folder, "golden.json"), compact(head)[:-1] + ',"cases":[\n' + ",\n".join(rows) + "\n]}\n")


def write_cases(lines):
    rows = []
    chosen = small_models(lines)
    for name, model, parts in all_cases():
        doc = case_document(parts, chosen[model])
        tokenizer = Tokenizer.from_str(json.dumps(doc))
        special = parts.get("special", False)
        ids = [tokenizer.encode(text, add_special_tokens=special).ids for text in CASE_TEXTS]
        decoded = [tokenizer.decode(row, skip_special_tokens=True) for row in ids]
        stages = {key: doc[key] for key in ("added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder")}
        row = {"name": name, "model": model, "special": special, "stages": compact(stages)[1:-1], "ids": ids}
        if name.startswith(("decoder", "added", "model", "bytelevel")):
            row["decoded"] = decoded
        rows.append(compact(row))
    models_text = {key: compact(value) for key, value in chosen.items()}
    write(os.path.join(ROOT, "cases.json"),
          '{"oracle":"tokenizers 0.22.2","made_by":"tests/goldens/make_tokenizers.py",\n"texts":' + compact(CASE_TEXTS) +
          ',\n"models":' + compact(models_text) + ',\n"cases":[\n' + ",\n".join(rows) + "\n]}\n")


# ---- bytes that are no UTF-8 ----

WORD = 256  # "Hi", behind the tokens of the 256 bytes


def byte_letters():
    """The character that stands for each byte in byte-level vocabularies."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in shown]
    return [chr(byte) if byte in shown else chr(256 + others.index(byte)) for byte in range(256)]


def byte_rows():
    """Bytes at the edges of what may begin and continue a character; most rows end in a word."""
    edges = [0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF,
             0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF]
    rng = random.Random(11)
    rows = [[byte] for byte in edges] + [[0xE2, 0x82, 0x61], [0xF0, 0x9F, 0x98], [0xF0, 0x9F, 0x98, 0xE2, 0x82, 0xAC]]
    while len(rows) < 300:
        rows.append([rng.choice(edges if rng.random() < 0.6 else edges[2:8]) for _ in range(rng.randint(2, 7))])
    return [row + [WORD] * (i % 4 > 0) for i, row in enumerate(rows)]


def can_be_streamed(row):
    """Of byte fallback, which takes a run of bytes as a whole: a bad one makes U+FFFD of good characters beside it, too."""
    run = bytes(byte for byte in row if byte != WORD)
    good = run.decode(errors="ignore")
    return good == "" or good.encode() == run


def write_bytes():
    out = []
    for name, letters, decoder in (("byte-level", byte_letters(), BYTE_LEVEL), ("byte-fallback", BYTES, LLAMA2_DECODER)):
        model = bpe({token: ident for ident, token in enumerate([*letters, "Hi"])}, [], byte_fallback=letters is BYTES)
        doc = document(model, pre_tokenizer=BYTE_LEVEL if decoder is BYTE_LEVEL else None, decoder=decoder)
        tokenizer = Tokenizer.from_str(json.dumps(doc))
        rows = [row for row in byte_rows() if decoder is BYTE_LEVEL or can_be_streamed(row)]
        cases = [compact({"ids": row, "decoded": tokenizer.decode(row, skip_special_tokens=False)}) for row in rows]
        out.append('{"name":' + compact(name) + ',"tokenizer":' + compact(compact(doc)) + ',\n"cases":[\n' +
                   ",\n".join(cases) + "\n]}")
    write(os.path.join(ROOT, "bytes.json"),
          '{"oracle":"tokenizers 0.22.2","made_by":"tests/goldens/make_tokenizers.py","decoders":[\n' + ",\n".join(out) +
          "\n]}\n")


STYLES = {"llama2-style": llama2_style, "llama3-style": llama3_style, "qwen2-style": qwen2_style, "gpt2-style": gpt2_style}


def main():
    lines = training_text(7)
    texts = hard_texts()
    for name, make in STYLES.items():
        doc, config = make(lines)
        write_style(name, doc, config, texts)
    write_cases(lines)
    write_bytes()


if __name__ == "__main__":
    sys.exit(main())
