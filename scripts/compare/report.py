"""Figures of many runs, and the table of them."""
import statistics
from pathlib import Path


def spread(values):
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def summarise(runs):
    """The figures of one contestant's runs; seconds are of one picture."""
    def stage(name):
        return spread([seconds[name] for run in runs for seconds in run.stages])

    figures = {"picture": spread([value for run in runs for value in run.picture]),
               "denoise": stage("denoise"), "decode": stage("decode"), "text_encode": stage("text_encode"),
               "write": stage("write"), "first": spread([run.first for run in runs]),
               "peak_mib": spread([run.peak_mib for run in runs])}
    if runs[0].device_mib is not None:
        figures["device_mib"] = spread([run.device_mib for run in runs])
    return figures


def ratios(runs, backlot):
    """How many times backlot's seconds a peer takes: round by round, against the backlot run before it."""
    def each(value):
        return spread([value(run) / value(other) for run, other in zip(runs, backlot, strict=True)])

    def stage(name):
        return each(lambda run: statistics.median([seconds[name] for seconds in run.stages]))

    return {"picture": each(lambda run: statistics.median(run.picture)), "denoise": stage("denoise"),
            "decode": stage("decode"), "first": each(lambda run: run.first)}


def digits(value):
    return 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3


def cell(found):
    n = digits(found["median"])
    return f"{found['median']:.{n}f} ({found['least']:.{n}f}–{found['most']:.{n}f})"


def likeness(found):
    if "reason" in found:
        return found["reason"]
    if found["lowest_psnr"] is None:
        return "equal"
    text = (f"{found['lowest_psnr']:.1f} dB, at most {found['largest_difference']}/255, "
            f"{100 * found['equal_bytes']:.1f} % equal")
    if found["alike"]:
        return text
    # Other noise or much rounding: what is left to compare is how colours are spread.
    return (f"not alike ({found['lowest_psnr']:.1f} dB); means differ by {found['mean_difference']:.1f}/255, "
            f"histograms overlap by {100 * found['histogram_overlap']:.0f} %")


COLUMNS = ["", "precision", "a picture, s", "denoise (UNet), s", "decode (VAE), s", "start to first picture, s",
           "peak memory, MiB", "picture / denoise / decode ÷ backlot's", "against diffusers float32"]


def table_row(row):
    name = [row["contestant"], row["precision"]]
    if "reason" in row:
        return name + [f"not measured: {row['reason']}"] + ["–"] * (len(COLUMNS) - 3)
    figures, against = row["figures"], row.get("ratios")
    memory = cell(figures["peak_mib"])
    if "device_mib" in figures:
        memory += f"; GPU {cell(figures['device_mib'])}"
    ratio = "1"
    if against:
        ratio = " / ".join(f"{against[name]['median']:.2f}" for name in ("picture", "denoise", "decode"))
    return name + [cell(figures[name]) for name in ("picture", "denoise", "decode", "first")] + [
        memory, ratio, likeness(row["likeness"])]


def describe(case):
    guidance = f"guidance {case['guidance_scale']}" if case["guidance_scale"] > 1 else "no guidance"
    steps = "1 step" if case["steps"] == 1 else f"{case['steps']} steps"
    together = "one at a time" if case["batch"] == 1 else f"{case['batch']} at a time"
    return (f"**{case['name']}**: {Path(case['model']).name}, {case['width']}x{case['height']}, {steps}, {guidance}, "
            f"{together}, {case['device']}")


def table(results):
    """Markdown: a table for each case."""
    lines = []
    for case in results["cases"]:
        lines += [describe(case), "", "| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
        # A reason may hold anything that a program says.
        lines += ["| " + " | ".join(text.replace("|", "\\|") for text in table_row(row)) + " |"
                  for row in case["rows"]] + [""]
    software = ", ".join(f"{name} {version}" for name, version in sorted(results["software"].items()))
    lines.append(f"Medians (least–most) of {results['rounds']} rounds of a process each, its first batch left out, "
                 f"the contestants in turns with backlot; {results['threads']} threads on {results['machine']}; load "
                 f"of the machine at the start {results['load']:.1f}. {software}.")
    return "\n".join(lines) + "\n"
