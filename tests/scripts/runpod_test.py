"""scripts/runpod/start.sh, with an archive whose backlot only says how it was called."""
import os
import pathlib
import signal
import subprocess
import tarfile
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
START = ROOT / "scripts" / "runpod" / "start.sh"

BACKLOT = r"""#!/usr/bin/env bash
# Does what the file `behaviour` beside the spec says.
folder=$(dirname "$FAKE_LOG")
echo "$* models=$BACKLOT_MODELS torch=$BACKLOT_TORCH" >>"$FAKE_LOG"
case $1 in
  --version) echo "backlot 0.0"; exit 0 ;;
  health) exit "${FAKE_HEALTH:-0}" ;;
esac
trap 'echo drained >>"$FAKE_LOG"; exit 143' TERM
trap 'exit 130' INT
touch "$folder/working"
for _ in $(seq "${FAKE_SECONDS:-0}0"); do sleep 0.1; done
mkdir -p "$4"
echo '{}' >"$4/manifest.json"
exit "${FAKE_EXIT:-0}"
"""


class StartTest(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.addCleanup(self.scratch.cleanup)
        self.folder = pathlib.Path(self.scratch.name)
        self.volume = self.folder / "volume"
        self.volume.mkdir()
        self.log = self.folder / "log"
        (self.volume / "fruit.yaml").write_text("version: 1\n")
        program = self.folder / "backlot"
        program.write_text(BACKLOT)
        program.chmod(0o755)
        with tarfile.open(self.volume / "backlot-1.0-linux-x86_64.tar.gz", "w:gz") as archive:
            archive.add(program, "backlot-1.0-linux-x86_64/bin/backlot")
        torch = self.folder / "torch" / "lib"
        torch.mkdir(parents=True)
        (torch / "libtorch_cpu.so").touch()
        tools = self.folder / "tools"
        tools.mkdir()
        (tools / "runpodctl").write_text('#!/bin/sh\necho "runpodctl $*" >>"$FAKE_LOG"\n')
        (tools / "runpodctl").chmod(0o755)
        self.environment = os.environ | {"FAKE_LOG": str(self.log), "BACKLOT_TORCH": str(torch.parent),
                                         "PATH": f"{tools}:{os.environ['PATH']}", "TMPDIR": str(self.folder)}
        self.environment.pop("RUNPOD_POD_ID", None)

    def command(self, *arguments):
        return ["bash", str(START), "--volume", str(self.volume), str(self.volume / "fruit.yaml"), *arguments]

    def run_it(self, *arguments, **environment):
        return subprocess.run(self.command(*arguments), env=self.environment | environment, text=True,
                              capture_output=True, timeout=60, check=False)

    def calls(self):
        return self.log.read_text().splitlines() if self.log.exists() else []

    def test_runs_the_spec_on_the_volume(self):
        result = self.run_it("--", "--devices", "cuda:0,cuda:1", "--dtype=float16")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.calls()[-1],
                         f"fleet-run {self.volume}/fruit.yaml --output {self.volume}/out/fruit "
                         f"--devices cuda:0,cuda:1 --dtype=float16 models={self.volume}/models "
                         f"torch={self.environment['BACKLOT_TORCH']}")

    def test_ends_with_backlots_exit_code(self):
        for code in ("1", "2", "3"):
            self.assertEqual(self.run_it(FAKE_EXIT=code).returncode, int(code))

    def test_hands_a_signal_on_at_once_and_ends_with_143(self):
        process = subprocess.Popen(self.command("--when-done", "terminate"), stderr=subprocess.PIPE, text=True,
                                   env=self.environment | {"FAKE_SECONDS": "60", "RUNPOD_POD_ID": "pod1"})
        deadline = time.monotonic() + 30
        while not (self.folder / "working").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        self.assertEqual(process.returncode, 143)
        self.assertLess(time.monotonic() - started, 5)
        self.assertIn("drained", self.calls())
        self.assertFalse([call for call in self.calls() if call.startswith("runpodctl")])

    def test_ends_the_pod_only_after_success(self):
        pod = {"RUNPOD_POD_ID": "pod1"}
        self.run_it("--when-done", "terminate", FAKE_EXIT="1", **pod)
        self.assertFalse([call for call in self.calls() if call.startswith("runpodctl")])
        self.run_it("--when-done", "terminate", **pod)
        self.assertEqual(self.calls()[-1], "runpodctl remove pod pod1")
        self.run_it("--when-done=stop", **pod)
        self.assertEqual(self.calls()[-1], "runpodctl stop pod pod1")
        self.assertEqual(self.run_it("--when-done", "stop").returncode, 3)

    def test_a_check_makes_nothing(self):
        self.assertEqual(self.run_it("--check").returncode, 0)
        self.assertIn(" --dry-run ", self.calls()[-1])

    def test_copies_the_results(self):
        if not any(os.access(os.path.join(each, "rsync"), os.X_OK) for each in os.environ["PATH"].split(":")):
            self.skipTest("rsync is not installed")
        copy = self.folder / "copy"
        self.assertEqual(self.run_it("--sync", str(copy)).returncode, 0)
        self.assertTrue((copy / "manifest.json").exists())

    def test_what_is_wrong_is_said_before_anything_runs(self):
        for arguments in (["--when-done", "maybe"], ["--sync-minutes", "x"], ["--sync-minutes"], ["--nonsense"],
                          ["second.yaml"], ["--archive=a", "--source=b"]):
            result = self.run_it(*arguments)
            self.assertEqual(result.returncode, 2, arguments)
            self.assertTrue(result.stderr.startswith("start: error: "), result.stderr)
        for arguments, environment in ((["--archive", "/nowhere.tar.gz"], {}), (["--volume", "/nowhere"], {}),
                                       ([], {"BACKLOT_TORCH": "/nowhere"}), ([], {"FAKE_HEALTH": "3"})):
            self.assertEqual(self.run_it(*arguments, **environment).returncode, 3, arguments)
        self.assertFalse([call for call in self.calls() if call.startswith("fleet-run")])

    def test_a_damaged_archive_is_said(self):
        (self.volume / "backlot-1.0-linux-x86_64.tar.gz").write_bytes(b"not an archive")
        result = self.run_it()
        self.assertEqual(result.returncode, 3)
        self.assertIn("is damaged", result.stderr)

    def test_help_is_complete(self):
        result = subprocess.run(["bash", str(START), "--help"], text=True, capture_output=True, check=True)
        for option in ("--volume", "--output", "--archive", "--source", "--models", "--sync", "--sync-minutes",
                       "--when-done", "--check"):
            self.assertIn(option, result.stdout)


if __name__ == "__main__":
    unittest.main()
