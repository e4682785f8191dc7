#!/usr/bin/env python3
"""What --quantize, --cache and --step-cache cost in quality and save in time, over several prompts and seeds.

Runs build/backlot once for each variant on the same items, one picture a batch, and prints for each the
seconds of denoising and the PSNR and SSIM of its pictures to those of float32 and of bfloat16 as it is; of
clips (--frames) of every frame, and how much of the transformer's work a step cache saved. Needs numpy and
Pillow. Examples:

    scripts/measure_quality.py --steps 20 --variant int8 --variant cache=2 --variant int8,cache=2
    scripts/measure_quality.py --model models/pocket-wan --size 64 --frames 17 --variant step_cache=0.1
"""
import argparse
import json
import math
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PROMPTS = ["a red apple", "a cat face", "a rocket on a blue background", "a strawberry", "a banana on a pink background"]


def read(path):
    return np.asarray(Image.open(path).convert("RGB"), dtype=np.float64)


def psnr(a, b):
    error = ((a - b) ** 2).mean()
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def blurred(x):
    """Wang et al.'s window: a Gaussian of 11 pixels, sigma 1.5, where it fits into the picture."""
    at = np.arange(-5, 6)
    kernel = np.exp(-(at**2) / (2 * 1.5**2))
    kernel /= kernel.sum()
    rows = sum(k * x[i : x.shape[0] - 10 + i] for i, k in enumerate(kernel))
    return sum(k * rows[:, i : x.shape[1] - 10 + i] for i, k in enumerate(kernel))


def ssim(a, b):
    """Structural similarity of the luma."""
    luma = np.array([0.299, 0.587, 0.114])
    x, y = a @ luma, b @ luma
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mx, my = blurred(x), blurred(y)
    vx, vy, vxy = blurred(x * x) - mx * mx, blurred(y * y) - my * my, blurred(x * y) - mx * my
    return float((((2 * mx * my + c1) * (2 * vxy + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean())


def options_of(variant):
    """Of "int8,cache=2" or "bfloat16" or "float32,cache=3": the command line's options."""
    options = {"dtype": "bfloat16"}
    for part in variant.split(","):
        if part in ("float32", "bfloat16", "float16"):
            options["dtype"] = part
        elif part in ("int8", "fp8"):
            options["quantize"] = part
        elif part.startswith("cache="):
            options["cache"] = int(part.removeprefix("cache="))
        elif part.startswith("step_cache="):
            options["step_cache"] = float(part.removeprefix("step_cache="))
        else:
            sys.exit(f"measure_quality: error: --variant {variant}: '{part}' is none of a dtype, int8, fp8, cache=N, "
                     "step_cache=PART")
    return options


def run(args, variant):
    """Makes the variant's pictures; -> their paths in order, the median seconds of denoising an item, and the share
    of the transformer's evaluations that were skipped."""
    folder = Path(args.output) / variant
    command = [args.binary, "generate", "-o", folder, "--fresh", "--quiet", "--batch-size", "1", "--device", args.device]
    options = options_of(variant)
    fields = {name: options.pop(name) for name in ("cache", "step_cache") if name in options}
    for name, value in options.items():
        command += [f"--{name}", value]
    spec = Path(args.output) / "spec.yaml"
    defaults = {"width": args.size, "height": args.size, "steps": args.steps, "guidance_scale": args.guidance_scale}
    defaults |= fields
    if args.frames:
        defaults |= {"frames": args.frames, "fps": 8}
    if args.scheduler:
        defaults["scheduler"] = args.scheduler
    jobs = [{"prompt": prompt, "seed": seed} for prompt in args.prompt or PROMPTS for seed in args.seed]
    output = {"format": "png-sequence" if args.frames else "png"}
    spec.write_text(json.dumps({"version": 1, "task": "text-to-video" if args.frames else "text-to-image",
                                "model": str(Path(args.model).resolve()), "defaults": defaults, "jobs": jobs,
                                "output": output}, indent=2))
    subprocess.run([str(part) for part in [*command, spec]], check=True, stdout=subprocess.DEVNULL)
    items = json.loads((folder / "manifest.json").read_text())["items"]
    # The first picture pays for what is made once.
    seconds = [item["seconds"]["denoise"] for item in items][1:] or [items[0]["seconds"]["denoise"]]
    skipped = [int(words[2]) / int(words[4]) for item in items for words in map(str.split, item["warnings"])
               if words[:2] == ["step", "cache:"]]
    outputs = [folder / item["output"] for item in items]
    pictures = [frame for output in outputs for frame in (sorted(output.glob("*.png")) if args.frames else [output])]
    return pictures, statistics.median(seconds), statistics.mean(skipped) if skipped else 0


def compare(pictures, reference):
    pairs = [(read(a), read(b)) for a, b in zip(pictures, reference)]
    decibels = [psnr(a, b) for a, b in pairs]
    return {"psnr": statistics.mean(min(each, 99.0) for each in decibels), "least_psnr": min(decibels),
            "ssim": statistics.mean(ssim(a, b) for a, b in pairs)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=ROOT / "build/backlot")
    parser.add_argument("--model", default=ROOT / "models/pocket-xl")
    parser.add_argument("--output", default=ROOT / "out/quality")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--prompt", action="append", help="may be given several times")
    parser.add_argument("--seed", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance-scale", type=float, default=3.5)
    parser.add_argument("--frames", type=int, help="clips of so many frames instead of pictures")
    parser.add_argument("--scheduler", help="the model's, if not given")
    parser.add_argument("--variant", action="append", help="dtype, int8, fp8, cache=N and step_cache=PART, joined by commas; bfloat16 "
                        "unless a dtype is named")
    parser.add_argument("--no-float32", action="store_true", help="compare to bfloat16 alone (half the memory)")
    args = parser.parse_args()

    shutil.rmtree(args.output, ignore_errors=True)
    Path(args.output).mkdir(parents=True)
    variants = args.variant or (["step_cache=0.05", "step_cache=0.1", "step_cache=0.2"] if args.frames else
                                ["int8", "cache=2", "cache=3", "cache=5", "int8,cache=2"])
    known = ["bfloat16"] if args.no_float32 else ["float32", "bfloat16"]
    made = {variant: run(args, variant) for variant in dict.fromkeys([*known, *variants])}

    print("| variant | denoise, s | of bfloat16 |" + (" skipped |" if args.frames else "")
          + " PSNR to float32 (least) | SSIM | PSNR to bfloat16 (least) | SSIM |")
    print("|---|---|---|---|---|---|---|" + ("---|" if args.frames else ""))
    for variant, (pictures, seconds, skipped) in made.items():
        cells = [f"{100 * skipped:.0f} %"] if args.frames else []
        for name in ("float32", "bfloat16"):
            if name == variant or name not in made:
                cells += ["–", "–"]
                continue
            found = compare(pictures, made[name][0])
            cells += [f"{found['psnr']:.1f} ({found['least_psnr']:.1f})", f"{found['ssim']:.4f}"]
        print(f"| {variant} | {seconds:.3f} | {seconds / made['bfloat16'][1]:.2f} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
