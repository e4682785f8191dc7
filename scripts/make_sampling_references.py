#!/usr/bin/env python3
"""Makes tests/data/sampling/transformers.json: what transformers' own processors, in the order in
which generate() puts them, leave of some logits. Needs torch and transformers 5:

  python3 scripts/make_sampling_references.py
"""

import json
from pathlib import Path

import torch
import transformers
from transformers.generation.logits_process import (
    LogitsProcessorList, MinPLogitsWarper, RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper,
    TopKLogitsWarper, TopPLogitsWarper)

OUT = Path(__file__).resolve().parent.parent / "tests/data/sampling/transformers.json"


def processors(job: dict) -> LogitsProcessorList:
    """As GenerationMixin._get_logits_processor: a processor is left out where it would do nothing."""
    chain = LogitsProcessorList()
    if job["repetition_penalty"] != 1.0:
        chain.append(RepetitionPenaltyLogitsProcessor(job["repetition_penalty"]))
    if job["temperature"] != 1.0:
        chain.append(TemperatureLogitsWarper(job["temperature"]))
    if job["top_k"] != 0:
        chain.append(TopKLogitsWarper(job["top_k"]))
    if job["top_p"] < 1.0:
        chain.append(TopPLogitsWarper(job["top_p"]))
    if job["min_p"] > 0.0:
        chain.append(MinPLogitsWarper(job["min_p"]))
    return chain


def main() -> None:
    random = torch.Generator().manual_seed(6)

    def pick(values: list):
        return values[int(torch.randint(len(values), (1,), generator=random))]

    cases = []
    for i in range(80):
        size = pick([5, 40, 60])
        job = {"temperature": pick([0.3, 0.7, 1.0, 1.0, 1.9]), "top_k": pick([0, 0, 1, 4, 20, 50]),
               "top_p": pick([1.0, 1.0, 0.0, 0.3, 0.8, 0.95, 0.999]),
               "min_p": pick([0.0, 0.0, 0.02, 0.1, 0.5, 1.0]),
               "repetition_penalty": pick([1.0, 1.0, 0.8, 1.1, 1.7])}
        logits = (torch.randn(size, generator=random) * pick([1.0, 3.0, 8.0])).to(torch.float32)
        if job["top_p"] == 1.0:
            logits = logits.round(decimals=pick([0, 1, 4]))  # equal ones, whose order top-p leaves open
        if i % 10 == 9:
            logits[int(torch.randint(size, (1,), generator=random))] = -float("inf")
        history = torch.randint(size, (pick([1, 7, 30]),), generator=random)
        scores = processors(job)(history[None], logits[None].clone())[0]
        kept = torch.nonzero(scores > -float("inf")).flatten().tolist()
        probabilities = torch.softmax(scores, dim=-1)
        cases.append({**job, "logits": [None if x == -float("inf") else x for x in logits.tolist()],
                      "history": history.tolist(), "kept": kept,
                      "probabilities": [probabilities[k].item() for k in kept]})
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(f'{{"transformers":"{transformers.__version__}","cases":[\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
