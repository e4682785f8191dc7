#!/usr/bin/env python3
"""Makes references for language models with transformers 5.23 and torch 2.11, in float32 on one thread.

    scripts/make_language_references.py tiny                    tests/data/oracles/lm-*
    scripts/make_language_references.py gguf models/smollm2/*.gguf -o tests/data/oracles/lm-smollm2-pictures/case.json

`tiny`: small models with random weights, each with a kind of RoPE scaling, biases or head of its own. Prompts are
token ids, as there is no tokenizer. Weights are written in bfloat16 and computed in float32. A seed is taken
under which no greedy choice is near a tie and every feature that a case is about changes the logits.

`gguf`: what a real model answers greedily, its weights dequantised to float32; needs the package gguf as well.
--chats takes a list of chats, each a list of {role, content}; without it, prompts for pictures are enhanced.
"""
import argparse
import hashlib
import json
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

ORACLES = Path(__file__).resolve().parent.parent / "tests/data/oracles"
LEAST_MARGIN = 5e-3  # between the two largest logits of every greedy step
LEAST_EFFECT = 0.05  # on the logits of the longest prompt, of what a case is about
PROMPT_LENGTHS = [1, 7, 40, 150]
NEW_TOKENS = 24

SIZES = {"vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_act": "silu", "max_position_embeddings": 512,
         "rms_norm_eps": 1e-5, "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": True}
LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **SIZES, "rope_theta": 10000.0,
         "attention_bias": False, "mlp_bias": False}
QWEN2 = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", **SIZES, "rope_theta": 1000000.0,
         "use_sliding_window": False, "sliding_window": None, "max_window_layers": 28}

# Of each: the configuration as its config.json has it, what to leave out of it to see an effect, and notes.
CASES = {
    "lm-llama3-scaled": (
        LLAMA | {"head_dim": 16, "rope_scaling": {
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 128}},
        ["rope_scaling"], ["two frequencies are kept, one lies between, five are divided by the factor",
                           "head_dim is not hidden_size / num_attention_heads", "tied output head"]),
    "lm-llama-bias-untied": (
        LLAMA | {"num_key_value_heads": 1, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": False},
        [], ["biases on q, k, v and o, and in the MLP", "output head of its own", "one key-value head",
             "no head_dim in config.json"]),
    "lm-linear-scaled": (
        {key: value for key, value in LLAMA.items() if key != "rope_theta"} | {"head_dim": 12, "rope_parameters": {
            "rope_type": "linear", "factor": 2.5, "rope_theta": 500.0}},
        ["rope_parameters"], ["rope_parameters, as transformers 5 writes them",
                              "head_dim is not hidden_size / num_attention_heads"]),
    "lm-linear-old": (
        LLAMA | {"num_key_value_heads": 4, "rope_scaling": {"type": "linear", "factor": 4.0}},
        ["rope_scaling"], ["the old key 'type'", "as many key-value heads as heads"]),
    "lm-qwen2-yarn": (
        QWEN2 | {"head_dim": 16, "rope_scaling": {
            "type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}},
        ["rope_scaling"], ["the old key 'type'", "biases on q, k and v alone",
                           "cosines and sines are multiplied by 0.1 ln(factor) + 1"]),
    "lm-llama-yarn-factors": (
        LLAMA | {"head_dim": 16, "tie_word_embeddings": False, "rope_scaling": {
            "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 8.0,
            "beta_slow": 2.0, "attention_factor": 1.25}},
        ["rope_scaling"], ["beta_fast, beta_slow and attention_factor given", "output head of its own"]),
    "lm-llama-dynamic": (
        LLAMA | {"head_dim": 16, "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}},
        [], ["dynamic scaling changes nothing up to max_position_embeddings, and backlot's sequences end there"]),
}


def load(config, weights):
    """A model of config.json's text with these weights, as transformers would load the folder."""
    kind = {"llama": transformers.LlamaConfig, "qwen2": transformers.Qwen2Config}[config["model_type"]]
    model = transformers.AutoModelForCausalLM.from_config(kind.from_dict(config), attn_implementation="eager",
                                                          dtype=torch.float32)
    if weights is not None:
        missing = model.load_state_dict(weights, strict=False)
        assert not missing.unexpected_keys and set(missing.missing_keys) <= {"lm_head.weight"}, missing
        model.tie_weights()
    return model.eval()


def random_weights(config, seed):
    """Of the spread that makes attention choose and logits differ; each exact in bfloat16."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, value in load(config, None).state_dict().items():
        if name == "lm_head.weight" and config["tie_word_embeddings"]:
            continue
        drawn = torch.randn(value.shape, generator=generator)
        if name.endswith("norm.weight"):
            drawn = 1 + 0.3 * drawn
        elif name.endswith("bias"):
            drawn = 0.5 * drawn
        elif "embed_tokens" not in name:
            # Tied embeddings would repeat the last token if the layers added little to it.
            scale = 2.0 if "q_proj" in name or "k_proj" in name else 4.0 if "o_proj" in name or "down" in name else 1.3
            drawn = drawn * scale / value.shape[1] ** 0.5
        weights[name] = drawn.bfloat16().float()
    return weights


@torch.no_grad()
def greedy(model, ids, count):
    """The chosen ids, the logits of every choice, and the first pass's output."""
    first = output = model(ids, use_cache=True, output_hidden_states=True)
    chosen, steps = [], []
    for _ in range(count):
        steps.append(output.logits[:, -1])
        chosen.append(steps[-1].argmax(-1))
        output = model(chosen[-1][:, None], past_key_values=output.past_key_values, use_cache=True)
    return torch.stack(chosen, 1), torch.stack(steps, 1), first


def margin(steps):
    best = steps.topk(2).values
    return float((best[..., 0] - best[..., 1]).min())


def other_math(model, ids, count):
    """The same in another correct order of operations."""
    model.set_attn_implementation("sdpa")
    flags = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = False
    try:
        return greedy(model, ids, count)
    finally:
        torch.backends.mkldnn.enabled = flags
        model.set_attn_implementation("eager")


def draw_prompts(config, seed):
    generator = torch.Generator().manual_seed(1000 + seed)
    return [torch.randint(3, config["vocab_size"], (1, length), generator=generator) for length in PROMPT_LENGTHS]


def effects(config, parts, weights, prompt, logits):
    """How much the longest prompt's last logits change without each of `parts`."""
    changes = {}
    for part in parts:
        rest = {key: value for key, value in config.items() if key != part}
        rest.setdefault("rope_theta", config.get("rope_parameters", config).get("rope_theta"))
        changes[part] = float((greedy(load(rest, weights), prompt, 1)[1][:, 0] - logits).abs().max())
    if config.get("attention_bias") or config["model_type"] == "qwen2":
        for bias in [name for name in ("q_proj.bias", "v_proj.bias", "o_proj.bias", "down_proj.bias")
                     if any(key.endswith(name) for key in weights)]:
            rest = {key: torch.zeros_like(value) if key.endswith(bias) else value for key, value in weights.items()}
            changes[bias] = float((greedy(load(config, rest), prompt, 1)[1][:, 0] - logits).abs().max())
    return changes


def try_seed(config, parts, seed):
    """(weights, tensors, margins, drift, effects), or None where the seed gives a poor test."""
    weights = random_weights(config, seed)
    model = load(config, weights)
    tensors, margins, drift = {}, {}, {}
    for i, ids in enumerate(draw_prompts(config, seed)):
        chosen, steps, first = greedy(model, ids, NEW_TOKENS)
        margins[f"p{i}"] = margin(steps)
        # A loop of few tokens would show little.
        if margins[f"p{i}"] < LEAST_MARGIN or len(set(chosen[0].tolist())) < NEW_TOKENS // 3:
            return None
        top = steps.topk(8)
        tensors |= {f"p{i}.input_ids": ids, f"p{i}.logits_last": first.logits[:, -1], f"p{i}.generated": chosen,
                    f"p{i}.step_logits_top8": top.values, f"p{i}.step_logits_top8_ids": top.indices}
        again, other_steps, other_first = other_math(model, ids, NEW_TOKENS)
        if not torch.equal(again, chosen):
            return None
        drift[f"p{i}.logits_last"] = float((other_first.logits[:, -1] - first.logits[:, -1]).abs().max())
        drift[f"p{i}.step_logits_top8"] = float((other_steps.gather(-1, top.indices) - top.values).abs().max())
        if i == 1:
            tensors["p1.logits"] = first.logits
            drift["p1.logits"] = float((other_first.logits - first.logits).abs().max())
            for layer, (one, other) in enumerate(zip(first.hidden_states, other_first.hidden_states)):
                tensors[f"p1.hidden_{layer}"] = one
                drift[f"p1.hidden_{layer}"] = float((one - other).abs().max())
    changes = effects(config, parts, weights, ids, tensors[f"p{i}.logits_last"])
    if any(change < LEAST_EFFECT for change in changes.values()):
        return None
    return weights, tensors, margins, drift, changes


def write_case(name, config, notes, seed, found):
    weights, tensors, margins, drift, changes = found
    folder = ORACLES / name
    for part in ("model", "expected"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "model/config.json").write_text(json.dumps(config | {"torch_dtype": "bfloat16"}, indent=1) + "\n")
    save_file({key: value.bfloat16() for key, value in weights.items()}, folder / "model/model.safetensors",
              metadata={"format": "pt"})
    save_file({key: value.clone(memory_format=torch.contiguous_format) for key, value in tensors.items()},
              folder / "expected/tensors.safetensors")
    tolerance = {key: round(max(1e-5 * float(tensors[key].abs().max()), 20 * value), 7)
                 for key, value in drift.items()}
    case = {"name": name, "kind": "llm-ids", "model": "model",
            "job": {"max_new_tokens": NEW_TOKENS, "decoding": "greedy", "eos": f"ignored: always {NEW_TOKENS} tokens"},
            "notes": ["prompts are token ids (pN.input_ids): there is no tokenizer",
                      "weights are stored in bfloat16, which they are exact in, and computed in float32", *notes],
            "reference": {"torch": torch.__version__, "transformers": transformers.__version__, "dtype": "float32",
                          "device": "cpu", "threads": 1, "seed": seed},
            "expected": {"images": [], "tensors": "tensors.safetensors",
                         "keys": {key: {"shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
                                  for key, value in tensors.items()}},
            "tolerance": {"tensor_max_abs": tolerance}, "determinism": {"other_math_max_abs": drift},
            "effect_on_logits_of_leaving_out": changes, "min_top1_top2_margin": margins}
    (folder / "case.json").write_text(json.dumps(case, indent=1) + "\n")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{name}: seed {seed}, least margin {min(margins.values()):.4f}, largest drift {max(drift.values()):.2g}, "
          f"effects {changes}, {size / 1024:.0f} KiB")


def make_tiny(args):
    for name, (config, parts, notes) in CASES.items():
        if args.only and name not in args.only:
            continue
        for seed in range(1000):
            found = try_seed(config, parts, seed)
            if found:
                write_case(name, config, notes, seed, found)
                break
        else:
            raise SystemExit(f"{name}: no seed gives a fair test")


SYSTEM = ("You turn short ideas for pictures into rich descriptions. Answer with one paragraph of two or three "
          "sentences that says what is seen: subject, setting, light, colours, style. Nothing else.")
IDEAS = ["a red apple", "a cat on a windowsill", "a lighthouse in a storm", "an old fisherman", "a city at night",
         "a fox in the snow", "a bowl of ramen", "a robot gardener", "a castle in the clouds", "a child flying a kite",
         "a rainy street in Paris", "a tiger in the jungle", "a cup of coffee", "a spaceship landing",
         "a wooden cabin by a lake", "a field of sunflowers", "a knight in armour", "a market in Marrakesh",
         "an owl at dusk", "a dancer in motion"]


def picture_chats():
    return [[{"role": "system", "content": SYSTEM}, {"role": "user", "content": idea}] for idea in IDEAS]


def answer(model, tokenizer, messages, count):
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=False)
    chosen, steps, _ = greedy(model, ids, count)
    ends = {tokenizer.eos_token_id}
    tokens = chosen[0].tolist()
    stop = next((i for i, token in enumerate(tokens) if token in ends), None)
    tokens = tokens if stop is None else tokens[:stop + 1]
    top = steps[0, 0].topk(5)
    return {"messages": messages, "rendered": tokenizer.decode(ids[0]), "input_ids": ids[0].tolist(),
            "text": tokenizer.decode(tokens, skip_special_tokens=True), "generated": tokens,
            "top5": [[int(i), float(v)] for i, v in zip(top.indices, top.values)],
            "min_margin": margin(steps[:, :len(tokens)]), "stopped_at_eos": stop is not None}


def make_gguf(args):
    folder, file = args.file.resolve().parent, args.file.name
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.tokenizer or folder,
                                                           **({} if args.tokenizer else {"gguf_file": file}))
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32,
                                                              attn_implementation="eager").eval()
    chats = json.loads(args.chats.read_text()) if args.chats else picture_chats()
    answers = []
    for messages in chats:
        answers.append(answer(model, tokenizer, messages, args.max_tokens))
        print(f"{messages[-1]['content']}\n    {answers[-1]['text']}  [margin {answers[-1]['min_margin']:.4f}]",
              flush=True)
    digest = hashlib.sha256(args.file.read_bytes()).hexdigest()
    record = {"kind": "llm-gguf", "model": file, "file_sha256": digest,
              "reference": {"torch": torch.__version__, "transformers": transformers.__version__,
                            "dtype": "float32", "device": "cpu", "threads": torch.get_num_threads()},
              "max_new_tokens": args.max_tokens, "prompts": answers}
    args.out.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = parser.add_subparsers(required=True)
    tiny = modes.add_parser("tiny")
    tiny.add_argument("--only", nargs="+", choices=list(CASES), metavar="CASE")
    tiny.set_defaults(make=make_tiny)
    gguf = modes.add_parser("gguf")
    gguf.add_argument("file", type=Path)
    gguf.add_argument("--chats", type=Path)
    gguf.add_argument("--tokenizer", type=Path, help="a folder with tokenizer.json; default: the GGUF's own")
    gguf.add_argument("--max-tokens", type=int, default=64)
    gguf.add_argument("-o", "--out", type=Path, required=True)
    gguf.set_defaults(make=make_gguf)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.make(args)


if __name__ == "__main__":
    main()
