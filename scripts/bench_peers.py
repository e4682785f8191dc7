#!/usr/bin/env python3
"""Measure backlot beside its peers: the same weights, prompts, seeds, sizes, steps, scheduler and threads.

    scripts/bench_peers.py                                    the small model beside diffusers
    scripts/bench_peers.py --peers diffusers,diffusers-compiled,stable-diffusion.cpp,openvino --cases pocket,turbo
    scripts/bench_peers.py --device cuda --cases turbo,sdxl --dtypes float16 --batches 1,4
    scripts/bench_peers.py llm                                language models instead: see llm --help
    scripts/bench_peers.py video                              text to video instead: see video --help

Each measurement is a process of its own that loads once and makes several batches of pictures, the first of
which only warms up. Before each of a peer's comes one of backlot's, so that what else the machine does hits
both alike, and ratios are between neighbours. Cases:

  pocket   models/pocket-xl, 128x128, 20 steps, guidance 3.5; batches of 1, 4 and 16
  turbo    the full-size architecture with random weights, 512x512, 1 step, no guidance; 8 to 10 GB of memory
           (its float32 measure of likeness 14 GB)
  sdxl     the same, 1024x1024, --steps (default 4) with guidance 5; minutes a picture on a CPU

A picture's seconds run from when one batch's last picture is on the disk to when the next one's is: text
encoders, denoising, decoding, PNG. Seconds of the stages are what each contestant reports. A peer is installed
when it is asked for, into .deps/peers; one that can't be installed, refuses the work or fails is in the table
with its reason. Pictures are compared with those that diffusers makes in float32.
Results: table.md and results.json in -o.
"""
import argparse
import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from compare import llm, video
from compare.contestants import PEER_NAMES, Failed, measure, precisions, run_diffusers
from compare.environment import ROOT, Unavailable, reference_python
from compare.options import at_least, machine, names, say
from compare.report import ratios, summarise, table
from compare.workload import TRAILING, Case

HERE = Path(__file__).resolve().parent
COMPARED = 4  # pictures of a case that are held against the reference's
DTYPES = ["float32", "bfloat16", "float16"]


def read_once(folder):
    """So that nobody's first run waits for the disk."""
    for path in folder.rglob("*.safetensors"):
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 24):
                pass


def reference_pictures(args, case):
    """The first pictures of the case by diffusers in float32, made once and kept. Throws Failed."""
    few = dataclasses.replace(case, batch=1, batches=min(COMPARED, len(case.items)))
    out = args.out / "reference" / f"{case.name}-{case.batch}"
    out.mkdir(parents=True, exist_ok=True)
    asked, record = json.dumps(few.request()), out / "request.json"
    files = [out / f"{i:05}.png" for i in range(few.batches)]
    if not record.exists() or record.read_text() != asked or not all(file.exists() for file in files):
        say(f"{case.name}: reference pictures")
        run_diffusers(args, few, "float32", out)
        record.write_text(asked)
    return files


def compare_pictures(args, files, reference):
    pairs = json.dumps([[str(one), str(other)] for one, other in zip(files, reference)])
    done = subprocess.run([str(args.python), str(HERE / "compare/pictures.py"), pairs], check=True,
                          capture_output=True, text=True)
    return json.loads(done.stdout)


class Entrant:
    """A contestant in a precision: its runs, or why there are none."""

    def __init__(self, name, precision):
        self.name, self.precision = name, precision
        self.runs, self.backlot, self.reason = [], [], None

    def folder(self, args, case, number):
        return args.out / "runs" / f"{case.name}-{case.batch}-{self.name}-{self.precision}-{number}"

    def take(self, args, case, number):
        """A Run, or None and the reason kept."""
        try:
            run = measure(self.name, args, case, self.precision, self.folder(args, case, number))
        except (Failed, Unavailable) as error:
            self.reason = str(error)
            say(f"{case.name} {self.name} {self.precision}: {error}")
            return None
        say(f"{case.name} {case.batch} at a time, {self.name} {self.precision}: "
            + ", ".join(f"{seconds:.3f}" for seconds in run.picture) + f" s; first {run.first:.1f} s, "
            f"{run.peak_mib:.0f} MiB")
        return run


def measure_case(args, case, dtype):
    """backlot's Entrant and the peers', measured in turns."""
    backlot = Entrant("backlot", dtype)
    peers = [Entrant(name, precision) for name in args.peers for precision in precisions(name, dtype)]
    for number in range(args.rounds):
        # Every other round backwards: nobody always follows the same rival.
        for peer in (peers[::-1] if number % 2 else peers) or [None]:
            if backlot.reason or (peer and peer.reason):
                continue
            before = backlot.take(args, case, number)
            if before is None:
                break
            backlot.runs.append(before)
            run = peer.take(args, case, number) if peer else None
            if run:
                peer.runs.append(run)
                peer.backlot.append(before)
    return [backlot, *peers]


def to_row(args, entrant, reference):
    row = {"contestant": entrant.name, "precision": entrant.precision}
    if not entrant.runs:
        return {**row, "reason": entrant.reason or "backlot itself failed"}
    if entrant.backlot:
        row["ratios"] = ratios(entrant.runs, entrant.backlot)
    row["figures"] = summarise(entrant.runs)
    if isinstance(reference, str):
        row["likeness"] = {"reason": f"no reference: {reference}"}
    else:
        row["likeness"] = compare_pictures(args, entrant.runs[-1].files, reference)
    if entrant.reason:
        row["stopped"] = entrant.reason
    row["runs"] = [{key: value for key, value in dataclasses.asdict(run).items() if key not in ("files", "software")}
                   for run in entrant.runs]
    return row


def case_facts(case):
    return {name: getattr(case, name) for name in ("name", "width", "height", "steps", "guidance_scale", "batch",
                                                   "batches", "device", "scheduler")} | {"model": str(case.model)}


def find_cases(args):
    if {"turbo", "sdxl"} & set(args.cases) and not (args.sdxl / "model_index.json").exists():
        say(f"writing random weights to {args.sdxl}")
        subprocess.run([str(args.python), str(HERE / "make_random_sdxl.py"), str(args.sdxl)], check=True,
                       stdout=subprocess.DEVNULL)
    cases = []
    for batch in args.batches:
        rest = {"batch": batch, "batches": args.count or (9 if batch == 1 else 3), "device": args.device}
        if "pocket" in args.cases:
            cases.append(Case("pocket", ROOT / "models/pocket-xl", 128, 128, 20, 3.5, **rest))
        rest["batches"] = args.count or (4 if args.device == "cpu" else 9)
        if "turbo" in args.cases and (batch == 1 or args.device != "cpu"):
            cases.append(Case("turbo", args.sdxl, 512, 512, 1, 0.0, scheduler=TRAILING, **rest))
        if "sdxl" in args.cases and (batch == 1 or args.device != "cpu"):
            rest["batches"] = args.count or (2 if args.device == "cpu" else 4)
            cases.append(Case("sdxl", args.sdxl, 1024, 1024, args.steps, 5.0, **rest))
    if not cases:
        sys.exit("bench: error: nothing to measure: the full-size cases take batches on a CPU one at a time; "
                 "add 1 to --batches")
    return cases


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=names(["pocket", "turbo", "sdxl"]), default=["pocket"], help="default pocket")
    parser.add_argument("--peers", type=names(PEER_NAMES), default=["diffusers"],
                        help=f"of {', '.join(PEER_NAMES)}; default diffusers; '' for none")
    parser.add_argument("--dtypes", type=names(DTYPES), default=["bfloat16"], help="default bfloat16")
    parser.add_argument("--batches", type=lambda text: [at_least(1)(word) for word in text.split(",")], default=[1],
                        metavar="N,…", help="pictures at a time (default 1); full-size cases on a CPU only 1")
    parser.add_argument("--rounds", type=at_least(1), default=3, help="processes of each contestant (default 3)")
    parser.add_argument("--count", type=at_least(2), help="batches a process makes, with the one that warms up")
    parser.add_argument("--steps", type=at_least(1), default=4, help="of the case sdxl (default 4)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=at_least(1), default=len(os.sched_getaffinity(0)),
                        help="default: every core")
    parser.add_argument("--limit", type=at_least(1), default=1800, metavar="S", help="seconds a process may take")
    parser.add_argument("--backlot", type=Path, default=ROOT / "build/backlot", help="default build/backlot")
    parser.add_argument("--backlot-options", type=str.split, default=[], metavar="TEXT",
                        help="more options for backlot generate, in one argument")
    parser.add_argument("--python", type=Path, help="one that has torch 2.11 and diffusers; default: .deps/ref, "
                                                    "made when it is missing")
    parser.add_argument("--peers-venv", type=Path, metavar="DIR", help="a virtual environment for the other peers "
                                                                       "(default: one each in .deps/peers)")
    parser.add_argument("--sdxl", type=Path, default=ROOT / ".deps/random-sdxl", metavar="DIR",
                        help="a full-size SDXL folder; default .deps/random-sdxl, written when it is missing")
    parser.add_argument("--cache", type=Path, default=ROOT / ".deps/peers/models", metavar="DIR",
                        help="models as peers want them; default .deps/peers/models")
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "out/peers", metavar="DIR")
    args = parser.parse_args()
    for name in ("out", "sdxl", "backlot", "cache"):
        setattr(args, name, getattr(args, name).resolve())
    args.out.mkdir(parents=True, exist_ok=True)
    # Not resolved: a virtual environment's Python is a link, and known by its place.
    args.python = args.python.absolute() if args.python else reference_python()
    args.peers_venv = args.peers_venv.absolute() if args.peers_venv else None
    return args


def main():
    # As an interruption: what runs is ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for name, suite in {"llm": llm, "video": video}.items():
        if sys.argv[1:2] == [name]:
            suite.main(sys.argv[2:])
            return
    args = parse_options()
    results = {"machine": machine(args.device), "threads": args.threads, "rounds": args.rounds,
               "load": os.getloadavg()[0], "backlot_options": args.backlot_options, "software": {}, "cases": []}
    for case in find_cases(args):
        read_once(case.model)
        try:
            reference = reference_pictures(args, case)
        except Failed as error:
            reference = str(error)
        facts = {**case_facts(case), "rows": []}
        results["cases"].append(facts)
        for dtype in args.dtypes:
            for entrant in measure_case(args, case, dtype):
                facts["rows"].append(to_row(args, entrant, reference))
                for run in entrant.runs:
                    results["software"].update(run.software)
            # After each part: a run that is stopped leaves what it has.
            (args.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
            (args.out / "table.md").write_text(table(results))
    print(table(results), end="")
    if any("reason" in row for case in results["cases"] for row in case["rows"] if row["contestant"] == "backlot"):
        sys.exit("bench: error: backlot failed; see the table")


if __name__ == "__main__":
    main()
