#!/usr/bin/env python3
"""Train "pocket-xl": a tiny text-to-image model in the exact Stable Diffusion XL architecture and diffusers
folder layout, from scratch, on Noto Color Emoji.

  scripts/train_pocket_xl.py all --vae-minutes 15 --unet-minutes 30                 # CPU
  scripts/train_pocket_xl.py all --device cuda --vae-minutes 4 --unet-minutes 5

Stages (each can be run by itself): data, vae, latents, unet, export, samples, bench.
Needs: torch, diffusers, transformers, tokenizers, fonttools, pillow, numpy, and the Debian packages
fonts-noto-color-emoji (OFL) and unicode-cldr-core (Unicode licence).
On a CPU, --procs N trains with N one-thread processes that average gradients (gloo): one barrier a step
instead of one an op, so it stays fast where cores are shared.
"""
import argparse
import subprocess
import sys
from pathlib import Path

import torch

from pocket_xl.data import stage_data
from pocket_xl.export import stage_bench, stage_export, stage_samples
from pocket_xl.group_norm import library
from pocket_xl.unet import stage_unet
from pocket_xl.vae import stage_latents, stage_vae

STAGES = {"data": stage_data, "vae": stage_vae, "latents": stage_latents, "unet": stage_unet,
          "export": stage_export, "samples": stage_samples, "bench": stage_bench}
PARALLEL = ("vae", "unet")
WORK = Path(__file__).resolve().parent.parent / "out/pocket-xl-training"


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=["all", *STAGES])
    parser.add_argument("--work", type=Path, default=WORK, help="everything between the stages (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="the diffusers folder (default: pocket-xl in the work folder)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--procs", type=int, default=2, help="one-thread processes for CPU training")
    parser.add_argument("--vae-minutes", type=float, default=15)
    parser.add_argument("--unet-minutes", type=float, default=30)
    parser.add_argument("--vae-batch", type=int, default=4)
    parser.add_argument("--vae-lr", type=float, default=2e-3)
    parser.add_argument("--unet-batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=2, help="noise draws that share one caption in a batch")
    parser.add_argument("--lr", type=float, default=1.2e-3)
    parser.add_argument("--scope", choices=["core", "full"], default="core", help="emoji that the UNet learns")
    parser.add_argument("--focus", action="store_true", help="draw the FOCUS list more often")
    parser.add_argument("--resume", action="store_true", help="start the unet stage from net.pt")
    parser.add_argument("--everything", action="store_true", help="also clocks, buttons, arrows and such")
    parser.add_argument("--rank", type=int, default=-1, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=29511, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.out = args.out or args.work / "pocket-xl"
    args.work.mkdir(parents=True, exist_ok=True)
    args.world = args.procs if args.device == "cpu" else 1
    return args


def run_in_processes(args, stage):
    """The stage once in each of args.world processes of this script."""
    if args.device == "cpu":
        library()  # compiled once, before they all want it
    words = list(sys.argv)
    words[words.index(args.stage)] = stage
    processes = [subprocess.Popen([sys.executable, *words, "--rank", str(rank)], start_new_session=True)
                 for rank in range(args.world)]
    if any([process.wait() for process in processes]):  # all of them: none may be left behind
        sys.exit("a worker failed")


def main():
    args = parse_options()
    if args.rank >= 0 or (args.device != "cpu" and args.stage in PARALLEL):
        args.rank = max(args.rank, 0)
        if args.device == "cpu":
            torch.set_num_threads(1)
        STAGES[args.stage](args)
        return
    for stage in STAGES if args.stage == "all" else [args.stage]:
        if stage in PARALLEL:
            run_in_processes(args, stage)
        else:
            args.rank = 0
            STAGES[stage](args)


if __name__ == "__main__":
    main()
