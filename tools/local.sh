# Sourced by up, down, status, logs, clean-data: where the local processes live and how they are started and stopped.
#
# PARLEY_PORT_OFFSET is added to every port, so that two trees can run side by side. PRESET chooses the binaries.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# shellcheck source=tools/services/common.sh
. "$root/tools/services/common.sh"

preset=${PRESET:-release}
bin=$root/build/$preset/bin
state=$root/.parley
run=$state/run
offset=${PARLEY_PORT_OFFSET:-0}

http_port=$((8080 + offset))        # gateway-0 and standalone; gateway-1 one more
admin_port=$((9080 + offset))       # likewise
router_port=$((7070 + offset))      # router-0; router-1 one more
router_admin_port=$((9090 + offset))
persister_admin_port=$((9100 + offset))
kafka_port=$((19092 + offset))
postgres_port=$((15432 + offset))

small_processes="standalone"
cluster_processes="persister router-0 router-1 gateway-0 gateway-1"

processes_of() { # PROFILE
  case $1 in
    small) echo "$small_processes" ;;
    cluster) echo "$cluster_processes" ;;
    *) fail "there is no profile '$1'" "PROFILE=small or PROFILE=cluster" ;;
  esac
}

program_of() { # PROCESS -> parley-gateway
  local role=${1%-[0-9]}
  echo "parley-$role"
}

admin_port_of() { # PROCESS
  case $1 in
    standalone | gateway-0) echo "$admin_port" ;;
    gateway-1) echo $((admin_port + 1)) ;;
    router-0) echo "$router_admin_port" ;;
    router-1) echo $((router_admin_port + 1)) ;;
    persister) echo "$persister_admin_port" ;;
  esac
}

# The configuration's path is on the command line and belongs to this tree: that makes a pid ours.
is_running() { # PROCESS
  running "$run/$1.pid" "--config=$run/$1.yaml"
}

is_ready() { # PROCESS
  curl -sf -o /dev/null --max-time 2 "http://127.0.0.1:$(admin_port_of "$1")/readyz"
}

# PostgreSQL's directory: below .parley, or where a `make up` by root had to put it because user postgres cannot pass the tree's path.
postgres_dir() {
  if [ -s "$state/postgres-dir" ]; then cat "$state/postgres-dir"; else echo "$state/postgres"; fi
}
kafka_dir() { echo "$state/kafka"; }

kafka_running() { running "$(kafka_dir)/pid" "$(kafka_dir)/server.properties"; }
postgres_running() { running "$(postgres_dir)/data/postmaster.pid" "$(postgres_dir)/data"; }

# What runs now: small, cluster, or nothing.
running_profile() {
  local process
  for process in $small_processes; do if is_running "$process"; then echo small; return; fi; done
  for process in $cluster_processes; do if is_running "$process"; then echo cluster; return; fi; done
  if kafka_running; then echo cluster; fi
}

# Also when the tree belongs to another user than the one who calls (sudo): the state belongs to the caller.
make_state() {
  mkdir -p "$run"
  chmod 700 "$run"
}
