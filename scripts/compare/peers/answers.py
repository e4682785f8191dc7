"""What the processes of the suite llm share: the request in, timed answers, JSON lines out.

A request is the JSON file in the first argument: model, precision, threads, device, batch, and two lists of
{id, ids, max_tokens}: `singles`, answered one at a time, and `together`. Lines out: {"loaded": SECONDS}; for each
answer {"id", "prompt_tokens", "token_ids", "seconds": {"prefill", "decode"}}, where prefill ends with the first
token; {"together": "one by one" or "batched", "seconds": of all}; {"software": {NAME: VERSION}}.
"""
import json
import sys
import time
from pathlib import Path

from peers.loop import emit


def request():
    return json.loads(Path(sys.argv[1]).read_text())


def answer_singly(requests, generate):
    """`generate` takes ids and a number of tokens and yields that many; the whole time in seconds."""
    start = time.perf_counter()
    for each in requests:
        began = time.perf_counter()
        tokens, first = [], None
        for token in generate(each["ids"], each["max_tokens"]):
            tokens.append(int(token))
            first = first or time.perf_counter()
        emit(id=each["id"], prompt_tokens=len(each["ids"]), token_ids=tokens,
             seconds={"prefill": first - began, "decode": time.perf_counter() - first})
    return time.perf_counter() - start
