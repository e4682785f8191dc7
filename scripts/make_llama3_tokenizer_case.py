#!/usr/bin/env python3
"""Makes tests/data/tokenizers/llama3 and llama3.json: a small tokenizer put together as Llama 3's.

The bytes and merges are those of tests/data/tokenizers/qwen2; pattern, ignore_merges, post-processor and
special tokens are as in Llama 3's tokenizer.json. Needs transformers 5.23. The expected ids and texts come from it.
"""
import json
from pathlib import Path

from transformers import AutoTokenizer

DATA = Path(__file__).resolve().parent.parent / "tests/data/tokenizers"
FOLDER = DATA / "llama3"
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
           r"|\s*[\r\n]+|\s+(?!\S)|\s+")
MARKS = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]


def main():
    vocabulary = json.loads((DATA / "qwen2/vocab.json").read_text())
    merges = [line for line in (DATA / "qwen2/merges.txt").read_text().split("\n") if line and "#version" not in line]
    vocabulary["Ġlighthouse"] = len(vocabulary)  # no merges lead to it: ignore_merges finds it
    vocabulary["2026"] = len(vocabulary)  # longer than what the pattern takes for a number
    first = len(vocabulary)
    added = [{"id": first + i, "content": mark, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": True} for i, mark in enumerate(MARKS)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    bos = {"SpecialToken": {"id": MARKS[0], "type_id": 0}}
    text, pair = ({"Sequence": {"id": letter, "type_id": i}} for i, letter in enumerate("AB"))
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Isolated", "invert": False}, byte_level]},
        "post_processor": {"type": "Sequence", "processors": [
            {**byte_level, "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
            {"type": "TemplateProcessing", "single": [bos, text], "pair": [bos, text, bos, pair],
             "special_tokens": {MARKS[0]: {"id": MARKS[0], "ids": [first], "tokens": [MARKS[0]]}}}]},
        "decoder": {**byte_level, "add_prefix_space": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": True,
                  "vocab": vocabulary, "merges": merges},
    }
    config = {"added_tokens_decoder": {str(t["id"]): {k: t[k] for k in t if k != "id"} for t in added},
              "bos_token": MARKS[0], "eos_token": MARKS[4], "clean_up_tokenization_spaces": False,
              "model_max_length": 131072, "tokenizer_class": "PreTrainedTokenizerFast"}
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False) + "\n")
    (FOLDER / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    (FOLDER / "generation_config.json").write_text(json.dumps({"eos_token_id": [first + 1, first + 4]}) + "\n")

    reference = AutoTokenizer.from_pretrained(FOLDER)
    strings = json.loads((DATA / "strings.json").read_text())
    strings += ["a lighthouse of 2026", "1234567 89", "I'LL it'S <|eot_id|> <|eot_id", "\n\n  \r\n\t x"]
    ids = [reference(s, add_special_tokens=False)["input_ids"] for s in strings]
    document = {"strings": strings[-4:], "ids": ids, "decoded": [reference.decode(i) for i in ids],
                "ids_special": [reference(s)["input_ids"] for s in strings[-4:]]}
    (DATA / "llama3.json").write_text(json.dumps(document, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
