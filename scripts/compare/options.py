"""What the suites' command lines share."""
import argparse
import os
import subprocess
import sys
from pathlib import Path


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def names(known):
    def parse(text):
        chosen = [name for name in text.split(",") if name]
        for name in chosen:
            if name not in known:
                raise argparse.ArgumentTypeError(f"'{name}' is none of {', '.join(known)}")
        return chosen
    return parse


def at_least(least):
    def parse(text):
        if not text.isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"'{text}' is not a number from {least} up")
        return int(text)
    return parse


def cpu_name():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "an unnamed CPU"


def machine(device):
    name = f"{cpu_name()}, {os.cpu_count()} cores"
    if device != "cpu":
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        name += ", " + subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    return name
