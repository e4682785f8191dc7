"""The suite video of scripts/bench_peers.py with a made-up backlot: python3 alone runs this."""
import contextlib
import io
import json
import stat
import sys
import tempfile
import types
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "scripts"))
from compare import contestants, video  # noqa: E402

# Makes two clips, of as many frames as asked for but SHORT.
FAKE = """#!/usr/bin/env python3
import json, sys
def option(name):
    return sys.argv[sys.argv.index(name) + 1]
assert sys.argv[1:3] == ["bench", "video"] and "--json" in sys.argv and option("--size") == "64x32"
case = {"error": ERROR, "seconds": [4.0, 5.0], "parameters": {"frames": int(option("--frames")) - SHORT},
        "stages": {"text_encode": [0, 0], "denoise": [3.0, 3.5], "decode": [1.0, 1.5], "step": [1.5, 1.75]}}
print(json.dumps({"machine": {"backlot": "0.0.1"}, "cases": [case]}))
"""


def run_of(seconds):
    return video.Run(seconds=[seconds], denoise=[seconds / 2], decode=[seconds / 4], step=[seconds / 8], peak_mib=10.0)


class Video(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = Path(folder.name)

    def args(self, short=0, error=None):
        path = self.out / "program"
        path.write_text(FAKE.replace("SHORT", str(short)).replace("ERROR", repr(error)))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return types.SimpleNamespace(backlot=path, model="wan-1.3b", device="cpu", threads=1, size=(64, 32), frames=5,
                                     steps=2, guidance_scale=5.0, warm_up=0, repeats=2, rounds=2, limit=60)

    def test_a_run(self):
        run = video.run_backlot(self.args(), "bfloat16")
        self.assertEqual((run.seconds, run.denoise, run.decode, run.step),
                         ([4.0, 5.0], [3.0, 3.5], [1.0, 1.5], [1.5, 1.75]))
        self.assertEqual(run.software, {"backlot": "0.0.1"})

    def test_other_work_than_asked_for_fails(self):
        for args in (self.args(short=4), self.args(error="out of memory")):
            with self.assertRaises(contestants.Failed):
                video.run_backlot(args, "bfloat16")

    def test_in_turns(self):
        taken = []

        def take(args, name, dtype):
            taken.append(name)
            return run_of({"backlot": 2.0, "diffusers": 4.0 + len(taken)}[name])

        self.addCleanup(setattr, video, "take", video.take)
        video.take = take
        rows = video.measure(self.args(), "bfloat16")
        self.assertEqual(taken, ["backlot", "diffusers"] * 2)
        self.assertNotIn("ratios", rows[0])
        self.assertEqual(rows[1]["ratios"]["seconds"], {"median": 3.5, "least": 3.0, "most": 4.0})

    def test_who_fails_has_a_reason_in_the_table(self):
        self.addCleanup(setattr, video, "take", video.take)
        video.take = lambda args, name, dtype: run_of(2.0) if name == "backlot" else "broke | here"
        rows = video.measure(self.args(), "bfloat16")
        self.assertEqual(len(rows[0]["runs"]), 1, "no more turns after that")
        text = video.table({"machine": "a machine", "threads": 1, "rounds": 2, "load": 0.0, "software": {}, "rows": rows,
                            "work": {"model": "wan-1.3b", "device": "cpu", "size": "64x32", "frames": 5, "steps": 2,
                                     "guidance_scale": 5.0, "warm_up": 0, "repeats": 1}})
        self.assertIn("not measured: broke \\| here", text)
        self.assertIn("| backlot | bfloat16 | 2.00 (2.00–2.00) |", text)
        json.dumps(rows)

    def test_sizes(self):
        self.assertEqual(video.size("832x480"), (832, 480))
        for text in ("832", "832x", "0x16", "40x40"):
            with self.assertRaises(Exception):
                video.size(text)

    def test_mistakes_are_said(self):
        with contextlib.redirect_stderr(io.StringIO()) as said, self.assertRaises(SystemExit):
            video.parse_options(["--steps", "1", "--python", sys.executable, "-o", str(self.out)])
        self.assertIn("'1' is not a number from 2 up", said.getvalue())


if __name__ == "__main__":
    unittest.main()
