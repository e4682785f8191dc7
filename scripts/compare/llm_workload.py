"""What every contestant of the suite llm is asked: the same chats, lengths and greedy choices.

Two lists of requests, each {id, messages, max_tokens}. `singles` are answered one at a time; no two begin alike, so
that nobody gains by keys and values of an earlier one. `together` is a file of prompts to enhance; all begin with
the same instructions and examples, as such files do, and whoever can make use of it may.
"""
import json
import random
from dataclasses import dataclass, field
from pathlib import Path

from compare.workload import COLOURS, THINGS

SYSTEM = ("You turn short ideas for pictures into rich descriptions. Answer with one paragraph of two or three "
          "sentences that says what is seen: subject, setting, light, colours, style. Nothing else.")
EXAMPLES = [
    ("a mountain", "A jagged granite peak rises above a sea of morning fog, its snowfields glowing pink in the first "
     "light. Dark firs cling to the lower slopes, and a thin waterfall catches the sun; crisp landscape photograph, "
     "deep focus, cool blue shadows."),
    ("an old book", "A leather-bound book lies open on a worn oak desk, its yellowed pages lit by a single candle. "
     "Dust drifts through the warm light, and behind it shelves fade into soft darkness; still life in the manner of "
     "the Dutch masters, rich browns and gold."),
]
PLACES = ["on a beach", "in a forest", "in the rain", "at night", "on the moon", "under water", "in a museum",
          "in the snow"]
WORDS = ("river stone garden window silver morning letter market harbour winter candle bridge orchard thunder shadow "
         "mirror valley lantern copper feather meadow island paper ocean desert village teacher story machine summer "
         "question answer colour number picture music kitchen journey mountain engine").split()
PREFILLS = [512, 2048]  # tokens of a prompt, about


def prose(words, seed):
    """Made-up sentences, each list of them another one."""
    draw = random.Random(seed)
    sentences, left = [], words
    while left > 0:
        count = min(left, draw.randint(6, 14))
        left -= count
        sentences.append(" ".join(draw.choice(WORDS) for _ in range(count)).capitalize() + ".")
    return " ".join(sentences)


def single(name, words, max_tokens, seed):
    return {"id": name, "max_tokens": max_tokens,
            "messages": [{"role": "system", "content": prose(3, seed)},
                         {"role": "user", "content": prose(words, seed + 1) + " Tell me about this."}]}


@dataclass
class Workload:
    model: Path
    device: str = "cpu"
    repeats: int = 3
    decode_tokens: int = 128
    prompts: int = 64
    new_tokens: int = 64
    singles: list = field(init=False)
    together: list = field(init=False)

    def __post_init__(self):
        self.singles = [single("warm-up", 100, 16, 1)]
        for i in range(self.repeats):
            self.singles.append(single(f"decode-{i}", 24, self.decode_tokens, 100 + 10 * i))
            # A word of these takes a little more than a token, the template some twenty.
            self.singles += [single(f"prefill-{tokens}-{i}", int(0.9 * tokens) - 22, 1, 200 + tokens + 10 * i)
                             for tokens in PREFILLS]
        shared = [{"role": "system", "content": SYSTEM}]
        for idea, answer in EXAMPLES:
            shared += [{"role": "user", "content": idea}, {"role": "assistant", "content": answer}]
        self.together = [
            {"id": f"enhance-{i}", "max_tokens": self.new_tokens,
             "messages": shared + [{"role": "user", "content": f"a {COLOURS[i % 8]} {THINGS[i // 8 % 8]} "
                                                               f"{PLACES[(i + i // 64) % 8]}"}]}
            for i in range(self.prompts)]

    def facts(self):
        return {"model": self.model.name, "device": self.device, "repeats": self.repeats,
                "decode_tokens": self.decode_tokens, "prefills": PREFILLS, "prompts": self.prompts,
                "new_tokens": self.new_tokens}


def jsonl(requests):
    """As `backlot enhance --requests` takes them: the envelope of OpenAI's batch interface."""
    return "".join(json.dumps({"custom_id": request["id"], "method": "POST", "url": "/v1/chat/completions",
                               "body": {"messages": request["messages"], "max_tokens": request["max_tokens"]}}) + "\n"
                   for request in requests)
