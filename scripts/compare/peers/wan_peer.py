"""Clips by diffusers' WanPipeline, as backlot bench video makes them: the networks' sizes with random weights.

    wan_peer.py JOB.json

The job: a model ("wan-1.3b", "wan-14b", or a folder whose configs say the sizes), dtype, device, threads, width,
height, frames, steps, guidance_scale, warm_up, repeats, text_tokens. The prompts' embeddings are given, at random: no
text encoder is there. Prints a line of JSON: seconds of each clip and of its stages, median seconds of a step, and the
peak of the process in MiB.
"""
import json
import resource
import statistics
import sys
import time
from pathlib import Path

import diffusers
import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel


# What is not diffusers' default, which is the 14B model.
TRANSFORMERS = {"wan-1.3b": {"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 30}, "wan-14b": {}}
SCHEDULER = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}


def configs(model):
    """Of transformer, autoencoder and scheduler."""
    if model in TRANSFORMERS:
        return TRANSFORMERS[model], {}, SCHEDULER
    names = ["transformer/config.json", "vae/config.json", "scheduler/scheduler_config.json"]
    return [json.loads((Path(model) / name).read_text()) for name in names]


def network(kind, config, dtype, device):
    """With the values that torch's layers begin with, in its dtype from the start."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return kind.from_config(config).to(device, dtype).eval()
    finally:
        torch.set_default_dtype(before)


def load(job):
    dtype = getattr(torch, job["dtype"])
    sizes, vae_sizes, scheduling = configs(job["model"])
    transformer = network(WanTransformer3DModel, sizes, dtype, job["device"])
    vae = network(AutoencoderKLWan, vae_sizes, dtype, job["device"])
    # As from_pretrained() leaves it: what it keeps in float32 whatever the dtype.
    for name, parameter in transformer.named_parameters():
        if any(part in name.split(".") for part in transformer._keep_in_fp32_modules or []):
            parameter.data = parameter.data.float()
    scheduler = UniPCMultistepScheduler.from_config(scheduling)
    pipeline = WanPipeline(tokenizer=None, text_encoder=None, transformer=transformer, vae=vae, scheduler=scheduler)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


class Clock:
    """When the first and the last step of a clip ended, and what lay between steps."""

    def __init__(self, device):
        self.device, self.marks = device, []

    def __call__(self, pipeline, step, timestep, tensors):
        self.mark()
        return tensors

    def mark(self):
        if self.device != "cpu":
            torch.cuda.synchronize()
        self.marks.append(time.perf_counter())


def clip(pipeline, job, number):
    embeds = [torch.randn(1, job["text_tokens"], pipeline.transformer.config.text_dim,
                          generator=torch.Generator().manual_seed(2 * number + i)).to(
                              job["device"], getattr(torch, job["dtype"])) for i in range(2)]
    clock = Clock(job["device"])
    clock.mark()
    made = pipeline(prompt_embeds=embeds[0], negative_prompt_embeds=embeds[1], width=job["width"],
                    height=job["height"], num_frames=job["frames"], num_inference_steps=job["steps"],
                    guidance_scale=job["guidance_scale"], generator=torch.Generator().manual_seed(number),
                    output_type="np", callback_on_step_end=clock)
    clock.mark()
    if made.frames[0].shape[:3] != (job["frames"], job["height"], job["width"]):
        sys.exit(f"wan_peer: error: made a clip of {made.frames[0].shape}")
    steps = [after - before for before, after in zip(clock.marks[:-2], clock.marks[1:-1])]
    return {"seconds": clock.marks[-1] - clock.marks[0], "denoise": clock.marks[-2] - clock.marks[0],
            "decode": clock.marks[-1] - clock.marks[-2], "step": statistics.median(steps)}


def main():
    job = json.loads(Path(sys.argv[1]).read_text())
    if job["device"] == "cpu":
        torch.set_num_threads(job["threads"])
    pipeline = load(job)
    with torch.inference_mode():
        clips = [clip(pipeline, job, number) for number in range(job["warm_up"] + job["repeats"])]
    print(json.dumps({"clips": clips[job["warm_up"]:],
                      "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                      "software": {"diffusers": diffusers.__version__, "torch": torch.__version__}}))


if __name__ == "__main__":
    main()
