"""The fused RMS norm + SiLU of rms_norm.cpp as an autograd function, and how a VAE gets it."""
import ctypes
from functools import cache
from pathlib import Path

import torch
from torch import nn

from pocket_xl.group_norm import compiled, pointer


@cache
def library():
    return compiled(Path(__file__).with_name("rms_norm.cpp"))


def channels_last(x):
    return x.to(torch.bfloat16).contiguous(memory_format=torch.channels_last_3d)


class RmsNormSilu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gamma):
        x, gamma = channels_last(x), gamma.contiguous()
        y, channels = torch.empty_like(x), x.shape[1]
        if not library().rms_forward(pointer(x), pointer(gamma), pointer(y), ctypes.c_long(x.numel() // channels),
                                     channels):
            raise ValueError(f"rms_norm.cpp was not compiled for {channels} channels")
        ctx.save_for_backward(x, gamma)
        return y

    @staticmethod
    def backward(ctx, dy):
        x, gamma = ctx.saved_tensors
        dy, channels = channels_last(dy), x.shape[1]
        dx, dgamma = torch.empty_like(x), torch.empty_like(gamma)
        library().rms_backward(pointer(x), pointer(gamma), pointer(dy), pointer(dx), pointer(dgamma),
                               ctypes.c_long(x.numel() // channels), channels)
        return dx, dgamma


def block_forward(self, x, feat_cache=None, feat_idx=None):
    h = self.conv1(RmsNormSilu.apply(x, self.norm1.gamma))
    return self.conv2(RmsNormSilu.apply(h, self.norm2.gamma)) + self.conv_shortcut(x)


def use_fused_norms(vae):
    """Replaces forwards for training on a CPU; weights and their names are untouched."""
    from diffusers.models.autoencoders.autoencoder_kl_wan import WanResidualBlock
    for module in vae.modules():
        if isinstance(module, nn.Conv3d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last_3d)
        elif isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
        if isinstance(module, WanResidualBlock):
            module.forward = block_forward.__get__(module)
    for half in (vae.encoder, vae.decoder):
        half.norm_out.forward = lambda x, norm=half.norm_out: RmsNormSilu.apply(x, norm.gamma)
        half.nonlinearity = nn.Identity()
    return vae
