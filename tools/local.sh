# shellcheck shell=bash
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

port_of() { # PROCESS: what it serves on; nothing for a persister
  case $1 in
    standalone | gateway-0) echo "$http_port" ;;
    gateway-1) echo $((http_port + 1)) ;;
    router-0) echo "$router_port" ;;
    router-1) echo $((router_port + 1)) ;;
  esac
}

# Each profile has its own: what PostgreSQL holds belongs to one log (R13).
database_of() { # PROFILE
  case $1 in
    small) echo parley ;;
    cluster) echo parley_cluster ;;
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
# Decides once. A server of root's runs as user postgres, and a socket's path has at most 107 characters.
place_postgres() {
  local wanted=$state/postgres elsewhere
  if [ -s "$state/postgres-dir" ] || [ -e "$wanted/data" ]; then return; fi
  mkdir -p "$wanted"
  if [ "${#wanted}" -le 80 ] && { [ "$(id -u)" -ne 0 ] || (cd / && runuser -u postgres -- test -x "$wanted"); }; then return; fi
  rmdir "$wanted"
  if [ "$(id -u)" -eq 0 ]; then elsewhere=/var/lib/parley; else elsewhere=${XDG_DATA_HOME:-$HOME/.local/share}/parley; fi
  elsewhere=$elsewhere/$(printf %s "$root" | sha256sum | cut -c 1-12)
  mkdir -p "$elsewhere"
  echo "$elsewhere" >"$state/postgres-dir"
  echo "PostgreSQL keeps its data in $elsewhere: it cannot live below $root"
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

# The whole configuration of a process, YAML: what differs from the defaults.
write_configuration() { # PROCESS PROFILE
  local process=$1 profile=$2
  cat <<YAML
# Written by tools/up at every start; change tools/local.sh instead.
process: {instance: $process}
admin: {port: $(admin_port_of "$process")}
postgres: {dsn: "host=127.0.0.1 port=$postgres_port user=parley dbname=$(database_of "$profile")"}
YAML
  if [ "$profile" = cluster ]; then
    echo "kafka: {brokers: \"127.0.0.1:$kafka_port\", partitions: 4}"
  fi
  case $process in
    gateway-* | standalone)
      cat <<YAML
auth:
  jwt_secret_file: "$state/jwt-secret"
  registers_per_minute: 0
  logins_per_minute: 0
gateway:
  port: $(port_of "$process")
  connects_per_minute: 0  # everybody here has one address
  max_connections_per_ip: 0
YAML
      ;;
  esac
  case $process in
    gateway-*) echo "  routers: \"127.0.0.1:$router_port,127.0.0.1:$((router_port + 1))\"" ;;
    router-*) echo "router: {listen: \"127.0.0.1:$(port_of "$process")\", members: \"127.0.0.1:$router_port,127.0.0.1:$((router_port + 1))\"}" ;;
  esac
}
