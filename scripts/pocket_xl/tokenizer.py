"""A CLIP-style byte-pair tokenizer learned from the captions, in the classic files."""
import json

VOCABULARY = 3584  # tokens
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
FILES = ("vocab.json", "merges.txt", "special_tokens_map.json", "tokenizer_config.json")
FOLDERS = ("tokenizer", "tokenizer_2")


def bytes_to_unicode():
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(256 - len(plain))]


def learn_merges(corpus):
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(WORDS), "removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.train_from_iterator([text.lower() for text in corpus], trainers.BpeTrainer(
        vocab_size=60000, min_frequency=1, end_of_word_suffix="</w>", show_progress=False))
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [tuple(m) if not isinstance(m, str) else tuple(m.split(" ")) for m in merges]


def special(content, normalized=True):
    return {"content": content, "lstrip": False, "normalized": normalized, "rstrip": False, "single_word": False}


def write_tokenizer(folder, vocabulary, merges, pad):
    folder.mkdir(exist_ok=True)
    ids = {token: i for i, token in enumerate(vocabulary)}
    (folder / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    (folder / "special_tokens_map.json").write_text(json.dumps({
        "bos_token": special("<|startoftext|>"), "eos_token": special("<|endoftext|>", False),
        "pad_token": pad, "unk_token": special("<|endoftext|>", False)}, indent=1))
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "add_prefix_space": False, "bos_token": "<|startoftext|>", "clean_up_tokenization_spaces": True,
        "do_lower_case": True, "eos_token": "<|endoftext|>", "errors": "replace", "model_max_length": 77,
        "pad_token": pad, "tokenizer_class": "CLIPTokenizer", "unk_token": "<|endoftext|>"}, indent=1))


def make_tokenizers(corpus, work):
    """256 bytes, 256 bytes that end words, merges, then the two special tokens."""
    letters = bytes_to_unicode()
    vocabulary = letters + [c + "</w>" for c in letters]
    kept = []
    for merge in learn_merges(corpus):
        if len(vocabulary) >= VOCABULARY - 2:
            break
        if "".join(merge) not in vocabulary:
            vocabulary.append("".join(merge))
            kept.append(merge)
    while len(vocabulary) < VOCABULARY - 2:
        vocabulary.append(f"<|unused{len(vocabulary)}|>")
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    for folder, pad in zip(FOLDERS, ("<|endoftext|>", "!")):
        write_tokenizer(work / folder, vocabulary, kept, pad)
    print("tokenizer:", len(vocabulary), "tokens,", len(kept), "merges")


def load_tokenizers(args):
    from transformers import CLIPTokenizer
    return [CLIPTokenizer.from_pretrained(str(args.work / folder)) for folder in FOLDERS]
