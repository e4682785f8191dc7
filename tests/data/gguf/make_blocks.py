#!/usr/bin/env python3
"""Writes blocks.safetensors: blocks of every number format of GGUF and what they stand for.

The values are those of the reference implementation, the PyPI package gguf (0.19.0), which gives
ggml's numbers to the bit:  pip install gguf numpy safetensors && python3 make_blocks.py
"""
import pathlib

import gguf
import numpy as np
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file

TYPES = "F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q2_K Q3_K Q4_K Q5_K Q6_K".split()
# Where a block keeps its half-precision scale and minimum.
HALVES = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q2_K": [80, 82],
          "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}


def finite(halves):
    """Random bits as halves, the few that are no numbers made ordinary ones."""
    halves = halves.copy()
    halves[(halves & 0x7C00) == 0x7C00] ^= 0x4000
    return halves


def blocks_of(kind, random):
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    count = 64 if elements == 1 else 4 if elements == 32 else 3
    if kind.name == "F32":
        return random.standard_normal(count).astype(np.float32).view(np.uint8)
    if kind.name == "BF16":
        return finite(random.integers(0, 1 << 16, count, np.uint16)).view(np.uint8)
    if kind.name == "F16":
        numbers = finite(random.integers(0, 1 << 16, count, np.uint16))
        numbers[:6] = [0, 0x8000, 1, 0x83FF, 0x7C00, 0xFC00]  # zeros, subnormals, infinities
        return numbers.view(np.uint8)
    blocks = random.integers(0, 256, (count, size), np.uint8)
    for i, place in enumerate(HALVES[kind.name]):
        halves = finite(random.integers(0, 1 << 16, count, np.uint16))
        halves[0] = 0x0123 + i  # a subnormal
        blocks[:, place : place + 2] = halves.view(np.uint8).reshape(count, 2)
    # And blocks as they are in a model, where the package can make them.
    try:
        weights = (0.05 * random.standard_normal((2, elements))).astype(np.float32)
        blocks = np.concatenate([blocks, quantize(weights, kind).reshape(2, size)])
    except NotImplementedError:
        pass
    return blocks.reshape(-1)


def main():
    random = np.random.default_rng(20261121)
    tensors = {}
    for name in TYPES:
        kind = gguf.GGMLQuantizationType[name]
        blocks = blocks_of(kind, random)
        size = gguf.GGML_QUANT_SIZES[kind][1]
        values = dequantize(blocks.reshape(1, -1) if size > 4 else blocks, kind).reshape(-1)
        tensors[f"{name}.blocks"] = blocks
        tensors[f"{name}.values"] = np.ascontiguousarray(values, np.float32)
    save_file(tensors, pathlib.Path(__file__).parent / "blocks.safetensors")


main()
