"""The parts of scripts/bench_peers.py that need no peer: python3 alone runs this."""
import json
import stat
import sys
import tempfile
import types
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "scripts"))
from compare import contestants, report  # noqa: E402
from compare.workload import TRAILING, Case  # noqa: E402

# Says what the real one does: a manifest and pictures, each of a batch a second after the batch before.
FAKE = """#!/usr/bin/env python3
import json, os, sys, time
from pathlib import Path
def option(name):
    return sys.argv[sys.argv.index(name) + 1]
spec, out, size = json.loads(Path(sys.argv[2]).read_text()), Path(option("-o")), int(option("--batch-size"))
(out / "images").mkdir(parents=True, exist_ok=True)
items = []
for i, job in enumerate(spec["jobs"]):
    path = out / "images" / f"{i}.png"
    path.write_text(job["prompt"])
    written = 1000 + i // size
    os.utime(path, (written, written))
    items.append({"index": i, "output": f"images/{i}.png", "seconds": {"denoise": i // size, "decode": 0.25}})
(out / "manifest.json").write_text(json.dumps({"items": items[::-1]}))
"""


def case(batch, batches, **more):
    return Case("pocket", Path("models/pocket-xl"), 128, 128, 20, 3.5, batch, batches, **more)


def run_of(picture, stages):
    return contestants.Run(first=1.0, picture=picture, stages=stages, peak_mib=100.0, device_mib=None, files=[])


class Program(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = Path(folder.name)

    def program(self, text):
        path = self.out / "program"
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return types.SimpleNamespace(backlot=path, backlot_options=[], threads=1, limit=60)

    def test_first_batch_only_warms_up(self):
        run = contestants.measure("backlot", self.program(FAKE), case(2, 3), "float32", self.out)
        self.assertEqual(run.picture, [0.5, 0.5])  # a second for two, twice
        self.assertEqual([stage["denoise"] for stage in run.stages], [1, 2])
        self.assertEqual([path.name for path in run.files], [f"{i}.png" for i in range(6)])

    def test_a_failure_has_its_last_line(self):
        args = self.program("#!/bin/sh\necho 'noise' >&2\necho 'backlot: error: no such model' >&2\nexit 3\n")
        with self.assertRaisesRegex(contestants.Failed, "^backlot: error: no such model$"):
            contestants.measure("backlot", args, case(1, 2), "float32", self.out)

    def test_a_limit_ends_it(self):
        args = self.program("#!/bin/sh\nexec sleep 30\n")
        args.limit = 0.2
        with self.assertRaisesRegex(contestants.Failed, "^not done after 0.2 s$"):
            contestants.measure("backlot", args, case(1, 2), "float32", self.out)

    def test_too_few_pictures_fail(self):
        files = [self.out / "0.png"]
        files[0].touch()
        with self.assertRaisesRegex(contestants.Failed, "made 1 pictures of 2"):
            contestants.to_run(case(1, 2), files, 0, 0, None, [], {})


class Work(unittest.TestCase):
    def test_everyone_is_given_the_same(self):
        work = case(4, 3, scheduler=TRAILING)
        spec, request = json.loads(work.spec()), work.request(precision="float32")
        self.assertEqual(spec["jobs"], request["items"])
        self.assertEqual(spec["defaults"]["scheduler"], request["scheduler"])
        self.assertEqual(len({item["prompt"] for item in request["items"]}), 12)

    def test_quantised_peers_run_beside_halves_only(self):
        self.assertEqual(contestants.precisions("stable-diffusion.cpp", "bfloat16"), ["f16", "q8_0"])
        self.assertEqual(contestants.precisions("stable-diffusion.cpp", "float32"), ["f32"])


class Table(unittest.TestCase):
    def test_ratios_are_between_neighbours(self):
        mine = [run_of([1.0], [{"denoise": 1.0, "decode": 2.0}]), run_of([2.0], [{"denoise": 2.0, "decode": 2.0}])]
        theirs = [run_of([3.0], [{"denoise": 2.0, "decode": 2.0}]), run_of([6.0], [{"denoise": 4.0, "decode": 2.0}])]
        found = report.ratios(theirs, mine)
        self.assertEqual(found["picture"], {"median": 3.0, "least": 3.0, "most": 3.0})
        self.assertEqual(found["decode"]["median"], 1.0)

    def test_what_took_no_part_is_listed(self):
        row = report.table_row({"contestant": "openvino", "precision": "float16", "reason": "it has no NVIDIA device"})
        self.assertEqual(len(row), len(report.COLUMNS))
        self.assertEqual(row[2], "not measured: it has no NVIDIA device")

    def test_unlike_pictures_are_said(self):
        found = {"lowest_psnr": 9.0, "largest_difference": 200, "equal_bytes": 0.01, "alike": False,
                 "mean_difference": 1.5, "histogram_overlap": 0.97}
        self.assertIn("not alike (9.0 dB)", report.likeness(found))


if __name__ == "__main__":
    unittest.main()
