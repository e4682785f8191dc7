"""The suite llm of scripts/bench_peers.py with a made-up backlot: python3 alone runs this."""
import json
import stat
import sys
import tempfile
import types
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "scripts"))
from compare import contestants, llm_contestants, llm_report, llm_workload  # noqa: E402

# Answers every request, the last one first: ten tokens of prompt, prefill in 0.5 s, 0.25 s a token after the first;
# of many, each had to wait a second longer than the one before.
FAKE = """#!/usr/bin/env python3
import json, sys
from pathlib import Path
def option(name):
    return sys.argv[sys.argv.index(name) + 1]
assert sys.argv[1] == "enhance" and {"--json", "--ignore-eos"} <= set(sys.argv) and option("--temperature") == "0"
one = "--max-sequences" in sys.argv
for i, line in list(enumerate(Path(option("--requests")).read_text().splitlines()))[::-1]:
    request = json.loads(line)
    count = request["body"]["max_tokens"] - SHORT
    assert request["body"]["messages"][-1]["role"] == "user"
    print(json.dumps({"id": request["custom_id"], "prompt": "", "text": "", "token_ids": list(range(count)),
                      "prompt_tokens": 10, "finish_reason": "length",
                      "seconds": {"wait": 0 if one else i, "prefill": 0.5, "decode": 0.25 * (count - 1)}}))
"""


def run_of(decode, together):
    return llm_contestants.Run(decode=decode, prefill={tokens: [100.0] for tokens in llm_workload.PREFILLS},
                               together=together, peak_mib=1.0, answers={})


class Backlot(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = Path(folder.name)
        self.work = llm_workload.Workload(Path("model.gguf"), repeats=2, prompts=3)
        self.ids = {each["id"]: [0] * 10 for each in self.work.singles + self.work.together}

    def measure(self, short=0):
        path = self.out / "program"
        path.write_text(FAKE.replace("SHORT", str(short)))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        args = types.SimpleNamespace(backlot=path, backlot_options=[], threads=1, limit=60)
        return llm_contestants.measure("backlot", args, self.work, "as it is", self.out / "run", self.ids)

    def test_rates(self):
        run = self.measure()
        self.assertEqual(run.decode, [4.0, 4.0])  # the first token is prefill's
        self.assertEqual(run.prefill, {512: [20.0, 20.0], 2048: [20.0, 20.0]})
        self.assertEqual(run.together, {"batched": 2 + 0.5 + 0.25 * 63})  # until the last one's end
        self.assertEqual(set(run.answers), {"enhance-0", "enhance-1", "enhance-2"})
        self.assertEqual(run.answers["enhance-0"], list(range(64)))

    def test_other_work_than_asked_for_fails(self):
        with self.assertRaisesRegex(contestants.Failed, "15 tokens of 16"):
            self.measure(short=1)
        self.ids["warm-up"] = [0] * 11
        with self.assertRaisesRegex(contestants.Failed, "warm-up as 10 tokens, transformers as 11"):
            self.measure()

    def test_a_missing_answer_fails(self):
        with self.assertRaisesRegex(contestants.Failed, "no answer to enhance-1"):
            llm_contestants.checked([{"id": "enhance-0", "token_ids": [0] * 64, "prompt_tokens": 10}],
                                    self.work.together, self.ids)


class Work(unittest.TestCase):
    def test_single_prompts_begin_differently(self):
        work = llm_workload.Workload(Path("model.gguf"))
        begins = [each["messages"][0]["content"] for each in work.singles]
        self.assertEqual(len(set(begins)), len(begins))
        users = {each["messages"][-1]["content"] for each in work.together}
        self.assertEqual(len(users), 64)
        self.assertEqual(len({json.dumps(each["messages"][:-1]) for each in work.together}), 1)

    def test_every_run_asks_the_same(self):
        one, other = (llm_workload.Workload(Path("model.gguf")) for _ in range(2))
        self.assertEqual(llm_workload.jsonl(one.singles + one.together),
                         llm_workload.jsonl(other.singles + other.together))

    def test_the_envelope(self):
        line = json.loads(llm_workload.jsonl([{"id": "a", "messages": [{"role": "user", "content": "é"}],
                                               "max_tokens": 3}]))
        self.assertEqual((line["custom_id"], line["url"]), ("a", "/v1/chat/completions"))
        self.assertEqual(line["body"], {"messages": [{"role": "user", "content": "é"}], "max_tokens": 3})


class Report(unittest.TestCase):
    def test_speedups_are_between_neighbours_and_against_batched(self):
        mine = [run_of([100.0], {"batched": 2.0}), run_of([50.0], {"batched": 4.0})]
        theirs = [run_of([decode], {"one by one": 8.0, "batched": 6.0}) for decode in (50.0, 10.0)]
        found = llm_report.speedups(theirs, mine)
        self.assertEqual((found["decode"]["least"], found["decode"]["most"]), (2.0, 5.0))
        self.assertEqual((found["one by one, seconds"]["most"], found["batched, seconds"]["least"]), (4.0, 1.5))
        self.assertEqual(found["prefill 512"]["median"], 1.0)

    def test_agreement_ends_at_the_first_other_token(self):
        found = llm_report.agreement({"a": [1, 2, 9, 4], "b": [5, 6]}, {"a": [1, 2, 3, 4], "b": [5, 6], "c": [7]})
        self.assertEqual((found["tokens"]["most"], found["whole"], found["answers"]), (2, 1, 2))
        self.assertIsNone(llm_report.agreement({}, {"a": [1]}))

    def test_table(self):
        work = llm_workload.Workload(Path("model.gguf")).facts()
        mine, theirs = [run_of([100.0], {"batched": 2.0})], [run_of([50.0], {"one by one": 8.0})]
        rows = [{"contestant": "backlot", "precision": "as it is", "figures": llm_report.summarise(mine)},
                {"contestant": "llama.cpp", "precision": "as it is", "figures": llm_report.summarise(theirs),
                 "speedups": llm_report.speedups(theirs, mine), "notes": ["built without AMX"]},
                {"contestant": "transformers", "precision": "float32", "reason": "no | disk"}]
        text = llm_report.table({"work": work, "rows": rows, "software": {}, "prompt_tokens": "9", "rounds": 1,
                                 "threads": 2, "machine": "it", "load": 0.5, "batch": 16})
        lines = [line for line in text.splitlines() if line.startswith("|")]
        self.assertEqual({line.replace("\\|", "").count("|") for line in lines}, {11})
        self.assertIn("| 2.00 / 1.00 / 1.00 / 4.00 / – |", text)
        self.assertIn("not measured: no \\| disk", text)
        self.assertIn("llama.cpp (as it is): built without AMX.", text)


if __name__ == "__main__":
    unittest.main()
