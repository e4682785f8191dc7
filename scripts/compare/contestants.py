"""Runs one measurement of one contestant: a process that loads once and makes every picture of a case."""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from compare.environment import ROOT, Unavailable, peer_python

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers"
HALVES = {"bfloat16", "float16"}


class Failed(Exception):
    """Why a measurement came to nothing, in one line."""


@dataclass
class Run:
    """Seconds, all of one picture but for `first`, the wall time from the process's start to its first picture."""
    first: float
    picture: list  # of each batch after the first, by when its last picture was on the disk
    stages: list  # of each batch after the first, as the contestant reports them
    peak_mib: float
    device_mib: float | None
    files: list
    software: dict = field(default_factory=dict)


class DeviceMemory(threading.Thread):
    """Watches how much more of a GPU's memory is in use than at the start."""

    def __init__(self):
        super().__init__(daemon=True)
        self._start, self.most, self._done = self._used(), 0, threading.Event()
        self.start()

    @staticmethod
    def _used():
        query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        return int(subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0])

    def run(self):
        while not self._done.wait(0.1):
            self.most = max(self.most, self._used() - self._start)

    def stop(self):
        self._done.set()
        self.join()
        return float(self.most)


def environment(threads):
    return {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads),
            "PYTHONWARNINGS": "ignore"}


def reason(status, errors):
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    if status < 0:
        return f"ended by signal {-status}" + (" (out of memory?)" if status == -9 else "")
    return lines[-1][:200] if lines else f"exit code {status}"


def timed(command, args, case):
    """(start, peak resident MiB, most GPU MiB, standard output) of a command that must succeed."""
    device = DeviceMemory() if case.device != "cpu" else None
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        start = time.time()
        process = subprocess.Popen([str(word) for word in command], env=environment(args.threads), cwd=ROOT,
                                   stdout=subprocess.PIPE, stderr=errors, text=True, errors="replace")
        limit = threading.Timer(args.limit, process.kill)
        limit.daemon = True  # must not hold up an interrupted run
        limit.start()
        try:
            with process.stdout:
                output = process.stdout.read()
        except BaseException:  # an interruption: nothing that takes gigabytes is left behind
            process.kill()
            raise
        finally:
            _, status, usage = os.wait4(process.pid, 0)
            late = limit.finished.is_set()
            limit.cancel()
            process.returncode = os.waitstatus_to_exitcode(status)
        used = device.stop() if device else None
        if process.returncode:
            errors.seek(0)
            raise Failed(f"not done after {args.limit} s" if late else reason(process.returncode, errors.read()))
    return start, usage.ru_maxrss / 1024, used, output


def to_run(case, files, start, peak, used, stages, software):
    """A picture's time is taken off the disk, for everyone alike: from a batch's end to the next one's."""
    written = sorted(path.stat().st_mtime for path in files)
    ends = written[case.batch - 1::case.batch]
    later = [stages[i:i + case.batch] for i in range(case.batch, len(stages), case.batch)]
    if len(files) != len(case.items):
        raise Failed(f"made {len(files)} pictures of {len(case.items)}")
    return Run(first=written[0] - start, peak_mib=peak, device_mib=used, files=files, software=software,
               stages=[{name: statistics.mean(seconds[name] for seconds in batch) for name in batch[0]}
                       for batch in later],
               picture=[(end - before) / case.batch for before, end in zip(ends, ends[1:])])


def run_backlot(args, case, precision, out):
    spec = out / "spec.yaml"
    spec.write_text(case.spec())
    start, peak, used, _ = timed(
        [args.backlot, "generate", spec, "--dtype", precision, "--device", case.device, "--batch-size", case.batch,
         "--threads", args.threads, "--progress", "off", "--fresh", "-o", out / "run", *args.backlot_options],
        args, case)
    manifest = json.loads((out / "run/manifest.json").read_text())
    items = sorted(manifest["items"], key=lambda item: item["index"])
    return to_run(case, [out / "run" / item["output"] for item in items], start, peak, used,
                  [item["seconds"] for item in items], {})


def run_process(script, python, args, case, out, **request):
    """A peer of peers/."""
    work = case.request(out=str(out), threads=args.threads, **request)
    for old in out.glob("*.png"):
        old.unlink()
    start, peak, used, output = timed([python, PEERS / script, json.dumps(work)], args, case)
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    stages = [line["seconds"] for line in lines if "seconds" in line for _ in range(line["count"])]
    software = next((line["software"] for line in lines if "software" in line), {})
    files = [path for path in (out / f"{i:05}.png" for i in range(len(case.items))) if path.exists()]
    return to_run(case, files, start, peak, used, stages, software)


def run_diffusers(args, case, precision, out, compiled=False):
    return run_process("diffusers_peer.py", args.python, args, case, out, precision=precision, compiled=compiled)


def run_compiled(args, case, precision, out):
    return run_diffusers(args, case, precision, out, compiled=True)


def single_file(case, args):
    """The case's folder as stable-diffusion.cpp reads it, made once."""
    path = args.cache / f"{case.model.name}.safetensors"
    newest = max(file.stat().st_mtime for file in case.model.rglob("*.safetensors"))
    if not path.exists() or path.stat().st_mtime < newest:
        print(f"compare: writing {path.name}", file=sys.stderr, flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run([sys.executable, HERE.parent / "export_single_file.py", case.model, path],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise Unavailable(done.stderr.strip().splitlines()[-1])
    return path


def noise_levels(args, case):
    """The sigmas of the case's steps, as the reference sets them."""
    code = ("import json, sys, diffusers\n"
            "config, steps = json.loads(sys.argv[1]), int(sys.argv[2])\n"
            "scheduler = getattr(diffusers, config['_class_name']).from_config(config)\n"
            "scheduler.set_timesteps(steps)\n"
            "print(json.dumps(scheduler.sigmas.tolist()))")
    config = case.scheduler or json.loads((case.model / "scheduler/scheduler_config.json").read_text())
    done = subprocess.run([str(args.python), "-c", code, json.dumps(config), str(case.steps)], check=True,
                          capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def run_sdcpp(args, case, precision, out):
    return run_process("sdcpp_peer.py", peer_python("stable-diffusion.cpp", args.python, case.device, args.peers_venv),
                       args, case, out, model=str(single_file(case, args)), precision=precision,
                       sigmas=noise_levels(args, case))


def converted(args, case, precision, python):
    """The folder of the case's networks in OpenVINO's format, made once for each shape."""
    half = precision in HALVES
    rows = case.batch * (2 if case.guided else 1)
    out = args.cache / f"openvino/{case.model.name}-{rows}x{case.batch}-{case.width}x{case.height}-{16 if half else 32}"
    if not (out / "done").exists():
        print(f"compare: converting {case.model.name} for OpenVINO", file=sys.stderr, flush=True)
        out.mkdir(parents=True, exist_ok=True)
        work = {"model": str(case.model), "out": str(out), "rows": rows, "batch": case.batch, "width": case.width,
                "height": case.height, "half": half}
        done = subprocess.run([python, PEERS / "openvino_export.py", json.dumps(work)], stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment(args.threads))
        if done.returncode:
            raise Unavailable("its conversion failed: " + reason(done.returncode, done.stderr))
        (out / "done").touch()
    return out


def run_openvino(args, case, precision, out):
    if case.device != "cpu":
        raise Unavailable("it has no NVIDIA device")
    python = peer_python("openvino", args.python, case.device, args.peers_venv)
    return run_process("openvino_peer.py", python, args, case, out, precision=precision,
                       converted=str(converted(args, case, precision, python)))


RUNS = {"backlot": run_backlot, "diffusers": run_diffusers, "diffusers-compiled": run_compiled,
        "stable-diffusion.cpp": run_sdcpp, "openvino": run_openvino}
PEER_NAMES = [name for name in RUNS if name != "backlot"]


def precisions(peer, dtype):
    """What a peer runs in where backlot runs in `dtype`."""
    if peer != "stable-diffusion.cpp":
        return [dtype]
    return ["f16", "q8_0"] if dtype in HALVES else ["f32"]


def measure(peer, args, case, precision, out):
    """One Run. Throws Failed or Unavailable."""
    out.mkdir(parents=True, exist_ok=True)
    return RUNS[peer](args, case, precision, out)
