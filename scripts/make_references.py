#!/usr/bin/env python3
"""Makes the reference pictures of tests/data/oracles/turbo-*: one and four steps without guidance
on the tiny model of sdxl-base, as SDXL-Turbo is run. Needs diffusers 0.42.1 and torch 2.11."""
import json
import os

import torch
from diffusers import EulerAncestralDiscreteScheduler, StableDiffusionXLPipeline

ORACLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "data", "oracles")
SCHEDULER = {
    "_class_name": "EulerAncestralDiscreteScheduler",
    "timestep_spacing": "trailing",
    "steps_offset": 1,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
}


def main():
    torch.set_num_threads(1)
    pipe = StableDiffusionXLPipeline.from_pretrained(
        os.path.join(ORACLES, "sdxl-base", "model"), torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    config = {key: value for key, value in SCHEDULER.items() if not key.startswith("_")}
    pipe.scheduler = EulerAncestralDiscreteScheduler(**config)
    for steps in (1, 4):
        job = {"prompt": "a red fox jumping over a frozen river, golden hour, 35mm photo",
               "negative_prompt": None, "seed": 1042, "steps": steps, "guidance_scale": 0.0,
               "width": 64, "height": 48, "scheduler": SCHEDULER}
        image = pipe(prompt=job["prompt"], num_inference_steps=steps, guidance_scale=0.0, width=64,
                     height=48, generator=torch.Generator("cpu").manual_seed(1042)).images[0]
        folder = os.path.join(ORACLES, f"turbo-{steps}step")
        os.makedirs(os.path.join(folder, "expected"), exist_ok=True)
        image.save(os.path.join(folder, "expected", "output_00.png"))
        case = {"name": f"turbo-{steps}step", "kind": "sdxl-text2img",
                "model": "../sdxl-base/model", "pipeline": "StableDiffusionXLPipeline", "job": job,
                "notes": ["guidance <= 1: batch 1, negative prompts unused"],
                "reference": {"torch": torch.__version__, "diffusers": "0.42.1",
                              "dtype": "float32", "device": "cpu", "threads": 1},
                "expected": {"images": ["output_00.png"]},
                "tolerance": {"image_max_abs_255": 1}}
        with open(os.path.join(folder, "case.json"), "w") as file:
            json.dump(case, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
