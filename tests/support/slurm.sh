#!/usr/bin/env bash
# A Slurm of one's own on this machine, for tests: munged, slurmctld and slurmd with their own ports,
# key and files, all in FOLDER. Needs root and the Debian packages slurm-wlm and munge.
#
#   tests/support/slurm.sh available         ends with 0 if it can be started here, else says why not
#   tests/support/slurm.sh start FOLDER      returns when jobs can run; then: export SLURM_CONF=FOLDER/slurm.conf
#   tests/support/slurm.sh pause FOLDER      ends slurmctld; running jobs go on
#   tests/support/slurm.sh resume FOLDER     starts it again
#   tests/support/slurm.sh stop FOLDER       ends every job and every daemon
set -euo pipefail

say_why_not() {
  local program
  for program in munged slurmctld slurmd sbatch squeue scontrol python3; do
    PATH=$PATH:/usr/sbin command -v "$program" >/dev/null || {
      echo "$program is not installed (Debian's packages slurm-wlm and munge have it)"
      return
    }
  done
  if ((EUID != 0)); then echo "slurmd has to be started by root"; fi
}

free_ports() {
  python3 -c '
import socket
sockets = [socket.socket() for _ in range(2)]
for each in sockets: each.bind(("127.0.0.1", 0))
print(*(each.getsockname()[1] for each in sockets))'
}

write_config() {
  local ports host
  read -r -a ports <<<"$(free_ports)"
  host=$(hostname -s)
  # More processors than the machine may have: four tasks are to run side by side. A requeued task
  # waits until its old credential has expired: soon. No accounting, as on many small clusters.
  cat >"$folder/slurm.conf" <<END_OF_CONFIG
ClusterName=backlottest
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmdPort=${ports[1]}
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket,cred_expire=5
SlurmUser=root
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ReturnToService=2
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,sched_min_interval=100000,sched_interval=2
KillWait=10
MinJobAge=300
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
END_OF_CONFIG
}

start_munged() {
  mkdir -m 755 "$folder/munge"
  head -c 1024 /dev/urandom >"$folder/munge/key"
  chmod 600 "$folder/munge/key"
  munged --socket "$folder/munge/socket" --key-file "$folder/munge/key" --num-threads 2 \
    --log-file "$folder/munge/log" --pid-file "$folder/munge/pid" --seed-file "$folder/munge/seed"
}

# wait_for SECONDS COMMAND...: until the command succeeds.
wait_for() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS > end)); then return 1; fi
    sleep 0.1
  done
}

no_job_is_left() { [[ -z $(squeue -h) ]]; }
node_is_ready() { [[ $(sinfo -h -o %t) == idle ]]; }

fail() {
  echo "slurm.sh: $*" >&2
  tail -n 20 "$folder"/*.log >&2 || true
  stop
  exit 1
}

start() {
  mkdir -p "$folder/state" "$folder/spool"
  # munged insists on folders that only their owner writes to.
  chmod 755 "$folder"
  write_config
  start_munged
  slurmctld -c || fail "slurmctld does not start"
  slurmd || fail "slurmd does not start"
  wait_for 60 node_is_ready || fail "the node does not become ready"
}

end_by_pid_file() {
  local pid
  pid=$(cat "$1" 2>/dev/null) || return 0
  kill "$pid" 2>/dev/null || return 0
  for _ in {1..100}; do
    kill -0 "$pid" 2>/dev/null || return 0
    sleep 0.05
  done
  kill -KILL "$pid" 2>/dev/null || true
}

stop() {
  timeout 10 scancel --signal=KILL --full --me 2>/dev/null || true
  timeout 10 scancel --me 2>/dev/null || true
  wait_for 10 no_job_is_left || true
  end_by_pid_file "$folder/slurmctld.pid"
  end_by_pid_file "$folder/slurmd.pid"
  end_by_pid_file "$folder/munge/pid"
}

PATH=$PATH:/usr/sbin
case ${1:-} in
  available)
    reason=$(say_why_not)
    if [[ -n $reason ]]; then echo "$reason"; exit 1; fi
    exit 0
    ;;
  start | stop | pause | resume) ;;
  *) sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
folder=$(realpath -m "${2:?a folder}")
export SLURM_CONF=$folder/slurm.conf
case $1 in
  start) start ;;
  stop) stop ;;
  pause) end_by_pid_file "$folder/slurmctld.pid" ;;
  resume) slurmctld ;;
esac
