"""A diffusers SDXL pipeline with a clock at the seams of its stages."""
import os

# Before torch: nothing may be looked up elsewhere, nothing drawn on the terminal.
os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_PROGRESS_BARS="1", TRANSFORMERS_VERBOSITY="error",
                  DIFFUSERS_VERBOSITY="error")

import diffusers  # noqa: E402
import torch  # noqa: E402
from diffusers.utils import logging  # noqa: E402

from .loop import Clock  # noqa: E402

logging.disable_progress_bar()


def set_up(pipe, work):
    """The request's scheduler, and no progress bar."""
    pipe.set_progress_bar_config(disable=True)
    if work["scheduler"]:
        pipe.scheduler = getattr(diffusers, work["scheduler"]["_class_name"]).from_config(work["scheduler"])


class Maker:
    """Calls the pipeline. Between the end of the text encoders and the start of the decoder it denoises."""

    def __init__(self, pipe, work):
        self._pipe, self._work = pipe, work
        self._clock = Clock(torch.cuda.synchronize if work["device"] != "cpu" else lambda: None)
        self._seconds = {}
        self._encode, self._decode = pipe.encode_prompt, pipe.vae.decode
        pipe.encode_prompt, pipe.vae.decode = self._timed_encode, self._timed_decode

    def _timed_encode(self, *args, **kwargs):
        result = self._encode(*args, **kwargs)
        self._seconds["text_encode"] = self._clock.lap()
        return result

    def _timed_decode(self, *args, **kwargs):
        self._seconds["denoise"] = self._clock.lap()
        return self._decode(*args, **kwargs)

    def __call__(self, items):
        work = self._work
        self._clock.lap()
        images = self._pipe([item["prompt"] for item in items], width=work["width"], height=work["height"],
                            num_inference_steps=work["steps"], guidance_scale=work["guidance_scale"],
                            generator=[torch.Generator("cpu").manual_seed(item["seed"]) for item in items]).images
        # To pixels in memory, as backlot counts it.
        self._seconds["decode"] = self._clock.lap()
        return images, dict(self._seconds)
