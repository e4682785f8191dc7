"""Pictures and captions: Noto Color Emoji's bitmaps, CLDR's English names and keywords."""
import io
import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import torch

from .tokenizer import make_tokenizers
from .vocabulary import ALIAS, COLOUR_NAMES, COLOURS, SKIP_NAME

FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"  # Debian's fonts-noto-color-emoji
CLDR = "/usr/share/unicode/cldr/common"  # Debian's unicode-cldr-core
SIZE = 128  # pixels, both ways


def read_names():
    """{char: name}, {char: [keywords]}"""
    names, keywords = {}, {}
    for annotation in ET.parse(f"{CLDR}/annotations/en.xml").iter("annotation"):
        char = annotation.get("cp")
        if annotation.get("type") == "tts":
            names[char] = annotation.text.strip()
        else:
            keywords[char] = [word.strip() for word in annotation.text.split("|")]
    return names, keywords


def read_categories():
    """{char: (category, subcategory)}"""
    categories = {}
    with open(f"{CLDR}/properties/labels.txt", encoding="utf-8") as file:
        for line in file:
            if not line.startswith("["):
                continue
            chars, category, sub = [part.strip() for part in line.split(";")]
            for m in re.finditer(r"(.)-(.)|(.)", re.sub(r"\{[^}]*\}", "", chars[1:-1])):
                for code in range(ord(m[1]), ord(m[2]) + 1) if m[1] else [ord(m[3])]:
                    categories[chr(code)] = (category, sub)
    return categories


def weight_of(category, sub):
    """How often an emoji is drawn, by what people ask for."""
    if category.startswith(("Animals", "Food")):
        return 2.0
    if category.startswith(("Travel", "Objects", "Activit")):
        return 1.5
    if category.startswith(("Symbols", "Flags")):
        return 0.7
    if sub.startswith(("person", "family", "hand", "body")):
        return 0.6
    return 1.0


def emoji_list(everything=False):
    """[(char, name, [keywords], weight, png)] for single-codepoint emoji that the font draws in colour."""
    from fontTools.ttLib import TTFont
    font = TTFont(FONT)
    glyphs, strike = font.getBestCmap(), font["CBDT"].strikeData[0]
    names, keywords = read_names()
    categories = read_categories()
    found = []
    for char, name in names.items():
        if len(char) != 1 or ord(char) not in glyphs or ord(char) < 0x203C:
            continue
        glyph = strike.get(glyphs[ord(char)])
        if glyph is None or not hasattr(glyph, "imageData"):
            continue
        if not everything and SKIP_NAME.search(name.lower()):
            continue
        found.append((char, name.lower().replace("’", "'"), [k.lower() for k in keywords.get(char, [])],
                      weight_of(*categories.get(char, ("", ""))), glyph.imageData))
    return found


def premultiplied(png):
    """A bitmap as uint8 [117, 124, 4], colours multiplied by alpha so that edges stay clean."""
    from PIL import Image
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA")).astype(np.float32)
    pixels[..., :3] *= pixels[..., 3:] / 255
    channels = [Image.fromarray(pixels[..., c]).resize((124, 117), Image.LANCZOS) for c in range(4)]
    return np.clip(np.stack([np.asarray(c) for c in channels], -1), 0, 255).round().astype(np.uint8)


def stage_data(args):
    """emoji.npz (RGBA 128x128), emoji.json (names, keywords, weights) and the two tokenizer folders."""
    emoji = emoji_list(args.everything)
    rgba = np.zeros((len(emoji), SIZE, SIZE, 4), np.uint8)
    for i, entry in enumerate(emoji):
        rgba[i, 5:122, 2:126] = premultiplied(entry[4])
    np.savez_compressed(args.work / "emoji.npz", rgba=rgba)
    facts = [{"ch": char, "name": name, "kw": keywords, "w": weight}
             for char, name, keywords, weight, _ in emoji]
    (args.work / "emoji.json").write_text(json.dumps(facts, ensure_ascii=False, indent=0))
    print(len(facts), "emoji;", sum(fact["w"] for fact in facts), "weight")
    rng = np.random.default_rng(0)
    corpus = [caption(fact, 1 + i % 7, rng, drop=0) for fact in facts for i in range(24)]
    corpus += [word for fact in facts for word in fact["kw"] + [fact["name"]] for _ in range(3)]
    make_tokenizers(corpus, args.work)


def with_article(name):
    if re.search(r"s$", name) and not re.search(r"(ss|us|cactus|bus|glass)$", name):
        return name
    return ("an " if name[0] in "aeiou" else "a ") + name


def describe(name, keywords, rng):
    """A random wording for one emoji, without its background."""
    r = rng.random()
    if r < 0.34:
        return with_article(name)
    if r < 0.54:
        return name
    if r < 0.64:
        return "emoji of " + with_article(name)
    if r < 0.70:
        return "a picture of " + with_article(name)
    if r < 0.76:
        return name + " emoji"
    if r < 0.92 or not keywords:
        chosen = list(rng.permutation(keywords)[: rng.integers(1, 4)]) if keywords else []
        return ", ".join([with_article(name) if rng.random() < 0.5 else name] + chosen)
    # Keywords alone: the picture must be guessed from a part of its description.
    chosen = list(rng.permutation(keywords)[: rng.integers(1, 3)])
    return " ".join(chosen) if rng.random() < 0.5 else with_article(chosen[0])


def caption(fact, colour, rng, drop=0.1):
    """A random caption for one emoji on one background (an index of COLOUR_NAMES)."""
    if rng.random() < drop:
        return ""
    name = fact["name"]
    if name in ALIAS and rng.random() < 0.45:
        name = ALIAS[name][rng.integers(len(ALIAS[name]))]
    text = describe(name, [k for k in fact["kw"] if k != name], rng)
    if colour or rng.random() < 0.3:
        word = COLOUR_NAMES[colour]
        p = rng.random()
        if p < 0.7:
            text += f" on {with_article(word)} background"
        else:
            text += f", {word} background" if p < 0.9 else f" on {word}"
    return text


def composite(rgba, colour):
    """uint8 premultiplied RGBA [B, 128, 128, 4], float colour [B, 3] in 0..1 -> [B, 3, 128, 128] in -1..1."""
    x = rgba.float() / 255
    y = x[..., :3] + (1 - x[..., 3:]) * colour[:, None, None, :]
    return (y.clamp(0, 1) * 2 - 1).permute(0, 3, 1, 2)


def colour_table(device):
    return torch.tensor([COLOURS[name] for name in COLOUR_NAMES], device=device).float() / 255


def load_facts(args):
    return json.loads((args.work / "emoji.json").read_text())


def load_data(args):
    return torch.from_numpy(np.load(args.work / "emoji.npz")["rgba"]).to(args.device), load_facts(args)
