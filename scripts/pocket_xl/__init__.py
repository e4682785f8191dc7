"""The training of pocket-xl, a miniature in SDXL's architecture; scripts/train_pocket_xl.py runs it."""
