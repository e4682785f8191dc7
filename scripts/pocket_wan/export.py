"""The trained parts as a diffusers folder, sheets of frames, and timings."""
import json
import time

import numpy as np
import torch

from .data import FRAMES, SIZE
from .networks import Net, make_vae
from .progress import start_process
from .tokenizer import load_tokenizer
from .transformer import SHIFT
from .vae import load_latents, load_vae

PARTS = ("transformer", "vae", "text_encoder")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
STEPS, GUIDANCE = 20, 4.0
PROMPTS = ["a red apple spinning on a blue background", "a cat moving left on a pink background",
           "a rocket flying up on a yellow background", "a soccer ball bouncing on a green background",
           "a red heart growing on a white background", "a ghost shrinking on a purple background",
           "a red car moving to the right", "a penguin standing still on an orange background",
           "a banana falling on a gray background", "a slice of pizza spinning"]


def make_pipeline(args):
    """The pipeline of what was trained, in float32, and the number of steps it was trained for."""
    from diffusers import UniPCMultistepScheduler, WanPipeline
    stored = torch.load(args.work / "net.pt", map_location="cpu")
    net = Net()
    net.load_state_dict(stored["net"])
    *_, mean, std = load_latents(args)
    vae = make_vae([round(m, 6) for m in mean], [round(s, 6) for s in std])
    vae.load_state_dict(load_vae(args).cpu().state_dict())
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=SHIFT)
    pipeline = WanPipeline(tokenizer=load_tokenizer(args.work / "tokenizer"), text_encoder=net.text_encoder, vae=vae,
                           scheduler=scheduler, transformer=net.transformer)
    return pipeline, stored["step"]


def use_published_tokenizer(args):
    """The files as they were made, whatever transformers writes, and the class by the name that Wan's folder has."""
    for path in (args.out / "tokenizer").iterdir():
        path.unlink()
    for name in TOKENIZER_FILES:
        (args.out / "tokenizer" / name).write_bytes((args.work / "tokenizer" / name).read_bytes())
    index_file = args.out / "model_index.json"
    index = json.loads(index_file.read_text())
    index["tokenizer"] = ["transformers", "T5TokenizerFast"]
    index_file.write_text(json.dumps(index, indent=1) + "\n")


def stage_export(args):
    pipeline, step = make_pipeline(args)
    for part in PARTS:  # one by one: a pipeline would keep some of Wan's tensors in float32
        network = getattr(pipeline, part)
        for tensor in network.parameters():
            tensor.data = tensor.data.half()
    pipeline.save_pretrained(args.out)
    use_published_tokenizer(args)
    back = load_pipeline(args)
    for part in PARTS:
        want, got = getattr(pipeline, part).state_dict(), getattr(back, part).state_dict()
        if want.keys() != got.keys() or not all(torch.equal(v.float(), got[k].float()) for k, v in want.items()):
            raise SystemExit(f"the {part} that was written is not the one that was meant")
    counts = {part: sum(p.numel() for p in getattr(pipeline, part).parameters()) for part in PARTS}
    size = sum(path.stat().st_size for path in args.out.glob("*/*.safetensors"))
    print("params", counts, "total", sum(counts.values()), "steps", step, f"networks {size / 2**20:.2f} MiB")


def load_pipeline(args, dtype=torch.float32):
    from diffusers import WanPipeline
    pipeline = WanPipeline.from_pretrained(str(args.out), dtype=dtype)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(args.device)


def make_clip(pipeline, prompt, seed, steps=STEPS):
    """uint8 [17, 64, 64, 3]"""
    frames = pipeline(prompt, num_inference_steps=steps, guidance_scale=GUIDANCE, height=SIZE, width=SIZE,
                      num_frames=FRAMES, generator=torch.Generator().manual_seed(seed), output_type="np").frames[0]
    return (frames * 255).round().astype(np.uint8)


def write_sheet(clips, titles, path):
    """Every second frame of each clip in a row, under its title."""
    from PIL import Image, ImageDraw
    shown = range(0, FRAMES, 2)
    sheet = Image.new("RGB", (len(shown) * (SIZE + 2), len(clips) * (SIZE + 14)), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    for row, (clip, title) in enumerate(zip(clips, titles)):
        y = row * (SIZE + 14)
        draw.text((2, y), title, fill=(0, 0, 0))
        for column, frame in enumerate(shown):
            sheet.paste(Image.fromarray(clip[frame]), (column * (SIZE + 2), y + 12))
    sheet.save(path)
    print("wrote", path)


def stage_samples(args):
    start_process(args, 0)  # one thread: two that wait for each other lose more than they gain on such small rows
    pipeline = load_pipeline(args)
    clips = [make_clip(pipeline, prompt, seed) for seed, prompt in enumerate(PROMPTS)]
    write_sheet(clips, PROMPTS, args.work / "samples.png")


def stage_bench(args):
    for dtype in (torch.float32, torch.bfloat16):
        pipeline = load_pipeline(args, dtype)
        seconds = []
        for seed in range(4):
            start = time.time()
            make_clip(pipeline, PROMPTS[0], seed)
            seconds.append(time.time() - start)
        print(f"{dtype} {STEPS} steps with guidance: {min(seconds[1:]):.2f} s a clip (best of 3)", flush=True)
