"""Answers chats with transformers; a GGUF's weights are dequantised, as transformers does with them.

Run by bench_peers.py, one process a measurement; requests and lines are those of answers.py. The loop is a bare
one around the model's forward pass with its cache: faster than generate(), which does more for each token.
"""
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from peers.answers import answer_singly, request  # noqa: E402
from peers.loop import emit  # noqa: E402

import torch  # noqa: E402
import transformers  # noqa: E402

WORK = request()


def load():
    model = Path(WORK["model"])
    where = {"gguf_file": model.name} if model.is_file() else {}
    network = transformers.AutoModelForCausalLM.from_pretrained(
        model.parent if where else model, dtype=getattr(torch, WORK["precision"]), local_files_only=True, **where)
    return network.to(WORK["device"]).eval()


def steps(model, ids, mask, count):
    """Yields the next tokens of all rows, `count` times."""
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    cache = transformers.DynamicCache(config=model.config)
    for i in range(count):
        # A mask that hides nothing is left away: the plain causal kernel is the faster one.
        output = model(ids, attention_mask=None if mask.all() else mask, position_ids=positions, past_key_values=cache,
                       use_cache=True, logits_to_keep=1)
        ids = output.logits[:, -1].argmax(-1, keepdim=True)
        yield ids[:, 0].tolist()
        if i + 1 < count:
            positions = positions[:, -1:] + 1
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)


def answer_batch(model, requests):
    longest = max(len(each["ids"]) for each in requests)
    pads = [longest - len(each["ids"]) for each in requests]
    ids = torch.tensor([[0] * pad + each["ids"] for pad, each in zip(pads, requests)], device=WORK["device"])
    mask = torch.tensor([[0] * pad + [1] * (longest - pad) for pad in pads], device=WORK["device"])
    for _ in steps(model, ids, mask, requests[0]["max_tokens"]):
        pass


@torch.inference_mode()
def main():
    torch.set_num_threads(WORK["threads"])
    transformers.logging.set_verbosity_error()
    start = time.perf_counter()
    model = load()
    emit(loaded=time.perf_counter() - start)

    def generate(ids, count):
        one = torch.tensor([ids], device=WORK["device"])
        return (row[0] for row in steps(model, one, torch.ones_like(one), count))

    answer_singly(WORK["singles"], generate)
    if WORK["together"]:
        emit(together="one by one", seconds=answer_singly(WORK["together"], generate))
        start = time.perf_counter()
        for first in range(0, len(WORK["together"]), WORK["batch"]):
            answer_batch(model, WORK["together"][first:first + WORK["batch"]])
        emit(together="batched", seconds=time.perf_counter() - start)
    emit(software={"torch": torch.__version__, "transformers": transformers.__version__})


if __name__ == "__main__":
    main()
