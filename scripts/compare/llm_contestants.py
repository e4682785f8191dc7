"""Runs one measurement of one contestant of the suite llm."""
import json
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from compare.contestants import PEERS, Failed, environment, reason, timed
from compare.environment import ROOT, Unavailable, peer_python
from compare.llm_workload import PREFILLS, jsonl


PARTS = ["wait", "prefill", "decode"]  # of an answer's seconds, from its submission to its last token


@dataclass
class Run:
    """Tokens a second of each measured answer, seconds of all prompts together."""
    decode: list
    prefill: dict  # by the prompt's tokens, about
    together: dict  # "one by one" or "batched": seconds
    peak_mib: float
    answers: dict  # the token ids of each of the prompts that were enhanced
    notes: list = field(default_factory=list)
    software: dict = field(default_factory=dict)


def json_lines(output):
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def checked(lines, requests, ids):
    """The answers by their ids. Throws Failed where a contestant did not do the work that it was given."""
    found = {line["id"]: line for line in lines if "id" in line}
    for request in requests:
        line = found.get(request["id"])
        if line is None:
            raise Failed(f"gave no answer to {request['id']}")
        if len(line["token_ids"]) != request["max_tokens"]:
            raise Failed(f"answered {request['id']} with {len(line['token_ids'])} tokens of {request['max_tokens']}")
        if ids and line["prompt_tokens"] != len(ids[request["id"]]):
            raise Failed(f"read {request['id']} as {line['prompt_tokens']} tokens, transformers as "
                         f"{len(ids[request['id']])}")
    return found


def to_run(work, singles, together, totals, peak, **more):
    decode, prefill = [], {tokens: [] for tokens in PREFILLS}
    for name, line in singles.items():
        if name.startswith("decode-"):
            # The first token came with the prompt.
            decode.append((len(line["token_ids"]) - 1) / line["seconds"]["decode"])
        elif name.startswith("prefill-"):
            prefill[int(name.split("-")[1])].append(line["prompt_tokens"] / line["seconds"]["prefill"])
    answers = {request["id"]: together[request["id"]]["token_ids"] for request in work.together}
    return Run(decode=decode, prefill=prefill, together=totals, peak_mib=peak, answers=answers, **more)


def run_backlot(args, work, precision, out, ids):
    """Two processes: one answers a request at a time, one is given the whole file."""
    def enhance(name, requests, *options):
        file = out / f"{name}.jsonl"
        file.write_text(jsonl(requests))
        choice = [] if precision == "as it is" else ["--dtype", precision]
        _, peak, _, output = timed(
            [args.backlot, "enhance", "--model", work.model, "--requests", file, "--ignore-eos", "--temperature", 0,
             "--threads", args.threads, "--device", work.device, "--json", *choice, *options, *args.backlot_options],
            args, work)
        return peak, json_lines(output)

    _, lines = enhance("singles", work.singles, "--max-sequences", 1)
    singles = checked(lines, work.singles, ids)
    if not work.together:
        return to_run(work, singles, {}, {}, 0.0)
    peak, lines = enhance("together", work.together)
    together = checked(lines, work.together, ids)
    # All were submitted at once, after loading and tokenising, which the peers are spared as well.
    return to_run(work, singles, together, {"batched": max(sum(line["seconds"][part] for part in PARTS)
                                                           for line in together.values())}, peak)


def run_process(script, python, args, work, out, ids, **request):
    def with_ids(requests):
        return [{"id": each["id"], "ids": ids[each["id"]], "max_tokens": each["max_tokens"]} for each in requests]

    file = out / "request.json"
    file.write_text(json.dumps({"model": str(work.model), "threads": args.threads, "device": work.device,
                                "batch": args.batch, "singles": with_ids(work.singles),
                                "together": with_ids(work.together), **request}))
    _, peak, _, output = timed([python, PEERS / script, file], args, work)
    lines = json_lines(output)
    answers = checked(lines, work.singles + work.together, ids)
    return to_run(work, {each["id"]: answers[each["id"]] for each in work.singles}, answers,
                  {line["together"]: line["seconds"] for line in lines if "together" in line}, peak,
                  software=next(line["software"] for line in lines if "software" in line))


def has_amx():
    return " amx_int8" in Path("/proc/cpuinfo").read_text()


def llamacpp_python(args, work):
    """(a Python whose llama.cpp works here, notes). Throws Unavailable."""
    def tried(python):
        return subprocess.run([python, PEERS / "llamacpp_peer.py", "--try", work.model], capture_output=True,
                              text=True, errors="replace", env=environment(args.threads))

    python = peer_python("llama.cpp", args.python, work.device, args.peers_venv)
    done = tried(python)
    if done.returncode >= 0 or not has_amx():
        if done.returncode:
            raise Unavailable("it can't evaluate a token here: " + reason(done.returncode, done.stderr))
        return python, []
    # Some versions' AMX path crashes at the first evaluation.
    python = peer_python("llama.cpp-no-amx", args.python, work.device)
    if done := tried(python).returncode:
        raise Unavailable(f"it crashes here with AMX (signal {-done.returncode}), and without it as well")
    return python, ["built without AMX, with which it crashes at the first evaluation"]


def run_llamacpp(args, work, precision, out, ids):
    if work.model.suffix != ".gguf":
        raise Unavailable("it reads GGUF files alone")
    python, notes = llamacpp_python(args, work)
    run = run_process("llamacpp_peer.py", python, args, work, out, ids)
    run.notes = notes
    return run


def transformers_python(args):
    return peer_python("transformers", args.python, "cpu", args.peers_venv)


def run_transformers(args, work, precision, out, ids):
    return run_process("transformers_peer.py", transformers_python(args), args, work, out, ids, precision=precision)


def chat_ids(args, work):
    """The token ids of every request, by its id. Throws Failed or Unavailable."""
    requests = work.singles + work.together
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "request.json"
        file.write_text(json.dumps({"model": str(work.model), "chats": [each["messages"] for each in requests]}))
        done = subprocess.run([transformers_python(args), PEERS / "chat_ids.py", file], capture_output=True, text=True,
                              cwd=ROOT, env=environment(args.threads))
    if done.returncode:
        raise Failed("transformers can't read its tokenizer: " + reason(done.returncode, done.stderr))
    found = json.loads(done.stdout.splitlines()[-1])
    return {each["id"]: ids for each, ids in zip(requests, found, strict=True)}


RUNS = {"backlot": run_backlot, "llama.cpp": run_llamacpp, "transformers": run_transformers}
PEER_NAMES = [name for name in RUNS if name != "backlot"]


def precisions(peer):
    return ["float32", "bfloat16"] if peer == "transformers" else ["as it is"]


def measure(peer, args, work, precision, out, ids):
    """One Run. Throws Failed or Unavailable."""
    out.mkdir(parents=True, exist_ok=True)
    return RUNS[peer](args, work, precision, out, ids)
