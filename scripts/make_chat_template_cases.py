#!/usr/bin/env python3
"""Makes tests/data/chat_templates/cases.json: what transformers' renderer gives for templates.

Needs transformers 5.23 and jinja2 3.1.6 or later. Each case has a template, messages, variables and
either the text that comes out or the kind of error. The whole templates are written for these tests
with the constructs, the layout and the white space control of the published ones that they are named
after.
"""
import json
import os
import sys
import time
from datetime import datetime
from pathlib import Path

from transformers.utils import chat_template_utils

FOLDER = Path(__file__).resolve().parent.parent / "tests/data/chat_templates"
NOW = 1721995200  # 26 July 2024, 12:00 UTC

USER = [{"role": "user", "content": "  Write about the sea. It's 7:45. \n"}]
SYSTEM = [{"role": "system", "content": "You are a film director."}, {"role": "user", "content": "狐狸的镜头 🎬"}]
TURNS = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "<think>\nhmm\n</think>\n\nHello!"},
    {"role": "user", "content": "List\n\n\tthree <|im_end|> {{ things }}"},
]
SYSTEM_TURNS = [{"role": "system", "content": "Be brief."}] + TURNS
PARTS = [{"role": "user", "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]}]
TWICE = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
LATE = [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]
CHATS = [USER, SYSTEM, TURNS, SYSTEM_TURNS, PARTS, TWICE, LATE]

# Expressions and statements one by one. `messages` is SYSTEM_TURNS; see `VALUES` for the rest.
VALUES = {
    "name": "Ünïcode", "text": "  one two,three  ", "n": 7, "f": 2.5, "yes": True, "no": False, "nothing": None,
    "list": [3, 1, 2], "words": ["b", "A", "c", "a"], "empty": [], "nested": {"a": {"b": [10, 20]}, "z": 1},
    "rows": [{"k": "x", "v": 1}, {"k": "y", "v": 2, "on": True}, {"k": "x", "v": 3}],
    "quotes": "it's \"q\" \\ \n\t\u00e9\u200b<b>&", "deep": [[1, [2, [3]]], {"a": None, "b": [True, 1.0]}],
}


def render(template, messages, variables, add_generation_prompt):
    compiled = chat_template_utils._compile_jinja_template(template)
    return compiled.render(messages=messages, tools=None, documents=None,
                           add_generation_prompt=add_generation_prompt, **variables)


def case(name, template, messages, variables, add_generation_prompt=True):
    made = {"name": name, "template": template, "messages": messages, "variables": variables,
            "add_generation_prompt": add_generation_prompt}
    try:
        made["text"] = render(template, messages, variables, add_generation_prompt)
    except Exception as error:  # whatever the template does wrong
        made["error"] = "refused" if type(error).__name__ == "TemplateError" else "wrong"
        made["python"] = f"{type(error).__name__}: {error}"[:200]
    return made


class FixedClock:
    """In place of datetime in the renderer's module."""

    @staticmethod
    def now():
        return datetime.fromtimestamp(NOW)


def main():
    os.environ["TZ"] = "UTC"
    time.tzset()
    chat_template_utils.datetime = FixedClock
    cases = []
    for path in sorted(FOLDER.glob("*.jinja")):
        template = path.read_text()
        special = json.loads((FOLDER / "special_tokens.json").read_text())[path.stem]
        for i, chat in enumerate(CHATS):
            for add in (True, False):
                made = case(f"{path.stem}/{i}{'+' if add else ''}", template, chat, special, add)
                made["template"] = {"file": path.name}
                cases.append(made)
    for i, template in enumerate(json.loads((FOLDER / "snippets.json").read_text())):
        made = case(f"snippet/{i}", template, SYSTEM_TURNS, VALUES)
        made["messages"] = "SYSTEM_TURNS"
        made["variables"] = "VALUES"
        cases.append(made)
    document = {"now": NOW, "SYSTEM_TURNS": SYSTEM_TURNS, "VALUES": VALUES, "cases": cases}
    (FOLDER / "cases.json").write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n")
    errors = [c for c in cases if "error" in c]
    print(f"{len(cases)} cases, {len(errors)} of them errors", file=sys.stderr)
    if "-v" in sys.argv:
        for c in errors:
            print(c["name"], c["template"] if c["name"].startswith("snippet") else "", c["python"], file=sys.stderr)


if __name__ == "__main__":
    main()
