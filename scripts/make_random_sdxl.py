#!/usr/bin/env python3
"""Write a diffusers folder of the full-size SDXL architecture with random weights.

    scripts/make_random_sdxl.py DIR [--dtype bf16|fp16|fp32] [--shard-gib G] [--seed N]

For timings and loading tests where no published weights are to be had: every tensor has the published
name and shape (tests/data/listings), values as layers are initialised before training, so activations
stay finite; the pictures are noise. 6.5 GiB in 16 bits, 13 GiB in 32; tensors are written one by one, so
little memory is needed. Needs numpy.
"""
import argparse
import json
import math
import re
import shutil
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
LISTINGS = ROOT / "tests/data/listings"
TOKENIZER = ROOT / "models/clip-tokenizer"
CHUNK = 1 << 22  # values drawn at a time

# component: library and class in model_index.json, stem of its weight files, prefix of its names
COMPONENTS = {
    "text_encoder": ("transformers", "CLIPTextModel", "model", "text_model."),
    "text_encoder_2": ("transformers", "CLIPTextModelWithProjection", "model", ""),
    "unet": ("diffusers", "UNet2DConditionModel", "diffusion_pytorch_model", ""),
    "vae": ("diffusers", "AutoencoderKL", "diffusion_pytorch_model", ""),
}
DTYPES = {"bf16": ("BF16", 2), "fp16": ("F16", 2), "fp32": ("F32", 4)}
TORCH_NAMES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def encode(values, dtype):
    """float32 values as little-endian bytes of the dtype, rounded to nearest even."""
    if dtype == "fp32":
        return values.tobytes()
    if dtype == "fp16":
        return values.astype(np.float16).tobytes()
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16).tobytes()


def read_listing(component):
    """[(name, shape)] in the listing's order."""
    tensors = []
    for line in (LISTINGS / f"sdxl-{component}.txt").read_text().splitlines():
        match = re.fullmatch(r"(\S+) \[(.*)\]", line)
        if match:
            tensors.append((match[1], [int(n) for n in match[2].split(",")]))
    return tensors


def initial_range(name, shapes):
    """(lowest, highest) of a tensor's values: a norm's weight is 1, its bias 0; embeddings have CLIP's
    spread; all else has the spread that torch's Linear and Conv2d start with."""
    shape = shapes[name]
    if "embedding.weight" in name and "time" not in name:  # token and position embeddings
        return -0.02 * math.sqrt(3), 0.02 * math.sqrt(3)
    layer, kind = name.rsplit(".", 1)
    weight = shapes.get(f"{layer}.weight", shape)
    if len(weight) == 1:
        return (1.0, 1.0) if kind == "weight" else (0.0, 0.0)
    bound = 1 / math.sqrt(math.prod(weight[1:]))
    return -bound, bound


def write_values(file, count, low, high, dtype, rng):
    while count > 0:
        n = min(count, CHUNK)
        if low == high:
            values = np.full(n, low, np.float32)
        else:
            values = rng.random(n, dtype=np.float32)
            values *= np.float32(high - low)
            values += np.float32(low)
        file.write(encode(values, dtype))
        count -= n


def write_safetensors(path, tensors, shapes, dtype, rng):
    code, width = DTYPES[dtype]
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors:
        size = math.prod(shape) * width
        header[name] = {"dtype": code, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in tensors:
            write_values(file, math.prod(shape), *initial_range(name, shapes), dtype, rng)


def split(tensors, width, shard_bytes):
    """The tensors in order, in groups of at most shard_bytes."""
    shards, size = [[]], 0
    for name, shape in tensors:
        bytes_ = math.prod(shape) * width
        if shard_bytes and shards[-1] and size + bytes_ > shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append((name, shape))
        size += bytes_
    return shards


def write_weights(folder, stem, tensors, dtype, shard_bytes, rng):
    shapes = dict(tensors)
    width = DTYPES[dtype][1]
    shards = split(tensors, width, shard_bytes)
    if len(shards) == 1:
        write_safetensors(folder / f"{stem}.safetensors", tensors, shapes, dtype, rng)
        return
    index = {"metadata": {"total_size": sum(math.prod(s) * width for _, s in tensors)}, "weight_map": {}}
    for i, shard in enumerate(shards, 1):
        name = f"{stem}-{i:05}-of-{len(shards):05}.safetensors"
        write_safetensors(folder / name, shard, shapes, dtype, rng)
        index["weight_map"].update({tensor: name for tensor, _ in shard})
    (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index, indent=1))


def byte_letters():
    """CLIP's printable letter for each of the 256 bytes, in its vocabulary's order."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(256 - len(plain))]


def write_tokenizer(folder, pad):
    """CLIP's tokenizer; its vocabulary is the bytes, the bytes that end words, the merges, two marks."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = byte_letters()
    merges = (TOKENIZER / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
    vocabulary = letters + [c + "</w>" for c in letters]
    vocabulary += [merge.replace(" ", "") for merge in merges if merge]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    text = json.dumps({token: i for i, token in enumerate(vocabulary)}, ensure_ascii=False)
    (folder / "vocab.json").write_text(text, encoding="utf-8")
    shutil.copyfile(TOKENIZER / "merges.txt", folder / "merges.txt")
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        content = json.loads((TOKENIZER / name).read_text())
        content["pad_token"] = pad
        (folder / name).write_text(json.dumps(content, indent=1))


def write_configs(out, dtype):
    index = {"_class_name": "StableDiffusionXLPipeline", "force_zeros_for_empty_prompt": True,
             "scheduler": ["diffusers", "EulerDiscreteScheduler"],
             "tokenizer": ["transformers", "CLIPTokenizer"], "tokenizer_2": ["transformers", "CLIPTokenizer"]}
    for component, (library, class_name, _, _) in COMPONENTS.items():
        index[component] = [library, class_name]
        config = json.loads((LISTINGS / f"sdxl-{component}.config.json").read_text())
        if library == "transformers":
            config.update(architectures=[class_name], dtype=TORCH_NAMES[dtype])
        else:
            config["_class_name"] = class_name
        (out / component).mkdir(parents=True, exist_ok=True)
        (out / component / "config.json").write_text(json.dumps(config, indent=1))
    (out / "scheduler").mkdir(exist_ok=True)
    (out / "scheduler/scheduler_config.json").write_text(json.dumps({
        "_class_name": "EulerDiscreteScheduler", "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "beta_start": 0.00085, "interpolation_type": "linear", "num_train_timesteps": 1000,
        "prediction_type": "epsilon", "steps_offset": 1, "timestep_spacing": "leading",
        "use_karras_sigmas": False}, indent=1))
    return index


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="DIR")
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--shard-gib", type=float, default=0, help="split weight files at this size; 0: never")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if (args.out / "model_index.json").exists():
        sys.exit(f"{args.out} holds a model already; name another folder or remove it")

    rng = np.random.Generator(np.random.SFC64(args.seed))
    args.out.mkdir(parents=True, exist_ok=True)
    index = write_configs(args.out, args.dtype)
    write_tokenizer(args.out / "tokenizer", "<|endoftext|>")
    write_tokenizer(args.out / "tokenizer_2", "!")
    for component, (_, _, stem, prefix) in COMPONENTS.items():
        tensors = [(prefix + name, shape) for name, shape in read_listing(component)]
        write_weights(args.out / component, stem, tensors, args.dtype, args.shard_gib * (1 << 30), rng)
        print(f"{args.out / component}: {len(tensors)} tensors", flush=True)
    # Last: a folder with an index is a whole one.
    (args.out / "model_index.json").write_text(json.dumps(index, indent=1))


if __name__ == "__main__":
    main()
