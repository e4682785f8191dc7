"""Does a clip show what was asked for? Measured on combinations that training never showed."""
import json

import numpy as np

from pocket_xl.data import with_article
from pocket_xl.vocabulary import COLOUR_NAMES, COLOURS

from .data import FRAMES, SIZE
from .export import GUIDANCE, STEPS, load_pipeline, make_clip, write_sheet
from .progress import start_process
from .vocabulary import HELD_OUT, MOTIONS, NAMES, OBJECTS

SEEDS = 4
DIFFERENT = 40  # sum over the channels, of 255, that sets an object apart from its ground


def ground_of(clip):
    """The name of the ground's colour: the nearest to the median of the first frame's rim."""
    rim = np.concatenate([clip[0, [0, 1, -2, -1]].reshape(-1, 3), clip[0][:, [0, 1, -2, -1]].reshape(-1, 3)])
    colour = np.median(rim, 0)
    return min(COLOUR_NAMES, key=lambda name: np.abs(colour - COLOURS[name]).sum())


def masks_of(clip):
    """bool [17, 64, 64]: where the object is"""
    rim = np.median(clip[:, [0, -1]].reshape(-1, 3), 0)
    return np.abs(clip.astype(float) - rim).sum(-1) > DIFFERENT


def motion_of(clip):
    """The name of the motion, by the object's area and centre from frame to frame and by what changes."""
    masks = masks_of(clip)
    area = masks.sum((1, 2)).clip(1)
    ys, xs = np.mgrid[:SIZE, :SIZE]
    x, y = (masks * xs).sum((1, 2)) / area, (masks * ys).sum((1, 2)) / area
    growth = np.sqrt(area[-3:].mean() / area[:3].mean())
    if growth > 1.5 or growth < 1 / 1.5:
        return "grow" if growth > 1 else "shrink"
    dx, dy = x[-2:].mean() - x[:2].mean(), y[-2:].mean() - y[:2].mean()
    if max(abs(dx), abs(dy)) > 10:
        return ("right" if dx > 0 else "left") if abs(dx) > abs(dy) else ("down" if dy > 0 else "up")
    if np.ptp(y) > 10:
        return "bounce"
    # Frames 5 to 12 against the first: a turning object differs much from itself.
    change = np.abs(clip[5:12].astype(float) - clip[0]).sum(-1)
    return "spin" if change[:, masks[0]].mean() > 60 else "still"


def colours_of(clip):
    """A histogram of the object's colours, 6 x 6 x 6, over all frames"""
    seen = clip[masks_of(clip)] // 43
    histogram = np.bincount(seen @ (36, 6, 1), minlength=216).astype(float)
    return histogram / max(1, histogram.sum())


def object_of(clip, references):
    """The emoji whose colours are the most alike; a rough measure, blind to shapes."""
    histogram = colours_of(clip)
    return max(NAMES, key=lambda name: np.minimum(histogram, references[name]).sum())


def make_references(args, ground):
    """{name: colours} of every emoji over that ground, as the training's clips draw them"""
    from .data import Renderer
    renderer, references = Renderer(args), {}
    for i, name in enumerate(NAMES):
        clip, _ = renderer((i, list(MOTIONS).index("still"), COLOUR_NAMES.index(ground)), np.random.default_rng(i))
        pixels = ((clip + 1) * 127.5).round().byte().permute(1, 2, 3, 0).numpy()
        references[name] = colours_of(pixels)
    return references


def prompt_of(name, motion, ground):
    return f"{with_article(OBJECTS[name][0])} {MOTIONS[motion][0][0]} on {with_article(ground)} background"


def check_renderer(args, n=400):
    """The measures themselves, on clips as they were drawn: they must name nearly all of them."""
    from .data import MOTION_NAMES, Renderer, draw_facts
    renderer, rng = Renderer(args), np.random.default_rng(11)
    right = {"ground": 0, "motion": 0}
    for fact in draw_facts(n, rng):
        clip = ((renderer(fact, rng)[0] + 1) * 127.5).round().byte().permute(1, 2, 3, 0).numpy()
        right["ground"] += ground_of(clip) == COLOUR_NAMES[fact[2]]
        right["motion"] += motion_of(clip) == MOTION_NAMES[fact[1]]
    print("measures on clips as drawn:", {name: f"{count} of {n}" for name, count in right.items()}, flush=True)


def stage_check(args):
    start_process(args, 0)
    check_renderer(args)
    pipeline = load_pipeline(args)
    results, clips, titles = [], [], []
    for name, motion, ground in HELD_OUT:
        references = make_references(args, ground)
        for seed in range(SEEDS):
            clip = make_clip(pipeline, prompt_of(name, motion, ground), seed)
            found = {"object": object_of(clip, references), "motion": motion_of(clip), "ground": ground_of(clip)}
            results.append({"prompt": prompt_of(name, motion, ground), "seed": seed, "found": found,
                            "right": [found["object"] == name, found["motion"] == motion, found["ground"] == ground]})
            if seed == 0:
                clips.append(clip)
                titles.append(results[-1]["prompt"])
            print(results[-1]["prompt"], seed, found, flush=True)
    write_sheet(clips, titles, args.work / "check.png")
    (args.work / "check.json").write_text(json.dumps(results, indent=1))
    objects, motions, grounds = np.sum([result["right"] for result in results], 0)
    every = sum(all(result["right"]) for result in results)
    print(f"held out, {STEPS} steps, guidance {GUIDANCE}, {FRAMES} frames: object {objects}, motion {motions}, "
          f"ground {grounds}, all three {every} of {len(results)}")
