#!/usr/bin/env python3
"""Records what diffusers makes of clips with the small Wan model under tests/data/oracles/wan-t2v, beyond
what its own case has: encoding, tiled decoding, and a transformer with other settings.

    scripts/make_wan_references.py     # writes tests/data/oracles/wan-networks

Needs torch 2.11, diffusers 0.42.1 and safetensors.
"""
import json
import pathlib

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from safetensors.torch import save_file

oracles = pathlib.Path(__file__).parent.parent / "tests/data/oracles"
out = oracles / "wan-networks"
# Where four tiles meet: all that the test compares, or the file would be large.
seam = slice(200, 248)

# Frames of two patches, no norm before the cross-attention, heads whose values do not divide by 6.
other_config = dict(patch_size=[2, 2, 1], num_attention_heads=3, attention_head_dim=16, in_channels=4, out_channels=4,
                    text_dim=24, freq_dim=32, ffn_dim=64, num_layers=2, cross_attn_norm=False, rope_max_seq_len=32)


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    torch.manual_seed(7)
    tensors = {}
    vae = AutoencoderKLWan.from_pretrained(oracles / "wan-t2v/model/vae", torch_dtype=torch.float32)
    clip = torch.rand(2, 3, 9, 32, 48) * 2 - 1
    tensors["clip"] = clip
    tensors["encoded"] = vae.encode(clip).latent_dist.parameters
    tensors["encoded.1"] = vae.encode(clip[:, :, :1]).latent_dist.parameters

    z = torch.randn(1, 16, 2, 40, 36)
    tensors["large.z"] = z
    vae.enable_tiling()
    tensors["large.tiled"] = vae.decode(z).sample[..., [0, 4], seam, seam].contiguous()
    vae.disable_tiling()
    tensors["large.whole"] = vae.decode(z).sample[..., [0, 4], seam, seam].contiguous()

    transformer = WanTransformer3DModel(**other_config).eval()
    tensors["other.latents"] = torch.randn(2, 4, 4, 6, 5)
    tensors["other.timestep"] = torch.tensor([731.5, 12.0])
    tensors["other.text"] = torch.randn(2, 7, 24)
    tensors["other.out"] = transformer(tensors["other.latents"], tensors["other.timestep"], tensors["other.text"],
                                       return_dict=False)[0]
    out.mkdir(exist_ok=True)
    transformer.save_pretrained(out / "transformer")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, out / "tensors.safetensors")
    # Another order of the same sums differs by about 1e-6 of the largest value.
    bounds = {name: float(f"{2e-5 * tensor.abs().max().item():.2g}") for name, tensor in tensors.items()}
    (out / "tolerance.json").write_text(json.dumps(bounds, indent=1) + "\n")


if __name__ == "__main__":
    main()
