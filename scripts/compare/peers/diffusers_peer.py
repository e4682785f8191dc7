"""Makes pictures with diffusers, channels-last: eager as most of its users run it, or through torch.compile.

Run by bench_peers.py in the reference's Python, one process a measurement. Requests (loop.py) have besides
`compiled`.
"""
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from peers.loop import Clock, emit, make_pictures, request  # noqa: E402

WORK = request()
if WORK["compiled"] and WORK["device"] == "cpu":
    # Weights become constants that are laid out once: the best that inductor has for a CPU.
    os.environ["TORCHINDUCTOR_FREEZING"] = "1"
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = str(WORK["threads"])

from peers.pipeline import Maker, diffusers, set_up, torch  # noqa: E402


def compile_networks(pipe):
    mode = "max-autotune" if WORK["device"] != "cpu" else "default"
    pipe.unet = torch.compile(pipe.unet, mode=mode, dynamic=False, fullgraph=True)
    pipe.vae.decode = torch.compile(pipe.vae.decode, mode=mode, dynamic=False, fullgraph=True)


def main():
    torch.set_num_threads(WORK["threads"])
    clock = Clock()
    pipe = diffusers.StableDiffusionXLPipeline.from_pretrained(
        WORK["model"], dtype=getattr(torch, WORK["precision"]), local_files_only=True)
    set_up(pipe, WORK)
    pipe.to(WORK["device"])
    pipe.unet.to(memory_format=torch.channels_last)
    pipe.vae.to(memory_format=torch.channels_last)
    if WORK["compiled"]:
        compile_networks(pipe)
    emit(loaded=clock.lap())
    make_pictures(WORK, Maker(pipe, WORK))
    emit(software={"torch": torch.__version__, "diffusers": diffusers.__version__})


if __name__ == "__main__":
    main()
