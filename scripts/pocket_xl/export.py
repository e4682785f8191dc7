"""The trained parts as a diffusers folder, a sheet of samples, and timings."""
import json
import time

import numpy as np
import torch

from .data import SIZE
from .networks import Net, make_vae
from .tokenizer import FILES, FOLDERS, load_tokenizers

PROMPTS = ["a red apple", "a green apple on a blue background", "a cat face", "a dog face on a pink background",
           "a rocket", "a red heart", "a red heart on a yellow background", "a house on a green background",
           "emoji of a pizza", "a tree, evergreen tree", "a red car", "a frog on a purple background",
           "a rainbow", "a tropical fish on a blue background", "a strawberry", "a robot on an orange background"]
PARTS = ("unet", "vae", "text_encoder", "text_encoder_2")


def make_pipeline(args, net, factor):
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
    vae = make_vae()
    vae.load_state_dict(torch.load(args.work / "vae.pt", map_location="cpu"))
    vae.register_to_config(scaling_factor=factor)
    first, second = load_tokenizers(args)
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000,
        prediction_type="epsilon", timestep_spacing="leading", steps_offset=1, interpolation_type="linear",
        use_karras_sigmas=False)
    return StableDiffusionXLPipeline(
        vae=vae, text_encoder=net.te1, text_encoder_2=net.te2, tokenizer=first, tokenizer_2=second, unet=net.unet,
        scheduler=scheduler, force_zeros_for_empty_prompt=True, add_watermarker=False)


def use_published_forms(folder, work):
    """Names and files as published SDXL folders have them, whatever diffusers and transformers write."""
    from safetensors.torch import load_file, save_file
    config_file = folder / "scheduler/scheduler_config.json"
    config = json.loads(config_file.read_text())
    # Of no use to Euler, but DDIM and PNDM laid over this config need them.
    config.update(clip_sample=False, set_alpha_to_one=False, skip_prk_steps=True)
    config_file.write_text(json.dumps(dict(sorted(config.items())), indent=1) + "\n")
    path = str(folder / "text_encoder/model.safetensors")
    tensors = {name if name.startswith("text_model.") else "text_model." + name: tensor
               for name, tensor in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})
    for tokenizer in FOLDERS:
        for name in FILES:
            (folder / tokenizer / name).write_bytes((work / tokenizer / name).read_bytes())
        (folder / tokenizer / "tokenizer.json").unlink(missing_ok=True)


def stage_export(args):
    from diffusers import StableDiffusionXLPipeline
    stored = torch.load(args.work / "net.pt", map_location="cpu")
    net = Net()
    net.load_state_dict(stored["ema"])
    pipeline = make_pipeline(args, net, stored["sf"])
    full = args.out.with_name(args.out.name + "-fp32")
    pipeline.save_pretrained(full)
    pipeline.to(dtype=torch.float16).save_pretrained(args.out)
    for folder in (args.out, full):
        use_published_forms(folder, args.work)
    back = StableDiffusionXLPipeline.from_pretrained(str(args.out))
    for part in PARTS:
        want, got = getattr(pipeline, part).state_dict(), getattr(back, part).state_dict()
        if want.keys() != got.keys() or not all(torch.equal(v.float(), got[k].float()) for k, v in want.items()):
            raise SystemExit(f"the {part} that was written is not the one that was meant")
    counts = {part: sum(p.numel() for p in getattr(pipeline, part).parameters()) for part in PARTS}
    print("params", counts, "total", sum(counts.values()), "steps", stored["step"])


def load_pipeline(args, dtype=torch.float32):
    from diffusers import StableDiffusionXLPipeline
    pipeline = StableDiffusionXLPipeline.from_pretrained(str(args.out), dtype=dtype)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(args.device)


def stage_samples(args, steps=20, guidance=5.0):
    from PIL import Image, ImageDraw
    pipeline = load_pipeline(args)
    pictures = []
    for i in range(0, len(PROMPTS), 8):
        batch = PROMPTS[i:i + 8]
        generators = [torch.Generator().manual_seed(i + j) for j in range(len(batch))]
        pictures += pipeline(batch, num_inference_steps=steps, guidance_scale=guidance, height=SIZE, width=SIZE,
                             generator=generators).images
    columns = 4
    sheet = Image.new("RGB", (columns * (SIZE + 8), -(-len(pictures) // columns) * (SIZE + 22)), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    for k, picture in enumerate(pictures):
        x, y = (k % columns) * (SIZE + 8) + 4, (k // columns) * (SIZE + 22) + 4
        sheet.paste(picture, (x, y))
        draw.rectangle((x - 1, y - 1, x + SIZE, y + SIZE), outline=(210, 210, 210))
        draw.text((x, y + SIZE + 2), PROMPTS[k][:23], fill=(0, 0, 0))
    sheet.save(args.work / "samples.png")
    print("wrote", args.work / "samples.png")


def stage_bench(args):
    for dtype in (torch.float32, torch.bfloat16):
        pipeline = load_pipeline(args, dtype)
        for steps in (20, 4):
            seconds = []
            for seed in range(4):
                start = time.time()
                pipeline("a red apple", num_inference_steps=steps, guidance_scale=5.0, height=SIZE, width=SIZE,
                         generator=torch.Generator().manual_seed(seed))
                seconds.append(time.time() - start)
            later = seconds[1:]
            print(f"{dtype} {steps} steps: {min(later):.3f} s an image (best of 3), {np.median(later):.3f} median",
                  flush=True)
