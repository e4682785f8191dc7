"""The suite video of bench_peers.py: backlot bench video beside diffusers' WanPipeline.

    scripts/bench_peers.py video                             Wan 2.1's 1.3B sizes, 256x256, 17 frames, 2 steps
    scripts/bench_peers.py video --dtypes bfloat16,float32 --threads 2
    scripts/bench_peers.py video --device cuda --size 832x480 --frames 81 --steps 50

Both run the full-size networks with random weights of their own, which take as long as trained ones, with guidance
(two calls of the transformer a step), prompts of 512 tokens whose embeddings are random in both (UMT5, 11 GB, is left
out), and the autoencoder in the same precision. 3 GB of memory in bfloat16, 6 in float32, and what a clip takes.

Each measurement is a process of its own that loads once and warms up. Before each of diffusers' comes one of
backlot's, and ratios are between neighbours. Frames are not compared: the weights differ. (tests/pipelines/wan_test.cpp
holds them against diffusers' on recorded cases.) Results: table.md and results.json in -o.
"""
import argparse
import json
import os
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

from compare.contestants import PEERS, Failed, timed
from compare.environment import ROOT, reference_python
from compare.options import at_least, machine, names, say
from compare.report import cell, spread

DTYPES = ["bfloat16", "float32", "float16"]
PARTS = ["seconds", "denoise", "decode", "step"]
TEXT_TOKENS = 512  # backlot's, and the reference's default


@dataclass
class Run:
    """Seconds of each clip, of its stages, and of a step."""
    seconds: list
    denoise: list
    decode: list
    step: list
    peak_mib: float
    software: dict = field(default_factory=dict)


def last_object(output):
    start = output.find("{")
    if start < 0:
        raise Failed("printed no result")
    return json.loads(output[start:])


def run_backlot(args, dtype):
    width, height = args.size
    known = args.model in ("wan-1.3b", "wan-14b")
    _, peak, _, output = timed(
        [args.backlot, "bench", "video", "--synthetic", args.model if known else Path(args.model).resolve(), "--device",
         args.device, "--dtype", dtype, "--threads", args.threads, "--size", f"{width}x{height}", "--frames",
         args.frames, "--steps", args.steps, "--guidance-scale", args.guidance_scale, "--warm-up", args.warm_up,
         "--repeats", args.repeats, "--json", "-q"], args, args)
    result = last_object(output)
    case = result["cases"][0]
    if case["error"]:
        raise Failed(case["error"])
    if case["parameters"]["frames"] != args.frames:
        raise Failed(f"made {case['parameters']['frames']} frames of {args.frames}")
    stages = case["stages"]
    return Run(case["seconds"], stages["denoise"], stages["decode"], stages["step"], peak,
               {"backlot": result["machine"]["backlot"]})


def run_diffusers(args, dtype):
    width, height = args.size
    job = {"model": args.model, "dtype": dtype, "device": args.device, "threads": args.threads, "width": width,
           "height": height, "frames": args.frames, "steps": args.steps, "guidance_scale": args.guidance_scale,
           "warm_up": args.warm_up, "repeats": args.repeats, "text_tokens": TEXT_TOKENS}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(job, file)
        file.flush()
        _, peak, _, output = timed([args.python, PEERS / "wan_peer.py", file.name], args, args)
    found = last_object(output)
    return Run(*([clip[part] for clip in found["clips"]] for part in PARTS), peak, found["software"])


CONTESTANTS = {"backlot": run_backlot, "diffusers": run_diffusers}


def ratios(runs, backlot):
    """How many times backlot's seconds the peer takes: round by round, against the run before it."""
    return {part: spread([statistics.median(getattr(run, part)) / statistics.median(getattr(other, part))
                          for run, other in zip(runs, backlot, strict=True)]) for part in PARTS}


def take(args, name, dtype):
    """A Run, or a sentence saying why not."""
    try:
        run = CONTESTANTS[name](args, dtype)
    except Failed as error:
        say(f"{name} {dtype}: {error}")
        return str(error)
    say(f"{name} {dtype}: " + ", ".join(f"{part} {statistics.median(getattr(run, part)):.2f}" for part in PARTS)
        + f"; {run.peak_mib:.0f} MiB")
    return run


def measure(args, dtype):
    """Rows of backlot and of diffusers, in turns."""
    runs, reasons = {"backlot": [], "diffusers": []}, {}
    for _ in range(args.rounds):
        for name in runs:
            if not reasons:
                run = take(args, name, dtype)
                if isinstance(run, str):
                    reasons[name] = run
                else:
                    runs[name].append(run)
    rows = []
    for name, found in runs.items():
        row = {"contestant": name, "dtype": dtype}
        if name in reasons:
            row["reason"] = reasons[name]
        if found:
            row["figures"] = {part: spread([value for run in found for value in getattr(run, part)]) for part in PARTS}
            row["figures"]["peak_mib"] = spread([run.peak_mib for run in found])
            row["runs"] = [asdict(run) for run in found]
        if name == "diffusers" and found:
            row["ratios"] = ratios(found, runs["backlot"][:len(found)])
        rows.append(row)
    return rows


def table(results):
    """Markdown."""
    heads = ["", "dtype", "a clip, s", "denoise, s", "decode, s", "a step, s", "peak memory, MiB",
             "backlot is so many times as fast (clip / denoise / decode)"]
    work = results["work"]
    lines = [f"**video**: {work['model']}, {work['device']}, {work['size']}x{work['frames']}, {work['steps']} steps, "
             f"guidance {work['guidance_scale']:g}", "", "| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in results["rows"]:
        if "figures" not in row:
            why = row.get("reason", "the other one failed").replace("|", "\\|")
            lines.append(f"| {row['contestant']} | {row['dtype']} | not measured: {why} |" + " – |" * (len(heads) - 3))
            continue
        cells = [cell(row["figures"][part]) for part in [*PARTS, "peak_mib"]]
        against = row.get("ratios")
        ratio = " / ".join(f"{against[part]['median']:.2f}" for part in PARTS[:3]) if against else "1"
        lines.append(f"| {row['contestant']} | {row['dtype']} | " + " | ".join(cells) + f" | {ratio} |")
    software = ", ".join(f"{name} {version}" for name, version in sorted(results["software"].items()))
    lines += ["", f"Medians (least–most) of {results['rounds']} rounds of a process each, in turns, {work['repeats']} clips "
              f"each after {work['warm_up']} that warm up; {results['threads']} threads on {results['machine']}; load "
              f"at the start {results['load']:.1f}. Peak memory is the process's own on the host. {software}."]
    return "\n".join(lines) + "\n"


def size(text):
    sides = text.split("x")
    if len(sides) != 2 or not all(side.isdigit() and int(side) > 0 and int(side) % 16 == 0 for side in sides):
        raise argparse.ArgumentTypeError(f"'{text}' is no WIDTHxHEIGHT in multiples of 16")
    return int(sides[0]), int(sides[1])


def parse_options(arguments):
    parser = argparse.ArgumentParser(prog="bench_peers.py video", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="wan-1.3b", help="wan-1.3b, wan-14b, or a folder whose configs say the sizes")
    parser.add_argument("--dtypes", type=names(DTYPES), default=["bfloat16"], help="default bfloat16")
    parser.add_argument("--size", type=size, default=(256, 256), metavar="WxH", help="default 256x256")
    parser.add_argument("--frames", type=at_least(1), default=17, help="4 N + 1; default 17")
    parser.add_argument("--steps", type=at_least(2), default=2, help="default 2")
    parser.add_argument("--guidance-scale", type=float, default=5.0, help="default 5; at most 1: no guidance")
    parser.add_argument("--rounds", type=at_least(1), default=3, help="processes of each contestant (default 3)")
    parser.add_argument("--warm-up", type=at_least(0), default=1, help="clips that don't count (default 1)")
    parser.add_argument("--repeats", type=at_least(1), default=2, help="clips of a process that count (default 2)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=at_least(1), default=len(os.sched_getaffinity(0)),
                        help="default: every core")
    parser.add_argument("--limit", type=at_least(1), default=1800, metavar="S", help="seconds a process may take")
    parser.add_argument("--backlot", type=Path, default=ROOT / "build/backlot", help="default build/backlot")
    parser.add_argument("--python", type=Path, help="one that has torch 2.11 and diffusers; default: .deps/ref, "
                                                    "made when it is missing")
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "out/peers-video", metavar="DIR")
    args = parser.parse_args(arguments)
    for name in ("out", "backlot"):
        setattr(args, name, getattr(args, name).resolve())
    args.out.mkdir(parents=True, exist_ok=True)
    # Not resolved: a virtual environment's Python is a link, and known by its place.
    args.python = args.python.absolute() if args.python else reference_python()
    return args


def main(arguments):
    args = parse_options(arguments)
    work = {name: getattr(args, name) for name in ("model", "device", "frames", "steps", "guidance_scale", "warm_up",
                                                   "repeats")} | {"size": "x".join(map(str, args.size))}
    results = {"machine": machine(args.device), "threads": args.threads, "rounds": args.rounds,
               "load": os.getloadavg()[0], "work": work, "software": {}, "rows": []}
    for dtype in args.dtypes:
        results["rows"] += measure(args, dtype)
        for row in results["rows"]:
            for run in row.get("runs", []):
                results["software"].update(run["software"])
        # After each part: a run that is stopped leaves what it has.
        (args.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
        (args.out / "table.md").write_text(table(results))
    print(table(results), end="")
    if any("reason" in row for row in results["rows"] if row["contestant"] == "backlot"):
        sys.exit("bench: error: backlot failed; see the table")
