"""A sentencepiece Unigram learned from the captions, in the files that Wan's folders carry."""
import base64
import json

VOCABULARY = 400  # rows of the embedding: special pieces, characters, words and parts of words, a few to spare
SPECIAL = ("<pad>", "</s>", "<unk>")
LETTERS = "".join(chr(code) for code in range(33, 127))


def learn(captions, prefix):
    """prefix.model. Beside the captions' pieces it has every printable ASCII character; what else there is in a text
    becomes <unk>, since transformers' T5 tokenizer knows no fallback to bytes."""
    import sentencepiece
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(captions), model_prefix=str(prefix), model_type="unigram", vocab_size=384,
        hard_vocab_limit=False, character_coverage=1.0, required_chars=LETTERS,
        normalization_rule_name="nmt_nfkc", pad_id=0, eos_id=1, unk_id=2, bos_id=-1, pad_piece=SPECIAL[0],
        eos_piece=SPECIAL[1], unk_piece=SPECIAL[2], num_threads=1, minloglevel=1)


def fast_form(model):
    """What tokenizer.json says of a sentencepiece model, as transformers writes it for T5."""
    special = [{"id": i, "content": piece, "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False, "special": True} for i, piece in enumerate(SPECIAL)]
    space = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}
    end = {"SpecialToken": {"id": "</s>", "type_id": 0}}
    first, second = ({"Sequence": {"id": letter, "type_id": 0}} for letter in "AB")
    charsmap = base64.b64encode(model.normalizer_spec.precompiled_charsmap).decode()
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special,
        "normalizer": {"type": "Precompiled", "precompiled_charsmap": charsmap},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, space]},
        "post_processor": {"type": "TemplateProcessing", "single": [first, end], "pair": [first, end, second, end],
                           "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}},
        "decoder": space,
        "model": {"type": "Unigram", "unk_id": 2, "byte_fallback": False,
                  "vocab": [[piece.piece, piece.score] for piece in model.pieces]}}


def special(content):
    return {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
            "special": True}


def make_tokenizer(captions, folder):
    """spiece.model, tokenizer.json and their two configs."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2
    folder.mkdir(exist_ok=True)
    learn(captions, folder / "spiece")
    (folder / "spiece.vocab").unlink()
    model = sentencepiece_model_pb2.ModelProto.FromString((folder / "spiece.model").read_bytes())
    (folder / "tokenizer.json").write_text(json.dumps(fast_form(model), ensure_ascii=False, indent=1) + "\n")
    names = dict(zip(("pad_token", "eos_token", "unk_token"), SPECIAL))
    (folder / "special_tokens_map.json").write_text(json.dumps(names, indent=1) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "added_tokens_decoder": {str(i): special(piece) for i, piece in enumerate(SPECIAL)},
        "additional_special_tokens": [], "clean_up_tokenization_spaces": True, "extra_ids": 0,
        "model_max_length": 512, "tokenizer_class": "T5Tokenizer", **names}, indent=1) + "\n")
    if len(model.pieces) > VOCABULARY:
        raise SystemExit(f"the tokenizer has {len(model.pieces)} pieces, more than {VOCABULARY}")
    check_forms(sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model")), folder, captions)
    print("tokenizer:", len(model.pieces), "pieces, of them", sum(len(p.piece) > 1 for p in model.pieces) - 3,
          "longer than a letter; most in a caption:", max(map(len, load_tokenizer(folder)(captions).input_ids)))


def check_forms(slow, folder, captions):
    """Both files must say the same of any text."""
    fast = load_tokenizer(folder)
    for text in captions[:2000] + ["", "Ein Zebra, 12 Ä! \u2603 \u65e5\u672c\u8a9e", "a  red\tapple"]:
        want = slow.encode(text) + [1]
        if fast(text).input_ids != want:
            raise SystemExit(f"tokenizer.json and spiece.model disagree on {text!r}")


def load_tokenizer(folder):
    from transformers import T5TokenizerFast
    return T5TokenizerFast.from_pretrained(str(folder))
