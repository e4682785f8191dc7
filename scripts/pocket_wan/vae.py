"""The training of the causal VAE, and the clips' latents."""
import math
import time

import numpy as np
import torch

from pocket_xl.training import Gradients, save, take_step

from .causal import check_whole, decode, encode, for_training
from .data import FRAMES, SIZE, Renderer, draw_facts
from .networks import make_vae
from .progress import Clock, learning_rate, resume, start_process, state_of

CHUNK = 4  # frames that a latent frame after the first stands for


def cut(clip, coverage, side, rng):
    """Both [..., 64, 64], cut to a square of that side about where the emoji is."""
    corner = []
    for axis in (-1, -2):
        covered = (coverage > 0).movedim(axis, 0).flatten(1).any(1).nonzero()
        centre = covered.float().mean().item() if len(covered) else SIZE / 2
        corner.append(int(np.clip(centre - side / 2 + rng.uniform(-6, 6), 0, SIZE - side)))
    x, y = corner
    return [part[..., y:y + side, x:x + side] for part in (clip, coverage)]


def draw_clips(renderer, n, frames, side, rng):
    """(clips [n, 3, frames, side, side] in -1..1, coverage [n, 1, frames, side, side]), cut out of whole ones."""
    clips = []
    for fact in draw_facts(n, rng):
        start = CHUNK * rng.integers((FRAMES - frames) // CHUNK + 1)
        clips.append(cut(*renderer(fact, rng, slice(start, start + frames)), side, rng))
    return [torch.stack(parts).contiguous(memory_format=torch.channels_last_3d) for parts in zip(*clips)]


def loss_of(vae, clips, coverage):
    """(loss, L1): L1, L2 and gradient differences, the emoji counted more than the ground, and a little KL."""
    mean, log_variance = encode(vae, clips)
    y = decode(vae, mean + (0.5 * log_variance).exp() * torch.randn_like(mean))
    weight = 1 + 3 * (coverage > 0)
    error = y - clips
    flat = (weight * (error.abs() + 2 * error.square())).mean()
    edges = (error[..., 1:] - error[..., :-1]).abs().mean() + (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
    return flat + edges + 3e-4 * kl, error.abs().mean().item()


@torch.no_grad()
def psnr_of(vae, renderer, n):
    """PSNR of the mean error of n clips' reconstructions, in dB."""
    rng = np.random.default_rng(7)
    clips, _ = draw_clips(renderer, n, FRAMES, SIZE, rng)
    device, errors = next(vae.parameters()).device, []
    for clip in clips.split(2):
        y = decode(vae, encode(vae, clip.to(device))[0]).cpu()
        errors.append((y.clamp(-1, 1) - clip).square().mean() / 4)
    return -10 * math.log10(torch.stack(errors).mean())


def train(args, vae, name, steps, whole_from):
    """Trains what of the VAE needs gradients; NAME.state while it does, NAME.pt at the end."""
    optimizer = torch.optim.AdamW([p for p in vae.parameters() if p.requires_grad], lr=1e-3, betas=(0.9, 0.98),
                                  weight_decay=1e-4, fused=True)
    first = resume(args, args.work / f"{name}.state", optimizer, vae=vae)
    gradients = Gradients(vae.parameters(), args)
    renderer, batch, clock, smooth = Renderer(args), args.vae_batch // args.world, Clock(args), 0.0
    for step in range(first, steps):
        done = step / steps
        rng = np.random.default_rng([1, args.rank, step])
        # Short small clips, which are cheap and show more of the emoji than of the ground; at the end whole ones.
        form = (max(1, batch // 4), FRAMES, SIZE) if done >= whole_from else (batch, 9, 40)
        clips, coverage = draw_clips(renderer, *form, rng)
        torch.manual_seed(step * args.world + args.rank)
        loss, l1 = loss_of(vae, clips.to(args.device), coverage.to(args.device))
        loss.backward()
        gradients.average(0)
        norm = gradients.clip(1.0)
        rate = learning_rate(done, args.vae_lr)
        take_step(optimizer, gradients, rate)
        smooth += (l1 - smooth) / min(step - first + 1, 50)
        if args.rank != 0:
            continue
        if clock.shows(step):
            print(f"{name} step {step} {clock} l1 {smooth:.4f} loss {loss.item():.4f} grad {norm:.2f} lr {rate:.1e}",
                  flush=True)
        if clock.saves(step, steps):
            print(f"  PSNR {psnr_of(vae, renderer, 4):.2f}", flush=True)
            save(state_of(step + 1, optimizer, vae=vae), args.work / f"{name}.state")
    if args.rank == 0:
        print(f"PSNR of 32 clips {psnr_of(vae, renderer, 32):.2f}", flush=True)
        save(vae.state_dict(), args.work / f"{name}.pt")
        (args.work / f"{name}.state").unlink(missing_ok=True)  # what is done is not to be resumed


def stage_vae(args):
    start_process(args, 0)
    if args.rank == 0:
        check_whole(make_vae)
        for name in ("decoder.state", "decoder.pt"):
            (args.work / name).unlink(missing_ok=True)
    train(args, for_training(make_vae().to(args.device)), "vae", args.vae_steps, 0.85)


def stage_decoder(args):
    """The decoder alone, better: the encoder, and so the latents, stay as they are, and the transformer can be
    trained at the same time."""
    start_process(args, 3)
    vae = load_vae(args, "vae").train()
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    train(args, vae, "decoder", args.decoder_steps, 0.6)


def load_vae(args, *names):
    """The first that is there: a stage's end or its last state."""
    vae = make_vae()
    for name in names or ("decoder", "vae"):
        path, state = args.work / f"{name}.pt", args.work / f"{name}.state"
        if path.exists() or state.exists():
            stored = torch.load(path if path.exists() else state, map_location="cpu")
            vae.load_state_dict(stored if path.exists() else stored["vae"])
            return for_training(vae).to(args.device).eval()
    raise SystemExit(f"no trained VAE in {args.work}: run the stage vae first")


@torch.no_grad()
def stage_latents(args):
    """latents-RANK.pt: facts [n, 3] and the posterior means [n, 16, 5, 8, 8] of that many clips, a share a process."""
    start_process(args, 1)
    renderer, vae = Renderer(args), load_vae(args)
    n, clock = args.clips // args.world, Clock(args)
    facts = draw_facts(n, np.random.default_rng([2, args.rank]))
    latents = torch.empty(n, *encode(vae, torch.zeros(1, 3, FRAMES, SIZE, SIZE, device=args.device))[0].shape[1:],
                          dtype=torch.half)
    for i, part in enumerate(torch.arange(n).split(4)):
        rngs = [np.random.default_rng([3, args.rank, int(k)]) for k in part]
        clips = torch.stack([renderer(facts[k], rng)[0] for k, rng in zip(part, rngs)])
        latents[part] = encode(vae, clips.to(args.device))[0].half().cpu()
        if args.rank == 0 and clock.shows(i):
            print(f"latents {len(part) * (i + 1)} of {n} {clock}", flush=True)
    save({"facts": torch.from_numpy(facts), "latents": latents}, args.work / f"latents-{args.rank}.pt")


def load_latents(args):
    """facts [N, 3], latents [N, 16, 5, 8, 8] of mean 0 and deviation 1, channel by channel, and those of before."""
    parts = [torch.load(path) for path in sorted(args.work.glob("latents-?.pt"))]
    facts = torch.cat([part["facts"] for part in parts]).numpy()
    latents = torch.cat([part["latents"] for part in parts]).float()
    mean, std = latents.mean((0, 2, 3, 4)), latents.std((0, 2, 3, 4))
    view = (1, -1, 1, 1, 1)
    return facts, (latents - mean.view(view)) / std.view(view), mean.tolist(), std.tolist()
