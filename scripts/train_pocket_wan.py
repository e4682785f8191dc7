#!/usr/bin/env python3
"""Train "pocket-wan": a tiny text-to-video model in the exact Wan 2.1 architecture and diffusers folder layout, from
scratch, on clips of Noto Color Emoji that move.

  scripts/train_pocket_wan.py all
  scripts/train_pocket_wan.py transformer --improve --steps 20000     # a better one, from the weights of before

Stages (each can be run by itself): data, vae, latents, decoder, transformer, export, samples, check, bench.
A training stage that was stopped goes on from its last state; the same numbers of steps and processes give the same
training.
Needs: torch, diffusers, transformers, sentencepiece, protobuf, fonttools, pillow, numpy, and the Debian packages
fonts-noto-color-emoji (OFL) and unicode-cldr-core (Unicode licence).
On a CPU, --procs N trains with N one-thread processes that average gradients (gloo): one barrier a step
instead of one an op, so it stays fast where cores are shared. Their numbers are in the work folder's file STAGE.pid.
"""
import argparse
import os
import subprocess
import sys
from pathlib import Path

from pocket_wan.check import stage_check
from pocket_wan.data import stage_data
from pocket_wan.export import stage_bench, stage_export, stage_samples
from pocket_wan.rms_norm import library
from pocket_wan.transformer import stage_transformer
from pocket_wan.vae import stage_decoder, stage_latents, stage_vae

STAGES = {"data": stage_data, "vae": stage_vae, "latents": stage_latents, "decoder": stage_decoder,
          "transformer": stage_transformer, "export": stage_export, "samples": stage_samples, "check": stage_check,
          "bench": stage_bench}
PARALLEL = ("vae", "latents", "decoder", "transformer")
WORK = Path(__file__).resolve().parent.parent / "out/pocket-wan-training"


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=["all", *STAGES])
    parser.add_argument("--work", type=Path, default=WORK, help="everything between the stages (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="the diffusers folder (default: pocket-wan in the work folder)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--procs", type=int, default=2, help="one-thread processes for CPU training")
    parser.add_argument("--vae-steps", type=int, default=4000)
    parser.add_argument("--decoder-steps", type=int, default=1500, help="on top of those, of the VAE's decoder alone")
    parser.add_argument("--vae-batch", type=int, default=4, help="clips of 9 frames, 40x40, a step")
    parser.add_argument("--vae-lr", type=float, default=8e-4)
    parser.add_argument("--clips", type=int, default=12000, help="clips that the transformer learns from")
    parser.add_argument("--steps", type=int, default=6000, help="of the transformer")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--improve", action="store_true", help="start the transformer stage from net.pt")
    parser.add_argument("--save-minutes", type=float, default=3, help="between two states of a training stage")
    parser.add_argument("--rank", type=int, default=-1, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=29521, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.out = args.out or args.work / "pocket-wan"
    args.work.mkdir(parents=True, exist_ok=True)
    args.world = args.procs if args.device == "cpu" else 1
    args.port += list(STAGES).index(args.stage) if args.stage in STAGES else 0  # two stages may run side by side
    return args


def run_in_processes(args, stage):
    """The stage once in each of args.world processes of this script."""
    if args.device == "cpu":
        library()  # compiled once, before they all want it
    words = list(sys.argv)
    words[words.index(args.stage)] = stage
    processes = [subprocess.Popen([sys.executable, *words, "--rank", str(rank)]) for rank in range(args.world)]
    (args.work / f"{stage}.pid").write_text(" ".join(str(p) for p in [os.getpid(), *(p.pid for p in processes)]) + "\n")
    if any([process.wait() for process in processes]):  # all of them: none may be left behind
        sys.exit("a worker failed")


def main():
    args = parse_options()
    if args.rank >= 0 or (args.device != "cpu" and args.stage in PARALLEL):
        args.rank = max(args.rank, 0)
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
