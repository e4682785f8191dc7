"""What every stage of training shares: its process's threads, learning rates, when to speak and when to save."""
import time

import torch


def start_process(args, seed):
    torch.manual_seed(seed)
    if args.device == "cpu":
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)


def learning_rate(done, peak, fall=0.3):
    """A short rise, a long plateau, a linear fall over the last share `fall`. Because of the plateau a run that has
    to end sooner or later than planned can be resumed with another number of steps."""
    return peak * min(1.0, done / 0.02 + 0.01, (1 - done) / fall + 0.01)


def resume(args, path, optimizer, **networks):
    """Loads what `state_of` made, where it is there; the step to go on from."""
    if not path.exists():
        return 0
    stored = torch.load(path, map_location=args.device)
    for name, network in networks.items():
        network.load_state_dict(stored[name])
    optimizer.load_state_dict(stored["optimizer"])
    return stored["step"]


def state_of(step, optimizer, **networks):
    return {"step": step, "optimizer": optimizer.state_dict(),
            **{name: network.state_dict() for name, network in networks.items()}}


class Clock:
    """Seconds by the wall and by the processor; when to print a line and when to store a state."""

    def __init__(self, args):
        self.start = self.saved = self.shown = time.time()
        self.every = args.save_minutes * 60

    def __str__(self):
        return f"{time.time() - self.start:.0f}s ({time.process_time():.0f}s cpu)"

    def shows(self, step):
        if step and time.time() - self.shown < 20:
            return False
        self.shown = time.time()
        return True

    def saves(self, step, steps):
        if step + 1 < steps and time.time() - self.saved < self.every:
            return False
        self.saved = time.time()
        return True
