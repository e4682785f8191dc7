"""Finds or makes the Python that has the reference: torch, diffusers and transformers."""
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / ".deps/ref"
PACKAGES = ["diffusers==0.42.1", "transformers==5.23.0", "numpy", "pillow"]
TORCH = "torch==2.11.0"
TORCH_NEEDS = ["filelock", "typing-extensions", "sympy", "networkx", "jinja2", "fsspec"]
FREE_GIB = 8  # torch with every library that its Python half asks for


def works(python):
    imports = "import diffusers, transformers, numpy, PIL, torch; assert torch.__version__.startswith('2.11')"
    return subprocess.run([python, "-c", imports], capture_output=True).returncode == 0


def install(python, packages):
    print(f"compare: installing {' '.join(packages)} into .deps/ref", file=sys.stderr, flush=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir",
                    *packages], check=True)


def reference_python():
    """The path of the reference's Python, in .deps/ref, made now if it isn't there or is broken."""
    python = FOLDER / "bin/python"
    if python.exists() and works(python):
        return python
    venv.create(FOLDER, clear=True, with_pip=True)
    install(python, PACKAGES + TORCH_NEEDS)
    # The LibTorch that backlot uses serves if its Python half can be loaded; what setup.sh installs for a
    # machine without a GPU can't.
    record = ROOT / ".deps/torch-folder"
    if record.exists():
        site = next((FOLDER / "lib").glob("python*/site-packages"))
        shared = site / "backlot-torch.pth"
        shared.write_text(str(Path(record.read_text().strip()).parent) + "\n")
        if works(python):
            return python
        shared.unlink()
    free = shutil.disk_usage(FOLDER).free / (1 << 30)
    if free < FREE_GIB:
        sys.exit(f"compare: error: {TORCH} for Python takes {FREE_GIB} GiB, {free:.1f} GiB are free; make room, "
                 "or name a Python that has diffusers with --python")
    install(python, [TORCH])
    if not works(python):
        sys.exit(f"compare: error: the reference in {FOLDER} can't be imported; remove the folder, run again")
    return python
