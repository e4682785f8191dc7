"""Clips and captions: Noto Color Emoji that move, spin, grow, shrink, bounce or rest over a coloured ground."""
import numpy as np
import torch
import torch.nn.functional as F

from pocket_xl.data import emoji_list, premultiplied, with_article
from pocket_xl.vocabulary import COLOUR_NAMES, COLOURS

from .tokenizer import make_tokenizer
from .vocabulary import HELD_OUT, MOTION_NAMES, MOTIONS, NAMES, OBJECTS

SIZE, FRAMES, RATE = 64, 17, 8  # pixels both ways, frames, frames a second
WHITE = COLOUR_NAMES.index("white")
GROUNDS = [" on {a} background", " over {a} background", " against {a} background", " in front of {a} background",
           ", {word} background", " on {word}"]
GROUND_WEIGHTS = [0.62, 0.08, 0.08, 0.06, 0.1, 0.06]


def stage_data(args):
    """sprites.npy (premultiplied RGBA, 128x128, in the order of NAMES) and the tokenizer's folder."""
    pngs = {name: png for _, name, _, _, png in emoji_list()}
    sprites = np.zeros((len(NAMES), 128, 128, 4), np.uint8)
    for sprite, name in zip(sprites, NAMES):
        sprite[5:122, 2:126] = premultiplied(pngs[name])
    np.save(args.work / "sprites.npy", sprites)
    rng = np.random.default_rng(0)
    make_tokenizer([caption(fact, rng) for fact in draw_facts(60000, rng)], args.work / "tokenizer")


def draw_facts(n, rng):
    """int [n, 3]: object, motion, ground, none of them held out."""
    facts = np.empty((n, 3), np.int64)
    held = {(NAMES.index(o), MOTION_NAMES.index(m), COLOUR_NAMES.index(g)) for o, m, g in HELD_OUT}
    for fact in facts:
        while True:
            ground = WHITE if rng.random() < 0.2 else rng.integers(len(COLOUR_NAMES))
            fact[:] = rng.integers(len(NAMES)), rng.integers(len(MOTION_NAMES)), ground
            if tuple(fact.tolist()) not in held:
                break
    return facts


def pick(choices, rng, first=0.0):
    """One of the choices, the first of them with that much more chance."""
    return choices[0] if rng.random() < first else choices[rng.integers(len(choices))]


def caption(fact, rng):
    """A random wording of what a clip shows."""
    name, motion = pick(OBJECTS[NAMES[fact[0]]], rng, 0.4), MOTION_NAMES[fact[1]]
    participles, finite, before = MOTIONS[motion]
    doing, does = pick(participles, rng, 0.3), pick(finite, rng, 0.3)
    r = rng.random()
    thing = with_article(name) if r < 0.8 else name if r < 0.88 else "the " + name if r < 0.94 else (
        f"an emoji of {with_article(name)}" if r < 0.97 else with_article(name) + " emoji")
    ground = ""
    if fact[2] != WHITE or rng.random() < 0.4:
        word = COLOUR_NAMES[fact[2]]
        ground = GROUNDS[rng.choice(len(GROUNDS), p=GROUND_WEIGHTS)].format(a=with_article(word), word=word)
    r = rng.random()
    if r < 0.16:
        text = f"{thing} {does}{ground}"
    elif r < 0.26 and before:
        text = f"{with_article(f'{pick(before, rng)} {name}')}{ground}"
    elif r < 0.32 and ground.startswith(" "):
        text = f"{ground.strip()}, {thing} {doing}"
    elif r < 0.38 and doing:
        text = f"{thing}{ground}, {doing}"
    else:
        text = f"{thing} {doing}".strip() + ground
    if rng.random() < 0.15:
        text = text[0].upper() + text[1:] + ("." if rng.random() < 0.7 else "")
    return text


def draw_path(motion, rng):
    """x, y, size [17] in pixels and angle [17] in radians of the sprite's square, frame by frame."""
    t = np.linspace(0, 1, FRAMES)
    size = np.full(FRAMES, rng.uniform(28, 34))
    x, y, angle = np.full(FRAMES, SIZE / 2), np.full(FRAMES, SIZE / 2), np.zeros(FRAMES)
    if motion in ("left", "right", "up", "down"):
        way = (t - 0.5) * rng.uniform(22, 30) * (-1 if motion in ("left", "up") else 1)
        along, across = (x, y) if motion in ("left", "right") else (y, x)
        along += way
        across += rng.uniform(-6, 6)
    elif motion == "spin":
        size[:] = rng.uniform(36, 44)
        x += rng.uniform(-4, 4)
        y += rng.uniform(-4, 4)
        angle += t * 2 * np.pi * rng.uniform(0.8, 1.0) * (1 if rng.random() < 0.5 else -1)
    elif motion in ("grow", "shrink"):
        small, large = rng.uniform(14, 18), rng.uniform(44, 52)
        size = small + (large - small) * (t if motion == "grow" else 1 - t)
        x += rng.uniform(-3, 3)
        y += rng.uniform(-3, 3)
    elif motion == "bounce":
        x += rng.uniform(-8, 8)
        y += rng.uniform(12, 14) - rng.uniform(22, 26) * np.abs(np.sin(2 * np.pi * t))
    else:
        size[:] = rng.uniform(32, 42)
        x += rng.uniform(-6, 6)
        y += rng.uniform(-6, 6)
    return x, y, size, angle


class Renderer:
    """Draws clips; every one is known by its facts and its random generator."""

    def __init__(self, args):
        rgba = torch.from_numpy(np.load(args.work / "sprites.npy")).permute(0, 3, 1, 2).float() / 255
        self.large = F.avg_pool2d(rgba, 2)
        self.small = F.avg_pool2d(rgba, 4)
        self.colours = torch.tensor([COLOURS[name] for name in COLOUR_NAMES]).float() / 255

    def sample(self, source, path):
        """[T, 4, 64, 64] of a sprite [4, S, S] along a path, drawn at twice the size and averaged."""
        x, y, size, angle = (torch.from_numpy(p).float() for p in path)
        cos, sin, scale = angle.cos(), angle.sin(), 2 / size
        # affine_grid's coordinates reach from -1 to 1 over the 64 pixels of the output.
        dx, dy, half = SIZE / 2 - x, SIZE / 2 - y, SIZE / 2
        theta = torch.stack([
            torch.stack([cos * half, sin * half, cos * dx + sin * dy], -1),
            torch.stack([-sin * half, cos * half, -sin * dx + cos * dy], -1)], 1) * scale[:, None, None]
        grid = F.affine_grid(theta, (len(x), 1, 2 * SIZE, 2 * SIZE), align_corners=False)
        return F.avg_pool2d(F.grid_sample(source.expand(len(x), -1, -1, -1), grid, align_corners=False), 2)

    def __call__(self, fact, rng, frames=slice(None)):
        """(clip [3, T, 64, 64] in -1..1, coverage [1, T, 64, 64] in 0..1), of all 17 frames or some of them"""
        path = [values[frames] for values in draw_path(MOTION_NAMES[fact[1]], rng)]
        # Of two sizes the one that is shrunk by less than two, so that nothing flickers.
        shrunk = path[2] < 24
        rgba = torch.empty(len(shrunk), 4, SIZE, SIZE)
        for chosen, sprites in ((shrunk, self.small), (~shrunk, self.large)):
            if chosen.any():
                rgba[torch.from_numpy(chosen)] = self.sample(sprites[fact[0]], [p[chosen] for p in path])
        colour = self.colours[fact[2]][None, :, None, None]
        clip = (rgba[:, :3] + (1 - rgba[:, 3:]) * colour).clamp(0, 1) * 2 - 1
        return clip.transpose(0, 1), rgba[:, 3:].transpose(0, 1)
