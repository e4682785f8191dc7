#!/usr/bin/env python3
"""Measure backlot against diffusers: the same folders, prompts, sizes, steps, precisions and threads.

    scripts/compare_diffusers.py                            everything (the full-size part takes 14 GB of memory)
    scripts/compare_diffusers.py --cases pocket             the small model alone, a few minutes
    scripts/compare_diffusers.py --contestants backlot      without the reference

The contestants take turns, so that what else the machine does hits them alike; each measurement is a
process of its own. Cases:

  pocket   models/pocket-xl, 128x128, 20 steps, guidance 3.5. Seconds a picture are the wall time of a run of
           many pictures less that of a run of one, by the pictures between; a run of one is the time from
           the start of the process to its end with the first picture written.
  sdxl     the full-size architecture with random weights (scripts/make_random_sdxl.py), 512x512, one step,
           no guidance. Seconds in the UNet are those that each reports for the pictures after the first.

Pictures are compared with the reference's float32 ones. Results: table.md and results.json in -o.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from compare.environment import ROOT, reference_python

HERE = Path(__file__).resolve().parent
PROMPTS = ["a red apple", "a cat face", "a rocket on a blue background", "emoji of a pizza", "a green apple",
           "a house on a green background", "a rainbow", "a strawberry", "a robot on an orange background"]
SEED = 7


@dataclass
class Case:
    name: str
    model: Path
    width: int
    height: int
    steps: int
    guidance_scale: float
    pictures: int  # in the long run
    short_run: bool  # also a run of one picture, for the start and the difference


@dataclass
class Run:
    """One process: its wall time, peak memory, the pictures it wrote and the seconds it reports for each."""
    wall: float
    peak_mib: float
    files: list
    seconds: list


def timed(command, environment):
    """(wall seconds, peak resident MiB, standard output) of a command that must succeed."""
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"compare: error: exit code {process.returncode} of: {' '.join(map(str, command))}")
    return wall, usage.ru_maxrss / 1024, output


def run_backlot(args, case, dtype, prompts, out):
    command = [args.backlot, "generate", "--model", case.model, "--seed", SEED, "--width", case.width,
               "--height", case.height, "--steps", case.steps, "--guidance-scale", case.guidance_scale,
               "--dtype", dtype, "--device", "cpu", "--progress", "off", "--fresh", "-o", out]
    for prompt in prompts:
        command += ["--prompt", prompt]
    wall, peak, _ = timed([str(word) for word in command], thread_environment(args.threads))
    items = sorted(json.loads((out / "manifest.json").read_text())["items"], key=lambda item: item["index"])
    return Run(wall, peak, [out / item["output"] for item in items], [item["seconds"] for item in items])


def run_diffusers(args, case, dtype, prompts, out, batch=1):
    request = {"model": str(case.model), "out": str(out), "prompts": prompts, "seed": SEED, "width": case.width,
               "height": case.height, "steps": case.steps, "guidance_scale": case.guidance_scale, "dtype": dtype,
               "threads": args.threads, "batch": batch}
    command = [str(args.python), str(HERE / "compare/reference.py"), json.dumps(request)]
    wall, peak, output = timed(command, thread_environment(args.threads))
    report = json.loads(output.splitlines()[-1])
    return Run(wall, peak, [out / f"{i:05}.png" for i in range(len(prompts))], report["pictures"])


def run_diffusers_batched(args, case, dtype, prompts, out):
    return run_diffusers(args, case, dtype, prompts, out, batch=args.batch)


CONTESTANTS = {"backlot": run_backlot, "diffusers": run_diffusers, "diffusers-batched": run_diffusers_batched}


def thread_environment(threads):
    return {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}


def read_once(folder):
    """So that nobody's first run waits for the disk."""
    for path in folder.rglob("*.safetensors"):
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 24):
                pass


def measure(args, case, dtype):
    """{contestant: {"short": [Run], "long": [Run]}}, taken in turns."""
    runs = {name: {"short": [], "long": []} for name in args.contestants}
    lengths = {"short": 1, "long": case.pictures} if case.short_run else {"long": case.pictures}
    for repeat in range(args.repeats):
        # Every other round backwards: nobody always follows the same rival.
        for name in args.contestants[::-1] if repeat % 2 else args.contestants:
            for length, count in lengths.items():
                out = args.out / "runs" / f"{case.name}-{dtype}-{name}-{length}-{repeat}"
                out.mkdir(parents=True, exist_ok=True)
                run = CONTESTANTS[name](args, case, dtype, PROMPTS[:count], out)
                runs[name][length].append(run)
                print(f"compare: {case.name} {dtype} {name}, {count} pictures: {run.wall:.2f} s, "
                      f"{run.peak_mib:.0f} MiB", file=sys.stderr, flush=True)
    return runs


def spread(values):
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def summarise(case, runs):
    """The figures of one contestant."""
    long = runs["long"]
    # The first picture of a process pays for what is set up once.
    later = [seconds for run in long for seconds in (run.seconds[1:] or run.seconds)]
    figures = {"peak_mib": spread([run.peak_mib for run in long]),
               "unet_seconds": spread([seconds["denoise"] for seconds in later]),
               "run_seconds": spread([run.wall for run in long]), "pictures": case.pictures}
    if runs["short"]:
        figures["first_seconds"] = spread([run.wall for run in runs["short"]])
        figures["picture_seconds"] = spread([(full.wall - one.wall) / (case.pictures - 1)
                                             for full, one in zip(long, runs["short"])])
    return figures


def compare_pictures(args, files, reference):
    pairs = json.dumps([[str(one), str(other)] for one, other in zip(files, reference, strict=True)])
    done = subprocess.run([str(args.python), str(HERE / "compare/pictures.py"), pairs], check=True,
                          capture_output=True, text=True)
    return json.loads(done.stdout)


def cell(figures, name, digits=2):
    if name not in figures:
        return "–"
    value = figures[name]
    return f"{value['median']:.{digits}f} ({value['least']:.{digits}f}–{value['most']:.{digits}f})"


def likeness(row):
    found = row.get("likeness")
    if not found:
        return "–"
    if found["lowest_psnr"] is None:
        return "equal"
    return (f"at most {found['largest_difference']}/255, {100 * found['equal_bytes']:.1f} % equal, "
            f"{found['lowest_psnr']:.1f} dB")


def table(results):
    lines = ["| case | precision | | start to first picture, s | a picture, s | UNet a picture, s | peak memory, MiB "
             "| against diffusers float32 |", "|---|---|---|---|---|---|---|---|"]
    for row in results["rows"]:
        figures = row["figures"]
        lines.append(f"| {row['case']} | {row['dtype']} | {row['contestant']} | {cell(figures, 'first_seconds')} | "
                     f"{cell(figures, 'picture_seconds', 3)} | {cell(figures, 'unet_seconds', 3)} | "
                     f"{cell(figures, 'peak_mib', 0)} | {likeness(row)} |")
    lines += ["", f"Medians (least–most) of {results['repeats']} rounds, {results['threads']} threads on "
              f"{results['cpu']}; load of the machine at the start {results['load']:.1f}. "
              f"diffusers-batched makes {results['batch']} pictures a call."]
    return "\n".join(lines) + "\n"


def cpu_name():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "an unnamed CPU"


def find_cases(args):
    cases = []
    if "pocket" in args.cases:
        cases.append(Case("pocket", ROOT / "models/pocket-xl", 128, 128, 20, 3.5, args.pictures, True))
    if "sdxl" in args.cases:
        if not (args.sdxl / "model_index.json").exists():
            print(f"compare: writing random weights to {args.sdxl}", file=sys.stderr, flush=True)
            subprocess.run([str(args.python), str(HERE / "make_random_sdxl.py"), str(args.sdxl)], check=True,
                           stdout=subprocess.DEVNULL)
        cases.append(Case("sdxl", args.sdxl, 512, 512, 1, 1.0, 3, False))
    return cases


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)

    def names(known):
        def parse(text):
            chosen = text.split(",")
            for name in chosen:
                if name not in known:
                    raise argparse.ArgumentTypeError(f"'{name}' is none of {', '.join(known)}")
            return chosen
        return parse

    parser.add_argument("--cases", type=names(["pocket", "sdxl"]), default=["pocket", "sdxl"])
    parser.add_argument("--dtypes", type=names(["float32", "bfloat16"]), default=["float32", "bfloat16"])
    parser.add_argument("--contestants", type=names(list(CONTESTANTS)), default=list(CONTESTANTS))
    parser.add_argument("--repeats", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--pictures", type=int, default=9, choices=range(2, len(PROMPTS) + 1), metavar="N",
                        help=f"of the small model's long run, 2 to {len(PROMPTS)} (default 9)")
    parser.add_argument("--batch", type=int, default=4, help="pictures a call of diffusers-batched (default 4)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: every core")
    parser.add_argument("--backlot", type=Path, default=ROOT / "build/backlot", help="default build/backlot")
    parser.add_argument("--python", type=Path, help="one that has torch 2.11 and diffusers; default: .deps/ref, "
                                                    "made when it is missing")
    parser.add_argument("--sdxl", type=Path, default=ROOT / ".deps/random-sdxl", metavar="DIR",
                        help="a full-size SDXL folder; default .deps/random-sdxl, written when it is missing")
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "out/compare", metavar="DIR")
    args = parser.parse_args()
    args.out, args.sdxl, args.backlot = args.out.resolve(), args.sdxl.resolve(), args.backlot.resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    # Float32 pictures are the measure of the others.
    args.dtypes.sort(key=lambda name: name != "float32")
    # Not resolved: a virtual environment's Python is a link, and known by its place.
    args.python = args.python.absolute() if args.python else reference_python()
    return args


def main():
    args = parse_options()
    results = {"cpu": cpu_name(), "threads": args.threads, "repeats": args.repeats, "batch": args.batch,
               "load": os.getloadavg()[0], "rows": []}
    for case in find_cases(args):
        read_once(case.model)
        reference = None
        for dtype in args.dtypes:
            runs = measure(args, case, dtype)
            if dtype == "float32" and "diffusers" in runs:
                reference = runs["diffusers"]["long"][0].files
            for name in args.contestants:
                row = {"case": case.name, "dtype": dtype, "contestant": name,
                       "figures": summarise(case, runs[name])}
                files = runs[name]["long"][0].files
                if reference and files != reference:
                    row["likeness"] = compare_pictures(args, files, reference)
                results["rows"].append(row)
            # After each part: a run that is stopped leaves what it has.
            (args.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
            (args.out / "table.md").write_text(table(results))
    print(table(results), end="")


if __name__ == "__main__":
    main()
