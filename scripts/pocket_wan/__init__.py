"""The training of pocket-wan, a miniature in Wan 2.1's architecture; scripts/train_pocket_wan.py runs it."""
