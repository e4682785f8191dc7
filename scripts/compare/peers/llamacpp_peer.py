"""Answers chats with llama.cpp, through llama-cpp-python, from the GGUF as it is.

Run by bench_peers.py, one process a measurement; requests and lines are those of answers.py. One at a time: the
Python package has no other way. It keeps the keys and values that a prompt shares with the one before.

    llamacpp_peer.py --try FILE.gguf      evaluates a few tokens: does this build work on this machine?
"""
import itertools
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from peers.answers import answer_singly, request  # noqa: E402
from peers.loop import emit  # noqa: E402

import llama_cpp  # noqa: E402


def load(model, threads, context, device="cpu"):
    # Flash attention is what its own programs use by default.
    return llama_cpp.Llama(str(model), n_ctx=context, n_batch=2048, n_ubatch=512, n_threads=threads,
                           n_threads_batch=threads, n_gpu_layers=0 if device == "cpu" else -1, flash_attn=True,
                           verbose=False)


def main():
    if sys.argv[1] == "--try":
        model = load(sys.argv[2], len(os.sched_getaffinity(0)), 256)
        print(list(itertools.islice(model.generate(list(range(100, 180)), temp=0.0), 4)))
        return
    work = request()
    start = time.perf_counter()
    longest = max(len(each["ids"]) + each["max_tokens"] for each in work["singles"] + work["together"])
    model = load(work["model"], work["threads"], longest + 8, work["device"])
    emit(loaded=time.perf_counter() - start)

    def generate(ids, count):
        # The end token is not looked at here.
        return itertools.islice(model.generate(ids, temp=0.0, repeat_penalty=1.0), count)

    answer_singly(work["singles"], generate)
    if work["together"]:
        emit(together="one by one", seconds=answer_singly(work["together"], generate))
    features = llama_cpp.llama_print_system_info().decode()
    on = [word.split(" = ")[0].split(":")[-1].strip() for word in features.split("|") if word.strip().endswith("= 1")]
    emit(software={"llama-cpp-python": f"{llama_cpp.__version__} ({', '.join(on)})"})


if __name__ == "__main__":
    main()
