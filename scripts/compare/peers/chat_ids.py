"""Prints the token ids of chats, by the model's own template and tokenizer, as transformers reads them.

    chat_ids.py REQUEST.json       {"model": FILE.gguf or a folder, "chats": [[{role, content}, …], …]}

Run by bench_peers.py before anything is timed: contestants that take no chats are given these.
"""
import json
import sys
from pathlib import Path

import transformers


def main():
    work = json.loads(Path(sys.argv[1]).read_text())
    model = Path(work["model"])
    where = {"gguf_file": model.name} if model.is_file() else {}
    tokenizer = transformers.AutoTokenizer.from_pretrained(model.parent if where else model, local_files_only=True,
                                                           **where)
    print(json.dumps([tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
                      for chat in work["chats"]]))


if __name__ == "__main__":
    main()
