#!/usr/bin/env python3
"""Writes src/text/unicode_tables.c: where Hugging Face's tokenizers know another Unicode than utf8proc and PCRE2; and
tests/tokenizers/unicode.json, what they know.

    python3.11 -m venv venv && venv/bin/pip install tokenizers==0.23.3
    venv/bin/python tests/goldens/make_unicode.py          # a minute or two

The source is the library itself, asked about every code point: its regular expressions (Oniguruma, Unicode 16), the
regex crate behind Whitespace (16), Rust's own char (Digits, Lowercase), and the older tables of its normalizers
(Unicode 9) and of Punctuation. Compared with Unicode 14, which is what Python 3.11 has and the least that PCRE2 and
utf8proc of the distributions have. tokenizers 0.22.2 answers the same.
"""
import bisect
import json
import os
import unicodedata

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

assert tokenizers.__version__ == "0.23.3" and unicodedata.unidata_version == "14.0.0"
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
TARGET = os.path.join(ROOT, "src", "text", "unicode_tables.c")
GOLDEN = os.path.join(ROOT, "tests", "tokenizers", "unicode.json")
PATTERNS = ["\\p{L}", "\\p{N}", "\\p{M}", "\\p{P}", "\\p{S}", "\\p{Lu}", "\\p{Ll}", "\\p{Lt}", "\\p{Lm}", "\\p{Lo}",
            "\\p{Mn}", "\\p{Nd}", "\\p{Han}", "\\p{C}", "\\s", "\\w", "\\d", "[^\\s\\p{L}\\p{N}]", "\\P{L}", "[\\P{N}]",
            "[^\\w\\s]", "\\p{Word}", "[^[:word:]]", "\\p{Punct}", "[[:punct:]]", "\\p{Alpha}", "[[:alnum:]]", "\\p{Upper}",
            "\\p{Lower}", "\\p{Extended_Pictographic}", "\\p{Emoji_Modifier_Base}"]
CODES = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co".split()
ALIKE = ("Alphabetic Uppercase Lowercase Ideographic Han Hiragana Katakana Extended_Pictographic Emoji_Modifier_Base"
         .split())  # what a stand-in shares besides


def removed(stage):
    """The code points that a stage takes away."""
    out = set()
    for at in range(0, len(CODES), 2048):
        block = CODES[at:at + 2048]
        kept = set()
        for _, (start, end) in stage.pre_tokenize_str("".join(map(chr, block))):
            kept.update(block[start:end])
        out.update(c for c in block if c not in kept)
    return out


def matched(pattern):
    return removed(pre_tokenizers.Split(Regex(pattern), "removed"))


def words():
    """What Whitespace keeps with a letter and apart from a sign."""
    stage = pre_tokenizers.Whitespace()
    return {c for c in CODES if len(stage.pre_tokenize_str("a" + chr(c))) == 1 < len(stage.pre_tokenize_str("." + chr(c)))}


def old_category(code):
    return unicodedata.category(chr(code))


def old_word(code):
    category = old_category(code)
    return (category[0] in "LM" or category in ("Nd", "Nl", "Pc") or code in (0x200C, 0x200D)
            or 0x24B6 <= code <= 0x24E9 or 0x1F130 <= code <= 0x1F149 or 0x1F150 <= code <= 0x1F169
            or 0x1F170 <= code <= 0x1F189)


def width(code):
    return len(chr(code).encode())


def ranges(pairs):
    """[(code, value)] -> [[first, last, value]] of neighbours with the same value."""
    rows = []
    for code, value in sorted(pairs):
        if rows and rows[-1][1] == code - 1 and rows[-1][2] == value:
            rows[-1][1] = code
        else:
            rows.append([code, code, value])
    return rows


def stand_ins(category):
    """[first, last, stand-in]: one that Unicode 14 has, of the same category and length, as near as can be."""
    alike = [matched("\\p{%s}" % name) for name in ALIKE]
    sign = {c: (category[c], width(c)) + tuple(c in group for group in alike) for c in category}
    newer = {c for c in category if old_category(c) != category[c]}
    places = {}
    for c in sorted(set(category) - newer):
        places.setdefault(sign[c], []).append(c)
    rows = ranges((c, sign[c]) for c in newer)
    for row in rows:
        choices = places[row[2]]
        at = bisect.bisect(choices, row[0])
        row[2] = min(choices[max(at - 1, 0):at + 1], key=lambda c: abs(c - row[0]))
    return rows


def removed_by_digits():
    stage = pre_tokenizers.Digits(individual_digits=True)
    return {c for c in CODES if len(stage.pre_tokenize_str("a" + chr(c))) == 2}


def exceptions(category):
    """[first, last, flags]"""
    flags = {}

    def mark(codes, flag):
        for code in codes:
            flags.setdefault(code, set()).add(flag)

    mark((c for c in removed_by_digits() if old_category(c)[0] != "N"), "NUMBER")
    mark((c for c in words() if not old_word(c)), "WORD")
    punctuation = removed(pre_tokenizers.Punctuation("removed"))
    is_punctuation = lambda c: category.get(c, "Cn")[0] == "P" or old_category(c)[0] == "P"
    mark((c for c in CODES if c > 0x7F and is_punctuation(c) and c not in punctuation), "NO_PUNCTUATION")
    mark((c for c in punctuation if c > 0x7F and old_category(c)[0] != "P"), "PUNCTUATION")
    strip = normalizers.StripAccents()
    marks = {c for c in CODES if strip.normalize_str(chr(c)) == ""}
    new_marks = {c for c in CODES if "M" in (category.get(c, "Cn")[0], old_category(c)[0]) and c not in marks}
    mark(new_marks, "NO_MARK")
    mark((c for c in marks if old_category(c)[0] != "M"), "MARK")
    nfkd = normalizers.NFKD()
    whole = {c for c in CODES if unicodedata.normalize("NFKD", chr(c)) != chr(c) and nfkd.normalize_str(chr(c)) == chr(c)
             and not 0xAC00 <= c <= 0xD7A3}
    newer = {c for c in category if old_category(c) == "Cn"}
    mark(new_marks | whole | newer, "INERT")
    return ranges((c, " | ".join("UNICODE_" + f for f in sorted(names))) for c, names in flags.items())


def golden():
    """{"regex or stage": [first, length, gap to the next first, ...]}: ranges, each from the end of the one before."""
    groups = {pattern: matched(pattern) for pattern in PATTERNS}
    groups["Digits"] = removed_by_digits()
    groups["Punctuation"] = removed(pre_tokenizers.Punctuation("removed"))
    groups["Whitespace"] = words()
    groups["StripAccents"] = {c for c in CODES if normalizers.StripAccents().normalize_str(chr(c)) == ""}
    out = {}
    for name, group in groups.items():
        flat, end = [], 0
        for first, last, _ in ranges((c, True) for c in group):
            flat += [first - end, last - first + 1]
            end = last + 1
        out[name] = flat
    return out


def lower():
    """[first, last, distance to the lower case]"""
    stage = normalizers.Lowercase()
    pairs = []
    for code in CODES:
        small = stage.normalize_str(chr(code))
        if len(small) == 1 and ord(small) != code and chr(code).lower() != small:
            pairs.append((code, ord(small) - code))
    return ranges(pairs)


def table(kind, name, rows, last):
    lines, line = [], "\t"
    for row in rows:
        item = "{0x%X, 0x%X, %s}, " % (row[0], row[1], last(row[2]))
        if len(line) + len(item) > 118:
            lines.append(line.rstrip())
            line = "\t"
        line += item
    lines.append(line.rstrip())
    return ("const struct %s %s[] = {\n%s\n};\nconst size_t n_%s = sizeof %s / sizeof *%s;\n"
            % (kind, name, "\n".join(lines), name, name, name))


def main():
    category = {}
    for name in CATEGORIES:
        category.update((c, name) for c in matched("\\p{%s}" % name))
    parts = [
        "/* Made by tests/goldens/make_unicode.py from tokenizers 0.23.3; do not edit. */\n#include \"text/unicode_tables.h\"\n",
        "/* clang-format off */",
        table("unicode_stand_in", "unicode_stand_ins", stand_ins(category), lambda v: "0x%X" % v),
        table("unicode_exception", "unicode_exceptions", exceptions(category), lambda v: v),
        table("unicode_lower", "unicode_lowers", lower(), lambda v: "%d" % v),
    ]
    with open(TARGET, "w", encoding="utf-8", newline="\n") as file:
        file.write("\n".join(parts) + "/* clang-format on */\n")
    rows = ['"%s": %s' % (name.replace("\\", "\\\\"), json.dumps(row, separators=(",", ":"))) for name, row in golden().items()]
    head = '{"oracle": "tokenizers 0.23.3", "made_by": "tests/goldens/make_unicode.py",\n"ranges": {\n'
    with open(GOLDEN, "w", encoding="utf-8", newline="\n") as file:
        file.write(head + ",\n".join(rows) + "\n}}\n")


if __name__ == "__main__":
    main()
