#!/usr/bin/env python3
"""Write a diffusers folder of SDXL as one safetensors file under the original (SGM) names.

    scripts/export_single_file.py MODEL_DIR OUT.safetensors [--variant fp16]

For programs that read only such files; stable-diffusion.cpp is one. backlot reads both forms, and tests hold
its reader against this writer. Values stay as they are: tensors are renamed, OpenCLIP's three projections are
put one after another into its fused one, and its text projection is transposed. Tensors are copied one by one,
so little memory is needed. Needs nothing but Python.
"""
import argparse
import json
import os
import re
import struct
import sys
from array import array
from dataclasses import dataclass
from pathlib import Path

CHUNK = 1 << 24
UNET_BLOCKS, UNET_LAYERS, VAE_BLOCKS = 3, 2, 4
PICKLE_HINT = "only safetensors are read; save the model with save_pretrained first"


class ExportError(Exception):
    """One line: WHERE: WHAT; MEND."""


@dataclass
class Tensor:
    """Bytes in a file."""
    path: Path
    dtype: str
    shape: list
    offset: int
    length: int


@dataclass
class Output:
    """A tensor to write: the bytes of its parts in a row, or one part transposed."""
    name: str
    dtype: str
    shape: list
    parts: list
    transposed: bool = False

    @property
    def length(self):
        return sum(part.length for part in self.parts)


def read_header(path):
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    return {name: Tensor(path, entry["dtype"], entry["shape"], 8 + size + entry["data_offsets"][0],
                         entry["data_offsets"][1] - entry["data_offsets"][0]) for name, entry in header.items()}


def read_component(folder, stem, variant):
    """{name: Tensor} of a component, from one file or from shards."""
    infix = f".{variant}" if variant else ""
    single = folder / f"{stem}{infix}.safetensors"
    index = folder / f"{stem}.safetensors.index{infix}.json"
    if single.exists():
        return read_header(single)
    if not index.exists():
        raise ExportError(f"{folder}: has neither {single.name} nor {index.name}; {PICKLE_HINT}")
    tensors = {}
    for shard in sorted(set(json.loads(index.read_text())["weight_map"].values())):
        tensors.update(read_header(folder / shard))
    return tensors


def renamed(name, renames):
    for old, new in renames:
        if name.startswith(old):
            return new + name[len(old):]
    raise KeyError(name)


UNET_TOP = [("conv_in.", "input_blocks.0.0."), ("time_embedding.linear_1.", "time_embed.0."),
            ("time_embedding.linear_2.", "time_embed.2."), ("add_embedding.linear_1.", "label_emb.0.0."),
            ("add_embedding.linear_2.", "label_emb.0.2."), ("conv_norm_out.", "out.0."), ("conv_out.", "out.2.")]
UNET_RESNET = [("norm1.", "in_layers.0."), ("conv1.", "in_layers.2."), ("time_emb_proj.", "emb_layers.1."),
               ("norm2.", "out_layers.0."), ("conv2.", "out_layers.3."), ("conv_shortcut.", "skip_connection.")]


def unet_name(name, shapes):
    """The original counts blocks through, a sampler being the last of its level's, or with it."""
    place = re.match(r"(down|mid|up)_block(?:s\.(\d+))?\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.", name)
    if not place:
        return renamed(name, UNET_TOP)
    side, block, kind, layer = place[1], int(place[2] or 0), place[3], int(place[4])
    rest = name[place.end():]
    if kind == "resnets":
        rest = renamed(rest, UNET_RESNET)
    step = UNET_LAYERS + 1
    if side == "mid":
        return f"middle_block.{2 * layer if kind == 'resnets' else 1}.{rest}"
    if kind == "downsamplers":
        return f"input_blocks.{step * (block + 1)}.0.{renamed(rest, [('conv.', 'op.')])}"
    if kind == "upsamplers":
        # After the attention, where the level has one.
        has_attention = any(other.startswith(f"up_blocks.{block}.attentions.") for other in shapes)
        return f"output_blocks.{step * block + UNET_LAYERS}.{2 if has_attention else 1}.{rest}"
    number = step * block + layer + (1 if side == "down" else 0)
    return f"{'input' if side == 'down' else 'output'}_blocks.{number}.{0 if kind == 'resnets' else 1}.{rest}"


VAE_RESNET = [(name, name) for name in ("norm1.", "norm2.", "conv1.", "conv2.")] + [("conv_shortcut.", "nin_shortcut.")]
VAE_ATTENTION = [("group_norm.", "norm."), ("to_q.", "q."), ("to_k.", "k."), ("to_v.", "v."),
                 ("to_out.0.", "proj_out."),
                 # as early diffusers named them
                 ("query.", "q."), ("key.", "k."), ("value.", "v."), ("proj_attn.", "proj_out.")]


def vae_name(name, _):
    half, _, rest = name.partition(".")
    if half in ("quant_conv", "post_quant_conv"):
        return name
    middle = re.match(r"mid_block\.(resnets|attentions)\.(\d)\.", rest)
    block = re.match(r"(down|up)_blocks\.(\d+)\.(resnets\.(\d+)|downsamplers\.0|upsamplers\.0)\.", rest)
    if middle:
        below, layer = rest[middle.end():], int(middle[2])
        if middle[1] == "attentions":
            return f"{half}.mid.attn_1.{renamed(below, VAE_ATTENTION)}"
        return f"{half}.mid.block_{layer + 1}.{renamed(below, VAE_RESNET)}"
    if not block:
        return f"{half}." + renamed(rest, [("conv_in.", "conv_in."), ("conv_out.", "conv_out."),
                                           ("conv_norm_out.", "norm_out.")])
    side, below = block[1], rest[block.end():]
    # The original counts the decoder's blocks from the picture's side.
    number = VAE_BLOCKS - 1 - int(block[2]) if side == "up" else int(block[2])
    if block[4] is not None:
        return f"{half}.{side}.{number}.block.{block[4]}.{renamed(below, VAE_RESNET)}"
    return f"{half}.{side}.{number}.{'upsample' if side == 'up' else 'downsample'}.{below}"


OPEN_CLIP_LAYER = [("layer_norm1.", "ln_1."), ("layer_norm2.", "ln_2."), ("mlp.fc1.", "mlp.c_fc."),
                   ("mlp.fc2.", "mlp.c_proj."), ("self_attn.out_proj.", "attn.out_proj.")]
OPEN_CLIP_TOP = [("embeddings.token_embedding.", "token_embedding."), ("final_layer_norm.", "ln_final."),
                 ("embeddings.position_embedding.weight", "positional_embedding")]


def open_clip_outputs(tensors):
    """OpenCLIP fuses q, k and v, and multiplies by its text projection from the left."""
    for name, tensor in tensors.items():
        if name == "text_projection.weight":
            yield Output("text_projection", tensor.dtype, tensor.shape[::-1], [tensor], transposed=True)
            continue
        name = name.removeprefix("text_model.")
        layer = re.match(r"encoder\.layers\.(\d+)\.", name)
        if not layer:
            yield Output(renamed(name, OPEN_CLIP_TOP), tensor.dtype, tensor.shape, [tensor])
            continue
        place, below = f"transformer.resblocks.{layer[1]}.", name[layer.end():]
        projection = re.fullmatch(r"self_attn\.([qkv])_proj\.(weight|bias)", below)
        if not projection:
            yield Output(place + renamed(below, OPEN_CLIP_LAYER), tensor.dtype, tensor.shape, [tensor])
        elif projection[1] == "q":
            parts = [tensors[f"text_model.{layer[0]}self_attn.{x}_proj.{projection[2]}"] for x in "qkv"]
            yield Output(f"{place}attn.in_proj_{projection[2]}", tensor.dtype,
                         [3 * tensor.shape[0], *tensor.shape[1:]], parts)


def clip_outputs(tensors):
    for name, tensor in tensors.items():
        yield Output(name, tensor.dtype, tensor.shape, [tensor])


def vae_outputs(tensors):
    for name, tensor in tensors.items():
        # The attention's linear layers are 1x1 convolutions in the original.
        widen = ".attentions." in name and len(tensor.shape) == 2
        yield Output(vae_name(name, tensors), tensor.dtype, tensor.shape + [1, 1] * widen, [tensor])


def unet_outputs(tensors):
    for name, tensor in tensors.items():
        yield Output(unet_name(name, tensors), tensor.dtype, tensor.shape, [tensor])


# folder, stem of its files, prefix in the single file, renaming
COMPONENTS = [("unet", "diffusion_pytorch_model", "model.diffusion_model.", unet_outputs),
              ("vae", "diffusion_pytorch_model", "first_stage_model.", vae_outputs),
              ("text_encoder", "model", "conditioner.embedders.0.transformer.", clip_outputs),
              ("text_encoder_2", "model", "conditioner.embedders.1.model.", open_clip_outputs)]


def check_layout(model):
    index = model / "model_index.json"
    if not index.exists():
        raise ExportError(f"{model}: has no model_index.json; give a diffusers folder")
    if not json.loads(index.read_text()).get("_class_name", "").startswith("StableDiffusionXL"):
        raise ExportError(f"{index}: not an SDXL pipeline; the original names are known for SDXL alone")
    for name, blocks in ("unet", UNET_BLOCKS), ("vae", VAE_BLOCKS):
        config = json.loads((model / name / "config.json").read_text())
        layers = config["layers_per_block"]
        if len(config["block_out_channels"]) != blocks or (name == "unet" and layers != UNET_LAYERS):
            raise ExportError(f"{model / name}/config.json: {len(config['block_out_channels'])} blocks of {layers} "
                              f"layers have no original names; give a model with SDXL's blocks")


def marker_outputs(model):
    """Empty tensors by which single files say what else only the scheduler's config does."""
    config = json.loads((model / "scheduler/scheduler_config.json").read_text())
    if config.get("prediction_type") == "v_prediction":
        yield Output("v_pred", "F32", [0], [])
    if config.get("rescale_betas_zero_snr"):
        yield Output("ztsnr", "F32", [0], [])


def plan(model, variant=None):
    """Every tensor of the single file."""
    check_layout(model)
    outputs = list(marker_outputs(model))
    for component, stem, prefix, rename in COMPONENTS:
        tensors = read_component(model / component, stem, variant)
        tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith("embeddings.position_ids")}
        if component.startswith("text_encoder"):  # current transformers leave this prefix off the first
            tensors = {name if name.startswith(("text_model.", "text_projection.")) else f"text_model.{name}": tensor
                       for name, tensor in tensors.items()}
        try:
            for output in rename(tensors):
                output.name = prefix + output.name
                outputs.append(output)
        except KeyError as error:
            raise ExportError(f"{model / component}: tensor {error} has no original name; "
                              "give a model of the plain SDXL architecture") from None
    return outputs


def copy(source, target, offset, length):
    source.seek(offset)
    while length:
        data = source.read(min(length, CHUNK))
        if not data:
            raise ExportError(f"{source.name}: ends before its last tensor; get the file again")
        target.write(data)
        length -= len(data)


def write_transposed(source, target, part):
    """Of a matrix, small enough to be held: OpenCLIP's has 1280 x 1280 values."""
    rows, columns = part.shape
    width = part.length // (rows * columns)
    source.seek(part.offset)
    values = array({2: "H", 4: "I", 8: "Q"}[width], source.read(part.length))
    for column in range(columns):
        target.write(values[column::columns].tobytes())


def export(model, out, variant=None):
    """Writes the single file; a reader never sees half of it."""
    outputs = plan(model, variant)
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for output in outputs:
        header[output.name] = {"dtype": output.dtype, "shape": output.shape,
                               "data_offsets": [offset, offset + output.length]}
        offset += output.length
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    partial = out.with_name(out.name + ".partial")
    sources = {part.path: open(part.path, "rb") for output in outputs for part in output.parts}
    try:
        with open(partial, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for output in outputs:
                for part in output.parts:
                    if output.transposed:
                        write_transposed(sources[part.path], file, part)
                    else:
                        copy(sources[part.path], file, part.offset, part.length)
        os.replace(partial, out)
    finally:
        for source in sources.values():
            source.close()
        partial.unlink(missing_ok=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="MODEL_DIR")
    parser.add_argument("out", type=Path, metavar="OUT.safetensors")
    parser.add_argument("--variant", help="fp16 reads *.fp16.safetensors")
    args = parser.parse_args()
    try:
        export(args.model, args.out, args.variant)
    except (ExportError, OSError) as error:
        sys.exit(f"export: error: {error}")
    print(args.out)


if __name__ == "__main__":
    main()
