"""SDXL's networks, small."""
import re

import torch
from torch import nn

from .data import SIZE
from .tokenizer import VOCABULARY

LATENT = SIZE // 8
CHANNELS, TRANSFORMER_LAYERS = (64, 64, 128), [1, 1, 2]


def zero_matching(network, pattern):
    """Residual branches that start at zero learn faster from scratch."""
    for name, parameter in network.named_parameters():
        if re.search(pattern, name):
            parameter.zero_()


def make_vae():
    from diffusers import AutoencoderKL
    vae = AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=4, sample_size=SIZE,
        down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=(16, 32, 64, 96), layers_per_block=1, norm_num_groups=8, force_upcast=False)
    with torch.no_grad():
        zero_matching(vae, r"resnets\.\d+\.conv2\.(weight|bias)$|to_out\.0\.(weight|bias)$")
        vae.quant_conv.bias[4:] = -6.0  # start with little posterior noise
        vae.quant_conv.weight[:4] *= 3
        vae.quant_conv.weight[4:] *= 0.1
    return vae


def make_text_encoders():
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection
    shared = dict(vocab_size=VOCABULARY, max_position_embeddings=77, bos_token_id=VOCABULARY - 2,
                  eos_token_id=VOCABULARY - 1)
    first = CLIPTextModel(CLIPTextConfig(
        hidden_size=64, intermediate_size=256, num_hidden_layers=2, num_attention_heads=1, projection_dim=64,
        hidden_act="quick_gelu", pad_token_id=VOCABULARY - 1, **shared))
    second = CLIPTextModelWithProjection(CLIPTextConfig(
        hidden_size=128, intermediate_size=512, num_hidden_layers=3, num_attention_heads=2, projection_dim=128,
        hidden_act="gelu", pad_token_id=0, **shared))
    return first, second


def make_unet():
    from diffusers import UNet2DConditionModel
    unet = UNet2DConditionModel(
        sample_size=LATENT, in_channels=4, out_channels=4, block_out_channels=CHANNELS, layers_per_block=2,
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        transformer_layers_per_block=TRANSFORMER_LAYERS, attention_head_dim=[c // 64 for c in CHANNELS],
        cross_attention_dim=64 + 128, use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=32, projection_class_embeddings_input_dim=128 + 6 * 32, norm_num_groups=32)
    with torch.no_grad():
        zero_matching(unet, r"(resnets\.\d+\.conv2|^conv_out|proj_out)\.(weight|bias)$")
    return unet


class Net(nn.Module):
    """What is trained together: both text encoders and the UNet. Its names are those of net.pt."""

    def __init__(self):
        super().__init__()
        self.te1, self.te2 = make_text_encoders()
        self.unet = make_unet()

    def forward(self, x, t, ids1, ids2, zero):
        """x [R*B, 4, 16, 16], t [R*B], ids [B, T], zero [B] (0 drops the text) -> noise like x."""
        first = self.te1(ids1, output_hidden_states=True).hidden_states[-2]
        second = self.te2(ids2, output_hidden_states=True)
        context, pooled = torch.cat([first, second.hidden_states[-2]], -1), second.text_embeds
        context, pooled = context * zero[:, None, None], pooled * zero[:, None]
        repeats = len(x) // len(context)
        context, pooled = context.repeat(repeats, 1, 1), pooled.repeat(repeats, 1)
        ids = torch.tensor([[SIZE, SIZE, 0, 0, SIZE, SIZE]], device=x.device).float().repeat(len(x), 1)
        return self.unet(x, t, context, added_cond_kwargs=dict(text_embeds=pooled, time_ids=ids)).sample
