"""Makes pictures with diffusers as its users do, and prints what each took as JSON.

Run by compare_diffusers.py in the reference's Python, one process a measurement. The request is a JSON
object in the first argument: model, out, prompts, seed, width, height, steps, guidance_scale, dtype,
threads, batch.
"""
import json
import os
import sys
import time

REQUEST = json.loads(sys.argv[1])
# Before torch: nothing may be looked up elsewhere, nothing drawn on the terminal.
os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_PROGRESS_BARS="1", TRANSFORMERS_VERBOSITY="error",
                  DIFFUSERS_VERBOSITY="error")

import torch  # noqa: E402
from diffusers import StableDiffusionXLPipeline  # noqa: E402
from diffusers.utils import logging  # noqa: E402

logging.disable_progress_bar()


class Clock:
    """Adds up the wall time of the calls that it wraps, and remembers when the last one ended."""

    def __init__(self, owner, name):
        self.seconds = 0.0
        self._call = getattr(owner, name)
        setattr(owner, name, self)

    def __call__(self, *args, **kwargs):
        start = time.perf_counter()
        try:
            return self._call(*args, **kwargs)
        finally:
            self.seconds += time.perf_counter() - start

    def take(self):
        seconds, self.seconds = self.seconds, 0.0
        return seconds


def main():
    torch.set_num_threads(REQUEST["threads"])
    start = time.perf_counter()
    dtype = getattr(torch, REQUEST["dtype"])
    pipe = StableDiffusionXLPipeline.from_pretrained(REQUEST["model"], dtype=dtype,
                                                     local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    load = time.perf_counter() - start
    encode, unet, decode = Clock(pipe, "encode_prompt"), Clock(pipe.unet, "forward"), Clock(pipe.vae, "decode")

    pictures = []
    prompts, size = REQUEST["prompts"], REQUEST["batch"]
    for first in range(0, len(prompts), size):
        batch = prompts[first:first + size]
        start = time.perf_counter()
        images = pipe(batch, width=REQUEST["width"], height=REQUEST["height"],
                      num_inference_steps=REQUEST["steps"], guidance_scale=REQUEST["guidance_scale"],
                      generator=[torch.Generator("cpu").manual_seed(REQUEST["seed"]) for _ in batch]).images
        made = time.perf_counter()
        for i, image in enumerate(images, first):
            image.save(os.path.join(REQUEST["out"], f"{i:05}.png"))
        written = time.perf_counter()
        seconds = {"text_encode": encode.take(), "denoise": unet.take(), "decode": decode.take(),
                   "write": written - made, "all": written - start}
        pictures += [{name: value / len(batch) for name, value in seconds.items()}] * len(batch)
    print(json.dumps({"load": load, "pictures": pictures, "torch": torch.__version__}))


if __name__ == "__main__":
    main()
