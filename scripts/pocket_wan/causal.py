"""AutoencoderKLWan over a whole clip at once. diffusers goes chunk by chunk with a cache of features; without one its
resampling leaves time alone. Here it does what the chunks add up to, in few large convolutions."""
import torch

from .rms_norm import use_fused_norms

FIRST = slice(None, 1)


def resample_whole(self, x, feat_cache=None, feat_idx=None):
    """For WanResample.forward, x [B, C, T, H, W] from a clip's first frame on: that frame goes past the convolutions
    over time, which see nothing of it when they double the frames, and do when they halve them."""
    if self.mode == "upsample3d" and x.shape[2] > 1:
        b, c, t, h, w = x.shape
        doubled = self.time_conv(x[:, :, 1:]).view(b, 2, c, t - 1, h, w).permute(0, 2, 3, 1, 4, 5)
        x = torch.cat([x[:, :, FIRST], doubled.reshape(b, c, 2 * t - 2, h, w)], 2)
    b, c, t, h, w = x.shape
    x = self.resample(x.permute(0, 2, 1, 3, 4).reshape(b * t, c, h, w))
    x = x.view(b, t, *x.shape[1:]).permute(0, 2, 1, 3, 4)
    if self.mode == "downsample3d" and t > 1:
        x = torch.cat([x[:, :, FIRST], self.time_conv(x)], 2)
    return x


def encode(vae, clips):
    """[B, 3, T, H, W] -> mean, log variance [B, Z, 1 + T // 4, H / 8, W / 8], of a vae from `for_training`."""
    with torch.autocast(clips.device.type, torch.bfloat16):
        mean, log_variance = vae.quant_conv(vae.encoder(clips)).float().chunk(2, 1)
    return mean, log_variance.clamp(-30, 20)


def decode(vae, latents):
    with torch.autocast(latents.device.type, torch.bfloat16):
        return vae.decoder(vae.post_quant_conv(latents)).float()


def for_training(vae):
    """The same weights, for `encode` and `decode` above."""
    from diffusers.models.autoencoders.autoencoder_kl_wan import WanResample
    for module in vae.modules():
        if isinstance(module, WanResample):
            module.forward = resample_whole.__get__(module)
    return use_fused_norms(vae) if vae.device.type == "cpu" else vae


def check_whole(make_vae):
    """`encode` and `decode` must agree with diffusers' own, as far as bfloat16 goes."""
    chunked = make_vae().eval()
    with torch.no_grad():
        for parameter in chunked.parameters():  # no branch may be silent
            parameter += 0.02 * torch.randn_like(parameter)
    whole = make_vae().eval()
    whole.load_state_dict(chunked.state_dict())
    for_training(whole)
    clip = torch.rand(1, 3, 13, 32, 32) * 2 - 1
    with torch.no_grad():
        want = chunked.encode(clip).latent_dist.mean
        for name, a, b in (("encode", encode(whole, clip)[0], want),
                           ("decode", decode(whole, want).clamp(-1, 1), chunked.decode(want).sample)):
            error = ((a - b).norm() / b.norm()).item()
            print(f"whole-clip {name} against diffusers': relative error {error:.4f}", flush=True)
            if a.shape != b.shape or error > 0.03:
                raise SystemExit(f"the whole-clip {name} is not diffusers'")
