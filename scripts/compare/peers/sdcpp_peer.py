"""Makes pictures with stable-diffusion.cpp through its Python binding.

Run by bench_peers.py, one process a measurement. Requests (loop.py) have besides `sigmas`, the noise levels of
the steps as diffusers sets them: its own schedules place them a little otherwise. Noise is drawn by its copy
of torch's CPU generator. It makes one picture at a time; a batch here is calls in a row.
"""
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from peers.loop import Clock, emit, make_pictures, request  # noqa: E402

import stable_diffusion_cpp as sd  # noqa: E402

WORK = request()
# What it says at the end of a stage.
STAGES = {"get_learned_condition completed": "text_encode", "sampling completed": "denoise",
          "decode_first_stage completed": "decode"}
WARNING = 2  # of its log's levels


class Stages:
    """Reads the seams of the stages off the log."""

    def __init__(self):
        self.clock, self.seconds, self.errors = Clock(), {}, []

    def hear(self, level, text, _):
        message = text.decode("utf-8", errors="replace")
        for words, stage in STAGES.items():
            if words in message:
                self.seconds[stage] = self.seconds.get(stage, 0) + self.clock.lap()
        if level >= WARNING:
            print(message, end="", file=sys.stderr, flush=True)
        if level > WARNING:
            self.errors.append(message.strip())

    def check(self):
        """Its binding goes on after errors, and crashes when it is taken down."""
        if self.errors:
            print(self.errors[0], file=sys.stderr, flush=True)
            os._exit(1)

    def take(self):
        seconds, self.seconds = self.seconds, {}
        missing = set(STAGES.values()) - set(seconds)
        if missing:
            sys.exit(f"stable-diffusion.cpp no longer logs the end of {', '.join(sorted(missing))}")
        return seconds


def main():
    clock, stages = Clock(), Stages()
    # Kept alive: C calls it.
    hear = sd.sd_log_callback(stages.hear)
    sd.sd_set_log_callback(hear, None)
    model = sd.StableDiffusion(model_path=WORK["model"], wtype=WORK["precision"], n_threads=WORK["threads"],
                               rng_type="cpu", sampler_rng_type="cpu", flash_attn=True, diffusion_flash_attn=True,
                               vae_decode_only=True)
    stages.check()
    emit(loaded=clock.lap())

    def make(items):
        images = []
        stages.clock.lap()
        for item in items:
            images += model.generate_image(
                item["prompt"], width=WORK["width"], height=WORK["height"], seed=item["seed"],
                cfg_scale=max(WORK["guidance_scale"], 1.0), sample_method="euler", sample_steps=WORK["steps"],
                sigmas=",".join(map(repr, WORK["sigmas"])))
        return images, stages.take()

    make_pictures(WORK, make)
    emit(software={"stable-diffusion-cpp-python": sd.__version__})


if __name__ == "__main__":
    main()
