"""What both training stages share: gradients over processes, the learning rate, files that are whole."""
import math
import os

import torch


class Gradients:
    """Gradients in one flat buffer, averaged over the processes of a run."""

    def __init__(self, parameters, args):
        self.parameters, self.world = [p for p in parameters if p.requires_grad], args.world
        self.flat = torch.zeros(sum(p.numel() for p in self.parameters), device=args.device)
        offset = 0
        for p in self.parameters:
            p.grad = torch.as_strided(self.flat, p.shape, p.stride(), offset)
            offset += p.numel()
        if self.world > 1:
            import torch.distributed as dist
            if not dist.is_initialized():
                dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{args.port}", rank=args.rank,
                                        world_size=args.world)
            for p in self.parameters:
                dist.broadcast(p.data, 0)

    def average(self, clock):
        """Averages the gradients, and the clock, so that all processes agree on the time."""
        if self.world > 1:
            import torch.distributed as dist
            dist.all_reduce(self.flat)
            self.flat /= self.world
            shared = torch.tensor([float(clock)], dtype=torch.float64)
            dist.all_reduce(shared)
            clock = shared.item() / self.world
        return clock

    def clip(self, limit):
        """Scales to at most that norm, drops what is not finite; returns the norm before."""
        norm = self.flat.norm()
        if not torch.isfinite(norm):
            self.flat.zero_()
        elif norm > limit:
            self.flat.mul_(limit / norm)
        return norm.item()


def take_step(optimizer, gradients, rate):
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    gradients.flat.zero_()


def learning_rate(done, peak, floor, warm=0.03):
    """A linear rise, then a cosine fall; `done` is the share of the time that has passed."""
    if done < warm:
        return peak * done / warm
    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * (done - warm) / (1 - warm)))


def save(content, path):
    part = path.with_name(path.name + ".part")
    torch.save(content, part)
    os.rename(part, path)
