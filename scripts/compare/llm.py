"""The suite llm of bench_peers.py: backlot enhance beside llama.cpp and transformers.

    scripts/bench_peers.py llm                          models/smollm2 on every core
    scripts/bench_peers.py llm --threads 2 --rounds 5
    scripts/bench_peers.py llm --peers transformers --model FOLDER --device cuda

The same GGUF, threads and prompts for all, greedy, the end token ignored: decode tokens a second of one answer
at a time, prefill tokens a second of prompts of about 512 and 2,048 tokens, and the seconds that 64 prompts to
enhance take (instructions and examples in common, 64 new tokens each): backlot is given them as one file;
llama.cpp answers them one by one; transformers both one by one and in batches, its weights dequantised to float32
and to bfloat16. No two of the single prompts begin alike.

Each measurement is a process of its own that loads once and warms up. Before each of a peer's comes one of
backlot's, and ratios are between neighbours. Peers get the prompts as token ids by the model's own template as
transformers reads it; an answer to another number of prompt tokens, or of another length, fails. A peer is
installed when it is asked for, into .deps/peers (llama.cpp is compiled: some ten minutes); one that can't be
installed or fails is in the table with its reason. Results: table.md and results.json in -o.
"""
import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path

from compare.contestants import Failed
from compare.environment import ROOT, Unavailable, reference_python
from compare.llm_contestants import PEER_NAMES, chat_ids, measure, precisions
from compare.llm_report import agreement, figures_of, speedups, summarise, table
from compare.llm_workload import Workload
from compare.options import at_least, machine, names, say


class Entrant:
    """A contestant in a precision: its runs, or why there are none."""

    def __init__(self, name, precision):
        self.name, self.precision = name, precision
        self.runs, self.backlot, self.reason = [], [], None

    def take(self, args, work, number, ids):
        """A Run, or None and the reason kept."""
        folder = args.out / "runs" / f"{self.name}-{self.precision}-{number}".replace(" ", "-")
        try:
            run = measure(self.name, args, work, self.precision, folder, ids)
        except (Failed, Unavailable) as error:
            self.reason = str(error)
            say(f"{self.name}, {self.precision}: {error}")
            return None
        say(f"{self.name}, {self.precision}: "
            + ", ".join(f"{name} {value:.1f}" for name, value in figures_of(run).items()))
        return run

    def row(self):
        row = {"contestant": self.name, "precision": self.precision}
        if not self.runs:
            return {**row, "reason": self.reason or "backlot itself failed"}
        row["figures"] = summarise(self.runs)
        if self.backlot:
            row["speedups"] = speedups(self.runs, self.backlot)
        if self.reason:
            row["stopped"] = self.reason
        row["notes"] = self.runs[-1].notes
        row["runs"] = [{key: value for key, value in dataclasses.asdict(run).items()
                        if key not in ("answers", "software", "notes")} for run in self.runs]
        return row


def entrants(args):
    mine = [] if args.without_backlot else [Entrant("backlot", precision) for precision in args.dtypes]
    return mine, [Entrant(name, precision) for name in args.peers for precision in precisions(name)]


def rounds(args, work, ids, mine, peers, keep):
    """Measures in turns; `keep` is called after each part."""
    for number in range(args.rounds):
        # Every other round backwards: nobody always follows the same rival.
        for peer in (peers[::-1] if number % 2 else peers) or [None]:
            if peer and peer.reason:
                continue
            before = []
            for entrant in mine:
                run = None if entrant.reason else entrant.take(args, work, number, ids)
                if run:
                    entrant.runs.append(run)
                    before.append(run)
            if mine and not before:
                return
            run = peer.take(args, work, number, ids) if peer else None
            if run:
                peer.runs.append(run)
                peer.backlot += before[:1]
            keep()


def parse_options(arguments):
    parser = argparse.ArgumentParser(prog="bench_peers.py llm", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=names(PEER_NAMES), default=PEER_NAMES,
                        help=f"of {', '.join(PEER_NAMES)}; default all; '' for none")
    parser.add_argument("--model", type=Path, default=ROOT / "models/smollm2", metavar="PATH",
                        help="a GGUF, a folder that holds one, or a transformers folder; default models/smollm2")
    parser.add_argument("--dtypes", type=lambda text: text.split(","), default=["as it is"], metavar="NAME,…",
                        help="backlot's --dtype; default: what it chooses for the file. Ratios are to the first")
    parser.add_argument("--rounds", type=at_least(1), default=3, help="processes of each contestant (default 3)")
    parser.add_argument("--repeats", type=at_least(1), default=3, help="single answers of each kind in a process")
    parser.add_argument("--prompts", type=at_least(0), default=64, help="to enhance (default 64; 0: leave that out)")
    parser.add_argument("--batch", type=at_least(1), default=16, help="of transformers (default 16)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=at_least(1), default=len(os.sched_getaffinity(0)),
                        help="default: every core")
    parser.add_argument("--limit", type=at_least(1), default=1800, metavar="S", help="seconds a process may take")
    parser.add_argument("--backlot", type=Path, default=ROOT / "build/backlot", help="default build/backlot")
    parser.add_argument("--backlot-options", type=str.split, default=[], metavar="TEXT",
                        help="more options for backlot enhance, in one argument")
    parser.add_argument("--without-backlot", action="store_true", help="measure the peers alone")
    parser.add_argument("--python", type=Path, help="one that has torch 2.11 and transformers 5.23; default: "
                                                    ".deps/ref, made when it is missing")
    parser.add_argument("--peers-venv", type=Path, metavar="DIR", help="a virtual environment for the peers "
                                                                       "(default: one each in .deps/peers)")
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "out/peers-llm", metavar="DIR")
    args = parser.parse_args(arguments)
    for name in ("out", "backlot"):
        setattr(args, name, getattr(args, name).resolve())
    args.model = find_model(args.model)
    args.out.mkdir(parents=True, exist_ok=True)
    # Not resolved: a virtual environment's Python is a link, and known by its place.
    args.python = args.python.absolute() if args.python else reference_python()
    args.peers_venv = args.peers_venv.absolute() if args.peers_venv else None
    return args


def find_model(path):
    """The GGUF itself where a folder holds one: not everyone takes the folder."""
    if not path.exists():
        mend = "'make setup' fetches it" if path == ROOT / "models/smollm2" else "name another with --model"
        sys.exit(f"bench: error: there is no model at {path}; {mend}")
    if path.is_dir() and not (path / "config.json").exists():
        files = sorted(path.glob("*.gguf"))
        if len(files) != 1:
            sys.exit(f"bench: error: {path} holds {len(files)} GGUF files; name one with --model")
        path = files[0]
    return path.resolve()


def main(arguments):
    args = parse_options(arguments)
    work = Workload(args.model, args.device, repeats=args.repeats, prompts=args.prompts)
    try:
        ids = chat_ids(args, work)
    except (Failed, Unavailable) as error:
        sys.exit(f"bench: error: {error}")
    mine, peers = entrants(args)
    lengths = [len(ids[each["id"]]) for each in work.together]
    results = {"machine": machine(args.device), "threads": args.threads, "rounds": args.rounds, "batch": args.batch,
               "load": os.getloadavg()[0], "backlot_options": args.backlot_options, "software": {},
               "work": work.facts(), "prompt_tokens": f"{min(lengths)}–{max(lengths)}" if lengths else "no",
               "rows": []}

    def keep():
        # After each part: a run that is stopped leaves what it has.
        results["rows"] = [entrant.row() for entrant in mine + peers]
        reference = next((peer.runs[0].answers for peer in peers if peer.runs and peer.name == "transformers"
                          and peer.precision == "float32"), {})
        for entrant, row in zip(mine + peers, results["rows"]):
            for run in entrant.runs:
                results["software"].update(run.software)
            if entrant.runs:
                row["agreement"] = agreement(entrant.runs[-1].answers, reference)
        (args.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
        (args.out / "table.md").write_text(table(results))

    rounds(args, work, ids, mine, peers, keep)
    keep()
    print(table(results), end="")
    if any("reason" in row for row in results["rows"] if row["contestant"] == "backlot"):
        sys.exit("bench: error: backlot failed; see the table")
