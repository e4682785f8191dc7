"""The training of the UNet and both text encoders together."""
import copy
import time

import numpy as np
import torch

from .data import caption, load_facts
from .group_norm import use_fused_norms
from .networks import Net
from .tokenizer import load_tokenizers
from .training import Gradients, learning_rate, save, take_step
from .vocabulary import COLOUR_NAMES, CORE, FOCUS


def prepare(args):
    """(network, its moving average), the network with what makes it fast on a CPU."""
    net = Net()
    if args.resume:
        net.load_state_dict(torch.load(args.work / "net.pt", map_location="cpu")["ema"])
    net.to(args.device)
    net.unet.to(memory_format=torch.channels_last)
    average = copy.deepcopy(net).requires_grad_(False)
    if args.device == "cpu":  # torch's fused attention is slow backwards on such short sequences
        from diffusers.models.attention_processor import AttnProcessor
        use_fused_norms(net.unet)
        net.unet.set_attn_processor(AttnProcessor())
        for encoder in (net.te1, net.te2):
            encoder.set_attn_implementation("eager")
    return net, average


def draw_weights(args, facts):
    if args.scope == "core":
        weights = np.array([float(fact["name"] in CORE and fact["w"] > 0) for fact in facts])
    else:
        weights = np.array([fact["w"] for fact in facts])
    if args.focus:
        weights *= np.array([8.0 if fact["name"] in FOCUS else 1.0 for fact in facts])
    print(int((weights > 0).sum()), "emoji in scope", flush=True)
    return weights / weights.sum()


class Examples:
    """Random captions, latents, times and noise."""

    def __init__(self, args, latents, facts):
        self.args, self.latents, self.facts = args, latents, facts
        self.rng = np.random.default_rng(1000 + args.rank)
        self.generator = torch.Generator(device=args.device).manual_seed(1000 + args.rank)
        self.tokenizers = load_tokenizers(args)
        self.weights = draw_weights(args, facts)
        self.captions = args.unet_batch // args.world // args.repeats

    def text(self, width):
        """(token ids of both tokenizers [B, width], keep [B], latents [B, 4, 16, 16])"""
        n = self.captions
        i = self.rng.choice(len(self.facts), n, p=self.weights)
        colour = np.where(self.rng.random(n) < 0.4, 0, self.rng.integers(1, len(COLOUR_NAMES), n))
        captions = [caption(self.facts[k], int(c), self.rng, 0.06) for k, c in zip(i, colour)]
        keep = torch.from_numpy((self.rng.random(n) > 0.06).astype(np.float32)).to(self.args.device)
        ids = [tokenizer(captions, padding="max_length", max_length=width, truncation=True,
                         return_tensors="pt").input_ids.to(self.args.device) for tokenizer in self.tokenizers]
        return ids, keep, self.latents[torch.from_numpy(i), torch.from_numpy(colour)].float()

    def noise(self, x0):
        """(times [N], noise like x0). Times are stratified, somewhat more of the noisy half, where the
        picture is decided."""
        n, device = len(x0), self.args.device
        u = (torch.arange(n, device=device) + torch.rand(n, generator=self.generator, device=device)) / n
        u = u[torch.randperm(n, generator=self.generator, device=device)]
        t = (1000 * (1 - (1 - u) ** 1.25)).long().clamp(0, 999)
        return t, torch.randn(x0.shape, generator=self.generator, device=device)


def update_average(average, net, step, done):
    decay = min(0.99, (4 + step) / (40 + step))
    if done > 0.9:
        decay = min(decay, 0.97)
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), 1 - decay)


def stage_unet(args):
    torch.manual_seed(1)
    stored = torch.load(args.work / "latents.pt")
    examples = Examples(args, stored["lat"].to(args.device), load_facts(args))
    net, average = prepare(args)
    gradients = Gradients(net.parameters(), args)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    alphas = torch.cumprod(1 - betas, 0).float().to(args.device)
    sigmas = ((1 - alphas) / alphas).sqrt()
    start = saved = time.time()
    step, done, smooth = 0, 0.0, 0.0
    while done < 1:
        # Mostly short token rows (cheaper); the last stretch always the full 77 that pipelines use.
        ids, keep, latents = examples.text(77 if done > 0.75 or step % 4 == 0 else 24)
        x0 = latents.repeat(args.repeats, 1, 1, 1)
        t, noise = examples.noise(x0)
        share = alphas[t][:, None, None, None]
        noisy = (share.sqrt() * x0 + (1 - share).sqrt() * noise).contiguous(memory_format=torch.channels_last)
        with torch.autocast(args.device, torch.bfloat16):
            guess = net(noisy, t, *ids, keep)
        error = (guess.float() - noise).square().mean((1, 2, 3))
        (error * (1 + sigmas[t] ** 2).sqrt().clamp(max=6)).mean().backward()
        done = gradients.average(time.time() - start) / (60 * args.unet_minutes)
        norm = gradients.clip(1.0)
        rate = learning_rate(min(done, 1), args.lr, 3e-5)
        take_step(optimizer, gradients, rate)
        step += 1
        smooth += (error.mean().item() - smooth) / min(step, 100)
        if args.rank != 0:
            continue
        if step % 4 == 0:
            update_average(average, net, step, done)
        if step % 50 == 0 or done >= 1:
            print(f"unet step {step} {time.time() - start:.0f}s mse {smooth:.4f} grad {norm:.2f} lr {rate:.1e}",
                  flush=True)
        if time.time() - saved > 240 or done >= 1:
            saved = time.time()
            save({"ema": average.state_dict(), "sf": stored["sf"], "step": step}, args.work / "net.pt")
