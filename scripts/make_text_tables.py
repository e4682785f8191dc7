#!/usr/bin/env python3
"""Writes the tables that the cleaning of prompts needs, from Python's html.entities and from ftfy.

    python3 -m venv V && V/bin/pip install ftfy==6.3.1
    V/bin/python scripts/make_text_tables.py

lib/text/html_entities.inc   the named character references of HTML 5
lib/text/ftfy/encodings.inc  the single-byte encodings that ftfy looks for, bytes 0x80 to 0xFF
lib/text/ftfy/patterns.inc   ftfy's regular expressions as PCRE2 takes them
"""
import html
import html.entities
import re._constants as op
import re._parser as parser
from pathlib import Path

import ftfy
from ftfy import badness, chardata, fixes

TEXT = Path(__file__).resolve().parent.parent / "lib/text"
WIDTH = 98
WHITE_SPACE = [c for c in range(0x110000) if chr(c).isspace()]


def packed(items):
    """The items in lines of at most WIDTH columns."""
    lines = [""]
    for item in items:
        if len(lines[-1]) + len(item) + 1 > WIDTH:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + item
    return "\n".join(lines) + "\n"


def literal(text):
    """A char32_t literal. Everything is an escape: what looks alike would else be the same on paper."""
    return 'U"' + "".join(f"\\U{ord(c):08x}" if ord(c) > 0xFFFF else f"\\x{ord(c):x}" for c in text) + '"'


def entities():
    names = sorted(name for name in html.entities.html5 if name.endswith(";"))
    for name in names:
        value = html.entities.html5[name]
        bare = html.entities.html5.get(name[:-1])
        assert bare in (None, value)
        folded = name.upper()
        # ftfy also takes names in capitals, where that is not another name.
        upper = name == name.lower() and html.unescape("&" + folded) == "&" + folded
        yield "{%s, %s, %d, %s}," % (f'"{name[:-1]}"', literal(value), bare is not None,
                                    literal(value.upper()) if upper else 'U""')
    assert all(name + ";" in html.entities.html5 for name in html.entities.html5 if not name.endswith(";"))


def character(c):
    return chr(c) if chr(c).isascii() and chr(c).isalnum() else f"\\x{{{c:x}}}"


def codes_of(item):
    """The code points of one item of a character class; None for \\w, which has too many."""
    kind, value = item
    if kind is op.LITERAL:
        return [value]
    if kind is op.RANGE:
        return list(range(value[0], value[1] + 1))
    if kind is op.CATEGORY and value is op.CATEGORY_SPACE:
        return WHITE_SPACE
    assert item == (op.CATEGORY, op.CATEGORY_WORD), item
    return None


def character_class(items):
    negated = items[0][0] is op.NEGATE
    codes, word = set(), ""
    for item in items[negated:]:
        found = codes_of(item)
        if found is None:
            word = r"\p{L}\p{N}_"
        else:
            codes.update(found)
    if len(codes) == 1 and not negated and not word:
        return character(codes.pop())
    out = ""
    for c in sorted(codes):
        if c - 1 in codes:
            continue
        last = c
        while last + 1 in codes:
            last += 1
        out += character(c) + ("" if last == c else ("-" if last > c + 1 else "") + character(last))
    return ("[^" if negated else "[") + out + word + "]"


def pcre2(tree):
    """A parsed Python pattern, of the few things that ftfy's have, for PCRE2 without UCP."""
    out = ""
    for kind, value in tree:
        if kind is op.LITERAL:
            out += character(value)
        elif kind is op.IN:
            out += character_class(value)
        elif kind is op.CATEGORY:
            out += character_class([(kind, value)])
        elif kind is op.NOT_LITERAL:
            out += character_class([(op.NEGATE, None), (op.LITERAL, value)])
        elif kind is op.ANY:
            out += "."
        elif kind is op.AT and value is op.AT_BEGINNING:
            out += "^"
        elif kind is op.BRANCH:
            out += "(?:" + "|".join(pcre2(branch) for branch in value[1]) + ")"
        elif kind is op.SUBPATTERN:
            out += "(?:" + pcre2(value[3]) + ")"
        elif kind is op.ASSERT_NOT:
            out += {1: "(?!", -1: "(?<!"}[value[0]] + pcre2(value[1]) + ")"
        elif kind is op.MAX_REPEAT:
            low, high, what = value
            high = "" if high is op.MAXREPEAT else high
            out += "(?:" + pcre2(what) + "){%s,%s}" % (low, high)
        else:
            raise ValueError(kind)
    return out


def pattern(name, expression, suffix=""):
    text = expression.pattern
    # Patterns for bytes are matched against texts whose characters are the bytes.
    text = text.decode("latin-1") if isinstance(text, bytes) else text
    source = pcre2(parser.parse(text, expression.flags)) + suffix
    lines = [source[i:i + WIDTH - 8] for i in range(0, len(source), WIDTH - 8)]
    return f"constexpr char {name}[] =\n" + "\n".join(f'    R"~({line})~"' for line in lines) + ";\n"


def encoding(name):
    table = bytes(range(0x80, 0x100)).decode(name)
    assert bytes(range(0x1A)).decode(name).isascii()
    lossy = bytes([0x1A]).decode(name) != "\x1a"
    return (f'{{"{name}", {str(lossy).lower()}, {{\n' + packed(f"0x{ord(c):x}," for c in table) + "}},\n")


def write(path, body):
    header = "// Made by scripts/make_text_tables.py"
    if "ftfy" in path.parts:
        header += f" from ftfy {ftfy.__version__} by Robyn Speer, Apache-2.0 (see NOTICE)"
    path.write_text(f"{header}. Not to be edited.\n{body}", encoding="ascii")


def main():
    write(TEXT / "html_entities.inc", packed(entities()))
    write(TEXT / "ftfy/encodings.inc", "".join(map(encoding, chardata.CHARMAP_ENCODINGS)))
    write(TEXT / "ftfy/patterns.inc", "".join([
        pattern("badness", badness.BADNESS_RE),
        # Nothing follows its repetition, so it may be possessive, which takes no stack.
        pattern("utf8_detector", chardata.UTF8_DETECTOR_RE, "+"),
        pattern("a_grave_word", fixes.A_GRAVE_WORD_RE),
        pattern("altered_utf8", chardata.ALTERED_UTF8_RE),
        pattern("lossy_utf8", chardata.LOSSY_UTF8_RE),
    ]))


if __name__ == "__main__":
    main()
