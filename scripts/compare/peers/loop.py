"""What every peer's process shares: the request in, the pictures made batch by batch, JSON lines out.

A request is the JSON object in the first argument: model (for stable-diffusion.cpp one file), out, items
[{prompt, seed}], width, height, steps, guidance_scale, scheduler (a whole configuration, or null for the
folder's), precision, threads, batch, device; some peers take more. Lines out:
{"loaded": SECONDS}, for each batch {"first": INDEX, "count": N, "seconds": {STAGE: of a picture}}, and
{"software": {NAME: VERSION}}.
"""
import json
import os
import sys
import time


def request():
    return json.loads(sys.argv[1])


def emit(**line):
    print(json.dumps(line), flush=True)


class Clock:
    """Wall time since it was last asked, once the device is done."""

    def __init__(self, synchronize=lambda: None):
        self._synchronize = synchronize
        self._last = time.perf_counter()

    def lap(self):
        self._synchronize()
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        return seconds


def make_pictures(work, make):
    """`make` takes items and gives their pictures with {stage: seconds}; here they are written and reported."""
    items, size = work["items"], work["batch"]
    for first in range(0, len(items), size):
        batch = items[first:first + size]
        images, seconds = make(batch)
        clock = Clock()
        for i, image in enumerate(images, first):
            image.save(os.path.join(work["out"], f"{i:05}.png"))
        seconds["write"] = clock.lap()
        emit(first=first, count=len(batch), seconds={stage: value / len(batch) for stage, value in seconds.items()})
