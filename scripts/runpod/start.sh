#!/usr/bin/env bash
# Runs a batch on a rented GPU machine (a RunPod pod, on demand or spot) so that losing the machine
# costs minutes: everything that has to last lies on the volume, and the same command goes on where
# the last one was ended. README.md beside this file goes through it step by step.
#
#   start.sh [options] SPEC.yaml [-- further options of 'backlot fleet-run']
#
#   --volume DIR       what outlives the pod (/workspace)
#   --output DIR       the run folder (VOLUME/out/NAME, NAME being the spec's file name)
#   --archive FILE     backlot's release archive (the newest VOLUME/backlot-*-linux-*.tar.gz)
#   --source DIR       build backlot from this checkout instead of unpacking an archive
#   --models DIR       where models named in the spec are looked for (VOLUME/models)
#   --sync DEST        copy the run folder to DEST with rsync now and then, and at the end
#   --sync-minutes N   how often (10)
#   --when-done WHAT   nothing, stop or terminate: what becomes of the pod when everything that was
#                      asked for exists (nothing). Needs runpodctl, which pods come with.
#   --check            get everything ready and say what was found, but make nothing
#   -h, --help         this help
#
# Exit codes: backlot's own (0 everything exists, 1 some items failed, 2 wrong command line or spec,
# 3 the machine can't, 130/143 interrupted: run it again), and 2 and 3 for this script in the same
# sense.
set -euo pipefail

torch_version=2.11.0
volume=/workspace output='' archive='' source='' models='' sync_to='' sync_minutes=10 when_done=nothing
check_only=no spec='' more=()

say() { echo "start: $*" >&2; }
usage_error() {
  echo "start: error: $*; see start.sh --help" >&2
  exit 2
}
cannot() {
  echo "start: error: $*" >&2
  exit 3
}
print_help() { sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }

read_arguments() {
  while (($#)); do
    case $1 in
      -h | --help) print_help; exit 0 ;;
      --check) check_only=yes ;;
      --) shift; more=("$@"); break ;;
      --volume | --output | --archive | --source | --models | --sync | --sync-minutes | --when-done)
        if (($# < 2)) || [[ -z $2 ]]; then usage_error "$1 wants a value"; fi
        set_option "$1" "$2"
        shift
        ;;
      --*=*)
        [[ -n ${1#*=} ]] || usage_error "${1%%=*} wants a value"
        set_option "${1%%=*}" "${1#*=}"
        ;;
      -*) usage_error "no such option: $1" ;;
      *) [[ -z $spec ]] || usage_error "one spec at a time, and '$1' is a second"
        spec=$1 ;;
    esac
    shift
  done
  [[ -n $spec ]] || usage_error "name a job spec"
  [[ $sync_minutes =~ ^[1-9][0-9]{0,4}$ ]] || usage_error "--sync-minutes is a number of minutes, not '$sync_minutes'"
  case $when_done in
    nothing | stop | terminate) ;;
    *) usage_error "--when-done is nothing, stop or terminate, not '$when_done'" ;;
  esac
  [[ -z $archive || -z $source ]] || usage_error "--archive and --source exclude each other"
}

set_option() {
  case $1 in
    --volume) volume=$2 ;;
    --output) output=$2 ;;
    --archive) archive=$2 ;;
    --source) source=$2 ;;
    --models) models=$2 ;;
    --sync) sync_to=$2 ;;
    --sync-minutes) sync_minutes=$2 ;;
    --when-done) when_done=$2 ;;
    *) usage_error "no such option: $1" ;;
  esac
}

check_places() {
  [[ -d $volume && -w $volume ]] ||
    cannot "$volume is no folder to write to; attach a volume there, or name another with --volume"
  volume=$(realpath "$volume")
  [[ -f $spec ]] || cannot "$spec: no such file"
  spec=$(realpath "$spec")
  local name
  name=$(basename "$spec")
  output=$(realpath -m "${output:-$volume/out/${name%.*}}")
  models=$(realpath -m "${models:-$volume/models}")
  # Said now and not after hours: what lies beside the volume goes with the pod.
  case $output/ in
    "$volume"/*) ;;
    *) say "warning: $output is not on $volume; it is lost with the pod" ;;
  esac
  if [[ -n $sync_to ]] && ! command -v rsync >/dev/null; then
    cannot "--sync needs rsync; install it (apt-get install rsync)"
  fi
  if [[ $when_done != nothing ]]; then
    command -v runpodctl >/dev/null || cannot "--when-done $when_done needs runpodctl"
    [[ -n ${RUNPOD_POD_ID:-} ]] || cannot "--when-done $when_done needs RUNPOD_POD_ID, which pods have set"
  fi
}

# The folder of the torch that this Python imports, if it is the right one.
torch_of() {
  "$1" -c "import os, torch
assert torch.__version__.split('+')[0] == '$torch_version'
print(os.path.dirname(torch.__file__))" 2>/dev/null
}

# Sets BACKLOT_TORCH: the image's own torch, else one installed once on the volume.
find_torch() {
  local folder environment=$volume/backlot-torch-$torch_version
  if [[ -n ${BACKLOT_TORCH:-} ]]; then
    [[ -f $BACKLOT_TORCH/lib/libtorch_cpu.so ]] || cannot "BACKLOT_TORCH names '$BACKLOT_TORCH', which is no torch"
  elif folder=$(torch_of python3) || folder=$(torch_of "$environment/bin/python"); then
    BACKLOT_TORCH=$folder
  else
    command -v python3 >/dev/null || cannot "there is no python3; take an image with Python, such as one for PyTorch"
    say "installing torch $torch_version into $environment (some 5 GB, once)"
    # Under another name first: a pod that is lost half-way leaves nothing that looks complete.
    rm -rf "$environment.part" "$environment"
    python3 -m venv "$environment.part" >&2 ||
      cannot "python3 can't make a virtual environment (apt-get install python3-venv)"
    "$environment.part/bin/python" -m pip install --quiet --no-cache-dir "torch==$torch_version" >&2 ||
      cannot "pip could not install torch $torch_version; its message is above"
    mv "$environment.part" "$environment"
    BACKLOT_TORCH=$(torch_of "$environment/bin/python") ||
      cannot "torch was installed in $environment and can't be imported; remove that folder and try again"
  fi
  export BACKLOT_TORCH
  say "torch: $BACKLOT_TORCH"
}

newest_archive() {
  local newest='' each
  for each in "$volume"/backlot-*-linux-*.tar.gz; do
    if [[ -f $each && (-z $newest || $each -nt $newest) ]]; then newest=$each; fi
  done
  echo "$newest"
}

# Sets `backlot` to a program that starts.
find_backlot() {
  if [[ -n $source ]]; then
    [[ -f $source/Makefile ]] || cannot "$source is no checkout of backlot"
    say "building backlot in $source"
    make -C "$source" build >&2 || cannot "the build in $source failed; its messages are above"
    backlot=$source/build/backlot
  else
    archive=${archive:-$(newest_archive)}
    [[ -n $archive ]] || cannot "there is no $volume/backlot-*-linux-*.tar.gz; copy it there ('make dist' makes it)"
    [[ -f $archive ]] || cannot "$archive: no such file"
    # On the pod's own disk: quicker than the volume, and unpacked in a second.
    local unpacked=${TMPDIR:-/tmp}/backlot-unpacked
    rm -rf "$unpacked"
    mkdir -p "$unpacked"
    tar -xzf "$archive" -C "$unpacked" --strip-components=1 || cannot "$archive is damaged; copy it again"
    backlot=$unpacked/bin/backlot
  fi
  "$backlot" --version >&2 || cannot "$backlot does not start on this machine"
}

# Starts a program and waits for it, handing signals on at once: of the five seconds that a spot pod
# has left, backlot needs nearly all.
child='' stopping='' signalled=no
run_and_hand_on_signals() {
  "$@" &
  child=$!
  if [[ -n $stopping ]]; then kill "-$stopping" "$child" 2>/dev/null || true; fi
  local status
  while true; do
    signalled=no status=0
    wait "$child" || status=$?
    # A signal ends the waiting; only the end of the program counts.
    if [[ $signalled == no ]]; then break; fi
  done
  child=''
  return "$status"
}
# shellcheck disable=SC2317  # called by the traps
on_signal() {
  stopping=$1 signalled=yes
  if [[ -n $child ]]; then kill "-$1" "$child" 2>/dev/null || true; fi
}

copy_results() {
  # The manifest last: it never speaks of a picture that is not there yet.
  rsync -a --exclude=/manifest.json --exclude=/report.html "$output/" "$sync_to/" &&
    rsync -a "$output/" "$sync_to/"
}
sync_now_and_then() {
  while sleep "$((sync_minutes * 60))"; do
    copy_results || say "warning: copying to $sync_to failed; it is tried again in $sync_minutes min"
  done
}

finish_pod() {
  case $when_done in
    stop) say "stopping pod $RUNPOD_POD_ID"; runpodctl stop pod "$RUNPOD_POD_ID" >&2 ;;
    terminate) say "terminating pod $RUNPOD_POD_ID"; runpodctl remove pod "$RUNPOD_POD_ID" >&2 ;;
  esac
}

read_arguments "$@"
check_places
find_torch
backlot=''
find_backlot
export BACKLOT_MODELS=$models
trap 'on_signal TERM' TERM
trap 'on_signal INT' INT
trap 'on_signal HUP' HUP
"$backlot" health >&2 || cannot "work could not start here; what is missing is said above"
if [[ $check_only == yes ]]; then
  exec "$backlot" fleet-run "$spec" --output "$output" --dry-run "${more[@]}"
fi

syncer=''
if [[ -n $sync_to ]]; then
  sync_now_and_then &
  syncer=$!
fi
status=0
run_and_hand_on_signals "$backlot" fleet-run "$spec" --output "$output" "${more[@]}" || status=$?
if [[ -n $syncer ]]; then
  # Its sleep too, which would keep the output open.
  pkill -P "$syncer" 2>/dev/null || true
  kill "$syncer" 2>/dev/null || true
fi
# After a signal there is no time left: the volume has everything, and the next start goes on.
if [[ -n $stopping ]]; then exit "$status"; fi
if [[ -n $sync_to ]]; then copy_results || cannot "copying to $sync_to failed; the results are in $output"; fi
if ((status == 0)); then finish_pod; fi
exit "$status"
