"""The autoencoder: its training, and every picture's latents."""
import math
import time

import torch

from .data import colour_table, composite, load_data
from .group_norm import use_fused_norms
from .networks import LATENT, make_vae
from .training import Gradients, learning_rate, save, take_step
from .vocabulary import CORE


def psnr_of(vae, args, n=128):
    """(mean PSNR, PSNR of the mean error) of n reconstructions, in dB."""
    rgba, _ = load_data(args)
    colours = colour_table(args.device)
    index = torch.linspace(0, len(rgba) - 1, n).long().to(args.device)
    errors = []
    with torch.no_grad(), torch.autocast(args.device, torch.bfloat16):
        for j in index.split(16):
            x = composite(rgba[j], colours[(j % len(colours)).long()]).contiguous(memory_format=torch.channels_last)
            y = vae.decode(vae.encode(x).latent_dist.mean).sample.float().clamp(-1, 1)
            errors.append((((y - x) / 2) ** 2).mean((1, 2, 3)))
    errors = torch.cat(errors)
    return (-10 * errors.log10()).mean().item(), -10 * math.log10(errors.mean())


def loss_of(vae, x):
    """(loss, L1, KL): L1, L2 and gradient differences, and a little KL."""
    with torch.autocast(x.device.type, torch.bfloat16):
        posterior = vae.encode(x).latent_dist
        y = vae.decode(posterior.sample()).sample
    error = y.float() - x
    l1 = error.abs().mean()
    edges = (error[..., 1:] - error[..., :-1]).abs().mean() + (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    kl = posterior.kl().float().mean()
    return l1 + 2 * error.square().mean() + 0.5 * edges + 1e-6 * kl, l1.item(), kl.item()


def stage_vae(args):
    torch.manual_seed(0)
    generator = torch.Generator(device=args.device).manual_seed(100 + args.rank)
    rgba, facts = load_data(args)
    colours = colour_table(args.device)
    vae = make_vae().to(args.device, memory_format=torch.channels_last)
    if args.device == "cpu":
        use_fused_norms(vae)
    gradients = Gradients(vae.parameters(), args)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=1e-4, fused=True)
    batch = args.vae_batch // args.world
    weights = torch.tensor([fact["w"] for fact in facts], device=args.device) ** 0.5
    start = saved = time.time()
    step, done, smooth = 0, 0.0, 0.0
    while done < 1:
        i = torch.multinomial(weights, batch, generator=generator)
        colour = colours[torch.randint(len(colours), (batch,), generator=generator, device=args.device)]
        loss, l1, kl = loss_of(vae, composite(rgba[i], colour).contiguous(memory_format=torch.channels_last))
        loss.backward()
        done = gradients.average(time.time() - start) / (60 * args.vae_minutes)
        gradients.clip(1.0)
        rate = learning_rate(min(done, 1), args.vae_lr, 2e-5)
        take_step(optimizer, gradients, rate)
        step += 1
        smooth += (l1 - smooth) / min(step, 50)
        if args.rank == 0 and (step % 100 == 0 or done >= 1):
            print(f"vae step {step} {time.time() - start:.0f}s l1 {smooth:.4f} kl {kl:.0f} lr {rate:.1e}", flush=True)
        if args.rank == 0 and (time.time() - saved > 120 or done >= 1):
            saved = time.time()
            print("  PSNR mean %.2f, of mean error %.2f" % psnr_of(vae, args, 128 if done >= 1 else 32), flush=True)
            save(vae.state_dict(), args.work / "vae.pt")


def load_vae(args):
    vae = make_vae()
    vae.load_state_dict(torch.load(args.work / "vae.pt", map_location="cpu"))
    return vae.to(args.device, memory_format=torch.channels_last).eval()


def stage_latents(args):
    """Posterior means for every emoji on every background, and the scaling factor."""
    rgba, facts = load_data(args)
    colours = colour_table(args.device)
    vae = load_vae(args)
    if args.device == "cpu":
        use_fused_norms(vae)
    wanted = torch.tensor([i for i, fact in enumerate(facts) if args.scope == "full" or fact["name"] in CORE])
    latents = torch.zeros(len(rgba), len(colours), 4, LATENT, LATENT)
    with torch.no_grad(), torch.autocast(args.device, torch.bfloat16):
        for i in wanted.split(32):
            for k in range(len(colours)):
                x = composite(rgba[i.to(args.device)], colours[k].expand(len(i), 3))
                x = x.contiguous(memory_format=torch.channels_last)
                latents[i, k] = vae.encode(x).latent_dist.mean.float().cpu()
    used = latents[wanted]
    factor = 1 / used.std().item()
    print("latent mean", used.mean((0, 1, 3, 4)), "std", used.std((0, 1, 3, 4)), "scaling_factor", factor)
    torch.save({"lat": (latents * factor).half(), "sf": factor}, args.work / "latents.pt")
