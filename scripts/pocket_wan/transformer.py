"""The training of the transformer and the text encoder together, by flow matching on latents."""
import copy

import numpy as np
import torch

from pocket_xl.training import Gradients, save, take_step

from .data import caption
from .networks import TEXT_LENGTH, Net
from .progress import Clock, learning_rate, resume, start_process, state_of
from .tokenizer import load_tokenizer
from .vae import load_latents

SHIFT = 3.0  # of the noise levels, as in the scheduler's config
DROPPED = 0.1  # share of captions left out, for guidance
LENGTHS = [TEXT_LENGTH] * 6 + [226, 64]  # of the rows of text, in tokens


class Examples:
    """Random captions, latents, noise and its levels; every step's are known by its number."""

    def __init__(self, args):
        self.args, self.batch = args, args.batch // args.world
        self.facts, self.latents, *_ = load_latents(args)
        self.tokenizer = load_tokenizer(args.work / "tokenizer")

    def text(self, facts, rng):
        """(ids [B, T], mask [B, T]) of captions, the last place always padding."""
        captions = ["" if rng.random() < DROPPED else caption(fact, rng) for fact in facts]
        rows = self.tokenizer(captions).input_ids
        ids = torch.zeros(len(rows), max(map(len, rows)) + 1, dtype=torch.long)
        for row, tokens in zip(ids, rows):
            row[: len(tokens)] = torch.tensor(tokens)
        return ids, (ids != 0).long()

    def __call__(self, step):
        """x [B, 16, 5, 8, 8], t [B] in 0..1000, ids, mask, the velocity [B, 16, 5, 8, 8]; the length of the rows"""
        rng = np.random.default_rng([4, self.args.rank, step])
        generator = torch.Generator().manual_seed(step * self.args.world + self.args.rank)
        n = self.batch
        chosen = rng.integers(len(self.facts), size=n)
        ids, mask = self.text(self.facts[chosen], rng)
        x0 = self.latents[torch.from_numpy(chosen)]
        u = (torch.arange(n) + torch.rand(n, generator=generator)) / n  # stratified
        sigma = (SHIFT * u / (1 + (SHIFT - 1) * u))[:, None, None, None, None]
        noise = torch.randn(x0.shape, generator=generator)
        tensors = (1 - sigma) * x0 + sigma * noise, 1000 * sigma.flatten(), ids, mask, noise - x0
        return [tensor.to(self.args.device) for tensor in tensors], LENGTHS[rng.integers(len(LENGTHS))]


def update_average(average, net, step):
    decay = min(0.995, (1 + step) / (20 + step))
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), 1 - decay)


def prepare(args):
    """(network, its moving average), of the weights of before where they are to be improved"""
    net = Net()
    if args.improve:
        net.load_state_dict(torch.load(args.work / "net.pt", map_location="cpu")["net"])
    net.to(args.device).use_short_rows()
    return net, copy.deepcopy(net).requires_grad_(False)


def stage_transformer(args):
    start_process(args, 2)
    examples = Examples(args)
    net, average = prepare(args)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    first = resume(args, args.work / "net.state", optimizer, net=net, average=average)
    gradients = Gradients(net.parameters(), args)
    clock, smooth = Clock(args), 0.0
    for step in range(first, args.steps):
        (x, t, ids, mask, velocity), length = examples(step)
        with torch.autocast(args.device, torch.bfloat16):
            guess = net(x, t, ids, mask, length)
        loss = (guess.float() - velocity).square().mean()
        loss.backward()
        gradients.average(0)
        norm = gradients.clip(1.0)
        rate = learning_rate(step / args.steps, args.lr)
        take_step(optimizer, gradients, rate)
        smooth += (loss.item() - smooth) / min(step - first + 1, 100)
        if args.rank != 0:
            continue
        update_average(average, net, step)
        if clock.shows(step):
            print(f"step {step} {clock} loss {smooth:.4f} grad {norm:.2f} lr {rate:.1e}", flush=True)
        if clock.saves(step, args.steps):
            save(state_of(step + 1, optimizer, net=net, average=average), args.work / "net.state")
            save({"net": average.state_dict(), "step": step + 1}, args.work / "net.pt")
    if args.rank == 0:
        (args.work / "net.state").unlink(missing_ok=True)  # what is done is not to be resumed
