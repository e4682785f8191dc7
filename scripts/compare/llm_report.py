"""Figures of many runs of the suite llm, and the table of them."""
import statistics

from compare.llm_workload import PREFILLS
from compare.report import cell, spread


def figures_of(run):
    """One run's medians by name; "seconds" where less is better."""
    found = {"decode": statistics.median(run.decode)}
    found |= {f"prefill {tokens}": statistics.median(run.prefill[tokens]) for tokens in PREFILLS}
    return found | {f"{how}, seconds": seconds for how, seconds in run.together.items()}


def summarise(runs):
    """Every measured value counts, not a run's median alone."""
    figures = {"decode": spread([value for run in runs for value in run.decode]),
               "peak_mib": spread([run.peak_mib for run in runs])}
    for tokens in PREFILLS:
        figures[f"prefill {tokens}"] = spread([value for run in runs for value in run.prefill[tokens]])
    for how in runs[0].together:
        figures[f"{how}, seconds"] = spread([run.together[how] for run in runs])
    return figures


def speedups(runs, backlot):
    """How many times as fast backlot is, round by round, against its own run just before.

    backlot's answer to many prompts is its batched one, whichever way the peer went about it.
    """
    ratios = {}
    for run, other in zip(runs, backlot, strict=True):
        theirs, mine = figures_of(run), figures_of(other)
        for name, value in theirs.items():
            if not name.endswith("seconds"):
                ratios.setdefault(name, []).append(mine[name] / value)
            elif "batched, seconds" in mine:
                ratios.setdefault(name, []).append(value / mine["batched, seconds"])
    return {name: spread(values) for name, values in ratios.items()}


def agreement(answers, reference):
    """How many tokens of each answer are the reference's before the first that is not."""
    def same(one, other):
        return next((i for i, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))

    counts = {name: same(answers[name], tokens) for name, tokens in reference.items() if name in answers}
    if not counts:
        return None
    whole = sum(count == len(reference[name]) for name, count in counts.items())
    return {"tokens": spread(list(counts.values())), "whole": whole, "answers": len(counts)}


NAMES = ["decode", *(f"prefill {tokens}" for tokens in PREFILLS), "one by one, seconds", "batched, seconds"]


def columns(work):
    return ["", "weights", "decode, tokens/s", *(f"prefill of about {tokens}, tokens/s" for tokens in PREFILLS),
            f"{work['prompts']} prompts one by one, s", f"{work['prompts']} prompts batched, s", "peak memory, MiB",
            "backlot is so many times as fast", "tokens as transformers float32 chose them"]


def table_row(row, width):
    name = [row["contestant"], row["precision"]]
    if "reason" in row:
        return name + [f"not measured: {row['reason']}"] + ["–"] * (width - 3)
    figures, against = row["figures"], row.get("speedups")
    ratio = "1" if row["contestant"] == "backlot" else "–"
    if against:
        ratio = " / ".join(f"{against[name]['median']:.2f}" if name in against else "–" for name in NAMES)
    found = row.get("agreement")
    agreed = "–"
    if found:
        agreed = (f"{found['tokens']['median']:.0f} ({found['tokens']['least']}–{found['tokens']['most']}); "
                  f"{found['whole']} of {found['answers']} answers whole")
    cells = [cell(figures[name]) if name in figures else "–" for name in NAMES + ["peak_mib"]]
    return name + cells + [ratio, agreed]


def table(results):
    """Markdown."""
    work = results["work"]
    heads = columns(work)
    lines = [f"**llm**: {work['model']}, {work['device']}, greedy; decode {work['decode_tokens']} tokens at batch 1; "
             f"{work['prompts']} prompts of {results['prompt_tokens']} tokens, {work['new_tokens']} new ones each", "",
             "| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    # A reason may hold anything that a program says.
    lines += ["| " + " | ".join(text.replace("|", "\\|") for text in table_row(row, len(heads))) + " |"
              for row in results["rows"]]
    software = ", ".join(f"{name} {version}" for name, version in sorted(results["software"].items()))
    notes = "".join(f" {row['contestant']} ({row['precision']}): {note}." for row in results["rows"]
                    for note in row.get("notes", []))
    stopped = "".join(f" {row['contestant']} ({row['precision']}) stopped early: {row['stopped']}."
                      for row in results["rows"] if "stopped" in row)
    lines += ["", "How many times as fast: decode / " + " / ".join(NAMES[1:-2]) + " / all prompts, the peer one by "
              "one / the peer batched; backlot batched in both.",
              f"Medians (least–most) of {results['rounds']} rounds of a process each, after a warm-up, the "
              f"contestants in turns with backlot; {results['threads']} threads on {results['machine']}; load of the machine at "
              f"the start {results['load']:.1f}. transformers batched {results['batch']} at a time. {software}."
              f"{notes}{stopped}"]
    return "\n".join(lines) + "\n"
