"""Prints how two lists of pictures differ, as JSON: largest difference, share of equal bytes, PSNR.

Run by compare_diffusers.py in the reference's Python, which has Pillow and numpy. The argument is a JSON
array of pairs of paths.
"""
import json
import math
import sys

import numpy as np
from PIL import Image


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(np.int16)


def main():
    largest, equal, psnr = 0, [], []
    for one, other in json.loads(sys.argv[1]):
        a, b = pixels(one), pixels(other)
        if a.shape != b.shape:
            sys.exit(f"{one} is {a.shape}, {other} is {b.shape}")
        difference = np.abs(a - b)
        error = float((difference.astype(np.float64) ** 2).mean())
        largest = max(largest, int(difference.max()))
        equal.append(float((difference == 0).mean()))
        psnr.append(math.inf if error == 0 else 10 * math.log10(255**2 / error))
    # JSON has no infinity: equal pictures have no PSNR.
    finite = [value for value in psnr if math.isfinite(value)]
    print(json.dumps({"pictures": len(psnr), "largest_difference": largest,
                      "equal_bytes": sum(equal) / len(equal), "lowest_psnr": min(finite, default=None)}))


if __name__ == "__main__":
    main()
