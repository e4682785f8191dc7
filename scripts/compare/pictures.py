"""Prints how two lists of pictures differ, as JSON: largest difference, share of equal bytes, PSNR; and how
much their means and histograms do, for pictures too far apart for the rest to say anything.

Run by bench_peers.py in the reference's Python, which has Pillow and numpy. The argument is a JSON array of
pairs of paths.
"""
import json
import math
import sys

import numpy as np
from PIL import Image

ALIKE_DB = 18  # below, rounding or other noise has made another picture


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(np.int16)


def histogram(picture):
    return np.histogram(picture, bins=32, range=(0, 256))[0] / picture.size


def main():
    largest, equal, psnr, means, overlaps = 0, [], [], [], []
    for one, other in json.loads(sys.argv[1]):
        a, b = pixels(one), pixels(other)
        if a.shape != b.shape:
            sys.exit(f"{one} is {a.shape}, {other} is {b.shape}")
        difference = np.abs(a - b)
        error = float((difference.astype(np.float64) ** 2).mean())
        largest = max(largest, int(difference.max()))
        equal.append(float((difference == 0).mean()))
        psnr.append(math.inf if error == 0 else 10 * math.log10(255**2 / error))
        means.append(abs(float(a.mean()) - float(b.mean())))
        overlaps.append(float(np.minimum(histogram(a), histogram(b)).sum()))
    # JSON has no infinity: equal pictures have no PSNR.
    finite = [value for value in psnr if math.isfinite(value)]
    lowest = min(finite, default=None)
    print(json.dumps({"pictures": len(psnr), "largest_difference": largest, "equal_bytes": sum(equal) / len(equal),
                      "lowest_psnr": lowest, "alike": lowest is None or lowest >= ALIKE_DB,
                      "mean_difference": max(means), "histogram_overlap": min(overlaps)}))


if __name__ == "__main__":
    main()
