"""Wan 2.1's networks, small."""
import torch
from torch import nn

from pocket_xl.networks import zero_matching

from .tokenizer import VOCABULARY

Z = 16  # latent channels
TEXT_WIDTH, TEXT_HEADS = 96, 3
HEADS, HEAD, LAYERS, FFN = 5, 32, 5, 320
TEXT_LENGTH = 512  # tokens that the pipeline pads a prompt to


def make_vae(mean=None, std=None):
    from diffusers import AutoencoderKLWan
    vae = AutoencoderKLWan(base_dim=16, z_dim=Z, dim_mult=[1, 1, 2, 3], num_res_blocks=1,
                           temperal_downsample=[False, True, True], latents_mean=mean or [0.0] * Z,
                           latents_std=std or [1.0] * Z)
    with torch.no_grad():
        zero_matching(vae, r"conv2\.(weight|bias)$|proj\.(weight|bias)$")  # residual branches
        vae.quant_conv.bias[Z:] = -4.0  # start with little posterior noise
        vae.quant_conv.weight[:Z] *= 3
        vae.quant_conv.weight[Z:] *= 0.1
    return vae


def make_text_encoder():
    from transformers import UMT5Config, UMT5EncoderModel
    return UMT5EncoderModel(UMT5Config(
        vocab_size=VOCABULARY, d_model=TEXT_WIDTH, d_kv=TEXT_WIDTH // TEXT_HEADS, d_ff=192, num_layers=2,
        num_heads=TEXT_HEADS, dropout_rate=0.0, feed_forward_proj="gated-gelu", pad_token_id=0, eos_token_id=1,
        decoder_start_token_id=0))


def make_transformer():
    from diffusers import WanTransformer3DModel
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=HEADS, attention_head_dim=HEAD, in_channels=Z, out_channels=Z,
        text_dim=TEXT_WIDTH, freq_dim=256, ffn_dim=FFN, num_layers=LAYERS, cross_attn_norm=True,
        qk_norm="rms_norm_across_heads", eps=1e-6)
    for module in transformer.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    with torch.no_grad():
        zero_matching(transformer, r"^proj_out\.|attn2\.to_out\.0\.")
    return transformer


class TrainingAttention:
    """Attention in plain operations, whose gradients are quicker than the fused one's on such short rows.

    Across to the text, a short row's last place stands for all the padding of a long one. To equal keys softmax gives
    what it gives to one key with the logarithm of their number added to its score, so this is no approximation.
    `bias` [B, 1, 1, T] holds that: 0, minus infinity where nothing stands, the logarithm."""

    bias = None

    def rotate(self, x, cos, sin):
        first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
        cos, sin = cos[..., 0::2], sin[..., 0::2]
        return torch.stack([first * cos - second * sin, first * sin + second * cos], -1).flatten(-2).to(x.dtype)

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, rotary_emb=None):
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        heads = (attn.heads, -1)
        query = attn.norm_q(attn.to_q(hidden_states)).unflatten(2, heads)
        key = attn.norm_k(attn.to_k(source)).unflatten(2, heads)
        if rotary_emb is not None:
            query, key = self.rotate(query, *rotary_emb), self.rotate(key, *rotary_emb)
        value = attn.to_v(source).unflatten(2, heads).transpose(1, 2)
        scores = query.transpose(1, 2) * query.shape[-1] ** -0.5 @ key.permute(0, 2, 3, 1)
        if encoder_hidden_states is not None:
            scores = scores + self.bias.to(scores.dtype)
        return attn.to_out[0]((scores.softmax(-1).to(value.dtype) @ value).transpose(1, 2).flatten(2))


class Net(nn.Module):
    """What is trained together: the text encoder and the transformer. Its names are those of net.pt."""

    def __init__(self):
        super().__init__()
        self.text_encoder = make_text_encoder()
        self.transformer = make_transformer()

    def use_short_rows(self):
        """For `forward` below; the pipeline's own long rows give the same."""
        self.attention = TrainingAttention()
        for block in self.transformer.blocks:
            block.attn1.set_processor(self.attention)
            block.attn2.set_processor(self.attention)
        self.text_encoder.set_attn_implementation("eager")
        return self

    def forward(self, x, t, ids, mask, length=TEXT_LENGTH):
        """x [B, 16, 5, 8, 8], t [B] in 0..1000, ids and mask [B, T] whose last place is padding -> velocity like x.
        `length` is that of the row that the short one stands for."""
        text = self.text_encoder(ids, mask).last_hidden_state * mask[..., None]
        bias = torch.zeros_like(mask, dtype=torch.float).masked_fill(mask == 0, float("-inf"))
        bias[:, -1] = (length - mask.sum(1)).float().log()
        self.attention.bias = bias[:, None, None]
        return self.transformer(x, t, text).sample
