#!/usr/bin/env python3
"""Makes tests/data/clean_prompt.json: prompts, and what diffusers' prompt_clean() makes of them.

    python3 -m venv V && V/bin/pip install ftfy==6.3.1
    V/bin/python scripts/make_clean_prompt_cases.py            the cases of the tests
    V/bin/python scripts/make_clean_prompt_cases.py 20000 7    as many others from this seed, on standard output
"""
import html
import json
import random
import re
import sys
from pathlib import Path

import ftfy
from ftfy import chardata

OUT = Path(__file__).resolve().parent.parent / "tests/data/clean_prompt.json"
SAMPLES = [
    "a red fox jumping over a frozen river, golden hour, 35mm photo",
    "café crème à la carte, naïve façade, Ångström, œuvre, señor",
    "“curly quotes” and ‘single’ ones — dashes – and… ellipses™ ® ©",
    "Größe über Straße, Äpfel & Öl, ß",
    "Привет, мир! Золотая осень в лесу",
    "Ελληνικά γράμματα και τόνοι, θάλασσα",
    "你好，世界。一只红色的狐狸在雪地里奔跑",
    "こんにちは世界、赤い狐が走る",
    "한국어 테스트 빨간 여우",
    "مرحبا بالعالم ثعلب أحمر",
    "שלום עולם",
    "नमस्ते दुनिया लाल लोमड़ी",
    "zażółć gęślą jaźń, příliš žluťoučký kůň",
    "şişe, ığdır, çay, ağaç İstanbul",
    "ąčęėįšųūž Lietuva, ģimene ķirsis",
    "🦊 jumps 🎬 over 👩‍👩‍👧‍👦 and 🏳️‍🌈 👍🏽",
    "price: €10 £5 ¥100 ½ ² ± × ÷ ≤ ≥ ∞ √",
    "à quel point, às vezes, àquela hora, voilà le travail",
]
PIECES = [
    "Ã©", "Ã ", "Ã\xa0", "â€™", "â€œ", "â€\x9d", "â€�", "â€¦", "Â ", "Â\xa0", "Â°", "Ð¿Ñ€", "ðŸ˜€", "ðŸ¦Š", "œ", "Å", "°", "№", "β€™",
    "вЂ™", "ГўВЂВ™ a", "√±", "‚Äî", "ā€™", "\x80", "\x85", "\x91x\x92", "\x81", "×²", "ØŸØ§", "à²", "Ò", "█Ö", "Ă©", "\ufffd", "Ã\ufffd",
    "&amp;", "&lt;", "&gt;", "&quot;", "&eacute;", "&EACUTE;", "&NTILDE;", "&nTILDE;", "&hellip;", "&notin;", "&notit;", "&not", "&amp",
    "&AMP", "&ampx", "&copy2", "&#39;", "&#x27", "&#x1F98A;", "&#128;", "&#x110000;", "&#xD800;", "&#0;", "&#11;", "&#59;", "&#;", "&#x;",
    "&#99999999999999999999;", "&amp;amp;", "&amp;lt;b&amp;gt;", "&;", "&", "&&", "&#38;lt;", "&fflig;", "&NewLine;", "&nbsp;",
    "&ThickSpace;", "&CounterClockwiseContourIntegral;", "&SZLIG;", "<", "<b>", "</b>", "ﬁ", "ﬄ", "ﬆ", "ﬅ", "Ĳ", "ŉ", "Ǆ", "ǅ", "ǆ", "Ǳ", "ＡＢＣ",
    "　", "！", "ｶﾞ", "ﾊﾟ", "ﾡ", "￣", "￦", "“", "”", "‘", "’", "‛", "‟", "ʼ", "„", "‚", "\r\n", "\r", "\n", "\u2028", "\u2029", "\x0b", "\x0c", "\t",
    "\x1b[31m", "\x1b[0;1H", "\x1b[", "\x1b", "\x00", "\x1c", "\x1f", "\x7f", "\x1a", "\ufeff", "\ufffc", "\u206a", "\u200b", "\u200d",
    "e\u0301", "A\u030a", "각", "\u0301", "\U0001d173", "\U000e0067", "  ", "\xa0", "\u3000", " ", "a", "Z", "1", "?", ".",
    "\xed\xa0\xbd\xed\xb8\x80", "\xc0\x80", "\xed\xa0\xbd", "í\xa0½í¸\x80", "\ud7ff", "\ue000", "𝒥", "", "ǈ",
]


def prompt_clean(text):
    """diffusers 0.42.1, pipelines/wan/pipeline_wan.py"""
    text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    return re.sub(r"\s+", " ", text).strip()


def mojibake(text, encoding, errors="replace"):
    return text.encode("utf-8").decode(encoding, errors=errors)


def fixed_cases():
    yield from SAMPLES
    yield from PIECES
    for piece in PIECES:
        yield f"a {piece} cat{piece}"
    for sample in SAMPLES:
        for encoding in chardata.CHARMAP_ENCODINGS:
            yield mojibake(sample, encoding)
        yield mojibake(sample, "windows-1252")
        yield mojibake(mojibake(sample, "sloppy-windows-1252"), "latin-1")
        yield mojibake(sample, "latin-1").replace("\xa0", " ")
        yield "plain text, then " + mojibake(sample, "sloppy-windows-1252") + " then “more”"
        yield html.escape(html.escape(sample + ' <i>"x"</i>'))
        yield sample.encode("utf-16", "surrogatepass").decode("latin-1")[2:]
    yield "first &amp; line\nsecond < &amp; line\nthird &amp; line"
    yield "&" + "amp;" * 30
    yield mojibake("\N{FOX FACE}".encode("utf-16-be", "surrogatepass").decode("utf-16-be"), "latin-1")
    yield "ÐŸÑ€Ð¸Ð²ÐµÑ‚ " * 40
    yield "\xc3\xa9" * 3000


def random_case(draw):
    kind = draw.random()
    if kind < 0.4:
        return "".join(draw.choice(PIECES) for _ in range(draw.randint(1, 8)))
    if kind < 0.7:
        text = draw.choice(SAMPLES)
        begin = draw.randrange(len(text))
        text = text[begin:begin + draw.randint(1, 30)]
        for _ in range(draw.randint(1, 2)):
            text = mojibake(text, draw.choice(chardata.CHARMAP_ENCODINGS + ["windows-1252"]))
        if draw.random() < 0.3:
            text = text.replace("\xa0", " ")
        return draw.choice(["", "a ", "é ", "“"]) + text + draw.choice(["", " b", draw.choice(PIECES)])
    table = draw.choice([range(0x80, 0x180), range(0x370, 0x530), range(0x20, 0x250), range(0x2000, 0x2200), range(0xFF00, 0xFFF0),
                         range(0xA0, 0x100), range(0x300, 0x370), range(0xAC00, 0xAC40)])
    return "".join(chr(draw.choice(table)) if draw.random() < 0.8 else draw.choice(PIECES) for _ in range(draw.randint(1, 12)))


def cases(texts):
    return [[text, prompt_clean(text)] for text in dict.fromkeys(texts)]


def main():
    if len(sys.argv) > 1:
        draw = random.Random(int(sys.argv[2]))
        json.dump(cases(random_case(draw) for _ in range(int(sys.argv[1]))), sys.stdout)
        return
    draw = random.Random(1)
    chosen = cases([*fixed_cases(), *(random_case(draw) for _ in range(300))])
    lines = ",\n".join(json.dumps(case) for case in chosen)
    OUT.write_text(f"[\n{lines}\n]\n")
    print(f"{OUT}: {len(chosen)} cases, {sum(a != b for a, b in chosen)} of them changed")


if __name__ == "__main__":
    main()
