#!/usr/bin/env python3
"""Writes the Kubernetes manifest of a sharded run: an Indexed Job and a ConfigMap with its spec.

  scripts/kubernetes/render.py fruit.yaml --image REGISTRY/backlot:0.2 --shards 8 --runs-pvc backlot-runs \\
      | kubectl apply -f -

The manifest goes to standard output. job.yaml beside this file is what is filled in, with a word on
every choice. Exit codes: 0 written, 2 an argument is wrong.
"""
import argparse
import json
import pathlib
import re
import sys

TEMPLATE = pathlib.Path(__file__).with_name("job.yaml")
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?")  # room for what Jobs append to their pods' names
QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
MOST_SHARDS = 100_000  # completions of a Job with backoffLimitPerIndex
MOST_BYTES = 1_000_000  # of a ConfigMap

# What a shard is not to be told: the manifest says it, or a pod has nobody to show it to.
NOT_FOR_SHARDS = ("--shard", "--output", "-o", "--engine", "--fresh", "--tasks", "--slurm-args", "--dry-run",
                  "--metrics-port", "--metrics-address", "--progress")


class Wrong(Exception):
    """An argument is wrong; the message says which and what to do."""


def kubernetes_name(text):
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"'{text}' is no name for Kubernetes: at most 52 of a-z, 0-9 and -")
    return text


def quantity(text):
    if not QUANTITY.fullmatch(text):
        raise argparse.ArgumentTypeError(f"'{text}' is no quantity such as 4, 500m or 24Gi")
    return text


def count(least, most):
    def check(text):
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"'{text}' is no number from {least} to {most}")
        return int(text)
    return check


def label(text):
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"'{text}' is not KEY=VALUE")
    return key, value


def read_arguments(arguments):
    parser = argparse.ArgumentParser(
        prog="render.py", description=__doc__.split("\n\n", maxsplit=1)[0],
        epilog="What follows -- is passed to 'backlot fleet-run', e.g. -- --dtype float16")
    parser.add_argument("spec", type=pathlib.Path, help="the job spec; models in it stand by name (model: some-sdxl)")
    parser.add_argument("--image", required=True, help="with backlot on its PATH; Dockerfile makes one")
    parser.add_argument("--shards", required=True, type=count(1, MOST_SHARDS), help="pods that share the work")
    parser.add_argument("--runs-pvc", required=True, type=kubernetes_name,
                        help="a ReadWriteMany claim; the run folder is its folder NAME")
    parser.add_argument("--models-pvc", type=kubernetes_name,
                        help="a claim with the models (default: the folder models of --runs-pvc)")
    parser.add_argument("--name", type=kubernetes_name, help="of the Job and the run folder (default: the spec's)")
    parser.add_argument("--with", dest="files", action="append", default=[], type=pathlib.Path, metavar="FILE",
                        help="a file that the spec reads (prompts.csv), put beside it; may be repeated")
    parser.add_argument("--parallelism", type=count(1, MOST_SHARDS), help="pods at once (default: all)")
    parser.add_argument("--retries", type=count(0, 1000), default=3, help="of each shard (default: %(default)s)")
    parser.add_argument("--gpus", type=count(0, 64), default=1, help="of each pod (default: %(default)s)")
    parser.add_argument("--cpu", type=quantity, default="4", help="requested (default: %(default)s)")
    parser.add_argument("--memory", type=quantity, default="24Gi", help="requested and limit (default: %(default)s)")
    parser.add_argument("--user", type=count(1, 2**31 - 1), default=10001, help="that pods run as (default: %(default)s)")
    parser.add_argument("--node-selector", action="append", default=[], type=label, metavar="KEY=VALUE",
                        help="nodes to run on; may be repeated")
    parser.add_argument("--metrics-port", type=count(1, 65535), help="serve Prometheus metrics, with the usual annotations")
    own, more = arguments, []
    if "--" in arguments:
        at = arguments.index("--")
        own, more = arguments[:at], arguments[at + 1:]
    options = parser.parse_args(own)
    options.more = more
    return options


def check(options):
    for word in options.more:
        if word.split("=", maxsplit=1)[0] in NOT_FOR_SHARDS:
            raise Wrong(f"{word}: is not to be passed on; the manifest takes care of it")
    if options.name is None:
        name = re.sub(r"[^a-z0-9]+", "-", options.spec.stem.lower()).strip("-")[:52].strip("-")
        if not NAME.fullmatch(name):
            raise Wrong(f"{options.spec}: no name can be made of it; give one with --name")
        options.name = name
    if options.parallelism is None:
        options.parallelism = options.shards


def file_texts(options):
    """The ConfigMap's data: the spec and what it reads, by file name."""
    texts = {}
    for path in [options.spec, *options.files]:
        try:
            text = path.read_bytes().decode()
        except OSError as error:
            raise Wrong(f"{path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise Wrong(f"{path}: is not text; put it on a claim and name its path in the spec") from None
        if path.name in texts:
            raise Wrong(f"{path}: there is another file of that name")
        if not re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", path.name):
            raise Wrong(f"{path}: a ConfigMap takes names of letters, digits, -, _ and . only")
        texts[path.name] = text
    if sum(len(text.encode()) for text in texts.values()) > MOST_BYTES:
        raise Wrong("the spec and its files are more than the megabyte of a ConfigMap; put them on a claim")
    return texts


def escape_references(text):
    """Kubernetes replaces $(NAME) in arguments; $$ stands for a dollar."""
    return text.replace("$(", "$$(")


def values(options):
    resources = {"memory": options.memory} | ({"nvidia.com/gpu": str(options.gpus)} if options.gpus else {})
    arguments = [f"/spec/{options.spec.name}", f"--output=/runs/{options.name}", "--progress=plain"]
    annotations, ports = {}, []
    if options.metrics_port:
        arguments += [f"--metrics-port={options.metrics_port}", "--metrics-address=0.0.0.0"]
        ports = [{"name": "metrics", "containerPort": options.metrics_port}]
        annotations = {"prometheus.io/scrape": "true", "prometheus.io/port": str(options.metrics_port),
                       "prometheus.io/path": "/metrics"}
    arguments += options.more
    own_models = options.models_pvc is not None
    return {
        "NAME": options.name,
        "FILES": file_texts(options),
        "SHARDS": options.shards,
        "PARALLELISM": options.parallelism,
        "RETRIES": options.retries,
        "ANNOTATIONS": annotations,
        "USER": options.user,
        "NODE_SELECTOR": dict(options.node_selector),
        # Nodes with GPUs are commonly kept free of other pods by this taint.
        "TOLERATIONS": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}] if options.gpus else [],
        "IMAGE": options.image,
        "ARGUMENTS": [escape_references(each) for each in arguments],
        "PORTS": ports,
        "REQUESTS": {"cpu": options.cpu} | resources,
        "LIMITS": resources,
        "MODELS_PATH": "" if own_models else "models",
        "RUNS_CLAIM": options.runs_pvc,
        "MODELS_CLAIM": options.models_pvc if own_models else options.runs_pvc,
        "MODELS_READ_ONLY": own_models,
    }


def render(template, filled):
    """JSON is YAML: values go in as JSON, so that no text of theirs can be read as anything else."""
    def value(match):
        at_line_start = template.rfind("\n", 0, match.start()) + 1
        alone = template[at_line_start:match.end()].strip() == match[0]
        found = filled[match[1]]
        if alone:  # the items of a list, a line each
            indent = template[at_line_start:match.start()]
            return f"\n{indent}".join("- " + json.dumps(each) for each in found)
        within_text = match[1] in ("NAME", "SHARDS")
        return str(found) if within_text else json.dumps(found)

    lines = [line for line in template.splitlines(keepends=True) if not line.startswith("# ")]
    template = "".join(lines)
    return re.sub(r"@([A-Z_]+)@", value, template)


def main(arguments):
    options = read_arguments(arguments)
    try:
        check(options)
        text = render(TEMPLATE.read_text(), values(options))
    except Wrong as wrong:
        print(f"render.py: error: {wrong}", file=sys.stderr)
        return 2
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
