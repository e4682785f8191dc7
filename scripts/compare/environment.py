"""Finds or makes the Pythons: the reference's (torch, diffusers, transformers), and each peer's on top of it."""
import os
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

# What a peer needs beside the reference: packages, and a statement that works where they are.
PEER_PACKAGES = {
    "stable-diffusion.cpp": (["stable-diffusion-cpp-python==0.4.7"], "import stable_diffusion_cpp"),
    "openvino": (["openvino==2026.4.1"], "import openvino"),
    "llama.cpp": (["llama-cpp-python==0.3.36"], "import llama_cpp"),
    "llama.cpp-no-amx": (["llama-cpp-python==0.3.36"], "import llama_cpp"),
    "transformers": (["gguf==0.19.0"], "import gguf"),  # to read GGUF files
}


class Unavailable(Exception):
    """Why a peer can't take part."""


def works(python):
    imports = "import diffusers, transformers, numpy, PIL, torch; assert torch.__version__.startswith('2.11')"
    return runs(python, imports)


def runs(python, statement):
    return subprocess.run([python, "-c", statement], capture_output=True).returncode == 0


def install(python, packages, **environment):
    """False if pip could not; what it said is in pip.log beside bin/."""
    folder = Path(python).parent.parent
    print(f"compare: installing {' '.join(packages)} into {os.path.relpath(folder, ROOT)}", file=sys.stderr, flush=True)
    with open(folder / "pip.log", "w") as log:
        return subprocess.run([python, "-m", "pip", "install", "--disable-pip-version-check", "--no-cache-dir",
                               *packages], env={**os.environ, **environment}, stdout=log, stderr=log).returncode == 0


def reference_python():
    """The path of the reference's Python, in .deps/ref, made now if it isn't there or is broken."""
    python = FOLDER / "bin/python"
    if python.exists() and works(python):
        return python
    venv.create(FOLDER, clear=True, with_pip=True)
    if not install(python, PACKAGES + TORCH_NEEDS):
        sys.exit(f"compare: error: pip could not install the reference, see {FOLDER}/pip.log; or name a Python that "
                 "has diffusers with --python")
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
    if not install(python, [TORCH]) or not works(python):
        sys.exit(f"compare: error: the reference in {FOLDER} can't be imported; remove the folder, run again")
    return python


def cmake_options(peer, device):
    """For the peers that are compiled; all that is not said here they pick for the machine. Throws Unavailable."""
    options = ["-DGGML_LLAMAFILE=ON"]  # faster matrix products; in stable-diffusion.cpp off unless asked for
    if peer == "llama.cpp-no-amx":
        off = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
        options += [f"-DCMAKE_C_FLAGS='{off}'", f"-DCMAKE_CXX_FLAGS='{off}'"]
    if peer.startswith("llama.cpp"):
        options.append("-DLLAVA_BUILD=OFF")  # its pictures' half, which takes as long to compile
    if device != "cpu":
        if not shutil.which("nvcc"):
            raise Unavailable("its CUDA build needs nvcc, which is not on the PATH")
        options.append("-DSD_CUDA=ON" if peer == "stable-diffusion.cpp" else "-DGGML_CUDA=ON")
    return options


def peer_python(peer, reference, device, folder=None):
    """A Python that has the peer's packages and sees the reference's, in .deps/peers unless `folder` is one.

    Throws Unavailable.
    """
    if peer not in PEER_PACKAGES:
        return reference
    packages, statement = PEER_PACKAGES[peer]
    # Built for one kind of device: a folder each.
    folder = folder or ROOT / ".deps/peers" / (peer if device == "cpu" else f"{peer}-{device}")
    python = folder / "bin/python"
    if python.exists() and runs(python, statement):
        return python
    cmake = cmake_options(peer, device)
    # One that works is kept with what else it has.
    if not (python.exists() and runs(python, "import pip")):
        subprocess.run([reference, "-m", "venv", "--clear", folder], check=True, stdout=sys.stderr)
    site = next((folder / "lib").glob("python*/site-packages"))
    seen = subprocess.run([reference, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], check=True,
                          capture_output=True, text=True).stdout.strip()
    # As the environment itself, with what its own .pth files bring.
    (site / "reference.pth").write_text(f"import site; site.addsitedir({seen!r})\n")
    environment = {"CMAKE_ARGS": " ".join(cmake + os.environ.get("CMAKE_ARGS", "").split()),
                   "CMAKE_BUILD_PARALLEL_LEVEL": str(len(os.sched_getaffinity(0)))}
    if not install(python, packages, **environment):
        raise Unavailable(f"pip could not install {' '.join(packages)}, see {os.path.relpath(folder, ROOT)}/pip.log")
    if not runs(python, statement):
        raise Unavailable(f"{packages[0]} was installed but can't be imported; remove {folder}, run again")
    return python
