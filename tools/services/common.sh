# Sourced by the scripts beside it.

# fail CAUSE [REMEDY]: two lines a person can act on, then exit.
fail() {
  printf '%s: %s\n' "${0##*/}" "$1" >&2
  [ $# -lt 2 ] || printf '  remedy: %s\n' "$2" >&2
  exit 1
}

# port_answers PORT: does something accept connections on 127.0.0.1:PORT?
port_answers() {
  (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# free_port: below the range the kernel hands out to clients; the broker takes two in a row.
free_port() {
  local port
  for _ in {1..50}; do
    port=$((20000 + (RANDOM % 6000) * 2))
    if ! port_answers "$port" && ! port_answers $((port + 1)); then
      printf '%s\n' "$port"
      return
    fi
  done
  fail "no free port found between 20000 and 32000" "end what listens there"
}

# require_free_port PORT PURPOSE
require_free_port() {
  port_answers "$1" || return 0
  local holder=""
  if command -v ss >/dev/null; then holder=$(ss -Hltnp "sport = :$1" 2>/dev/null | grep -o 'users:.*' | head -n 1) || holder=""; fi
  fail "port $1 on 127.0.0.1 is busy${holder:+ (held by $holder)}; it is needed for $2" "stop that process or choose another port"
}

# running PIDFILE MARK: is the process of PIDFILE alive, and is it ours (MARK occurs in its command line)?
# A pid may have been given to someone else since.
running() {
  local pid
  pid=$(cat "$1" 2>/dev/null) || return 1
  pid=${pid%%$'\n'*}
  [ -n "$pid" ] && [ -r "/proc/$pid/cmdline" ] && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "$2"
}

# wait_until SECONDS COMMAND...: polls ten times a second.
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.1
  done
}

absolute() {
  mkdir -p "$1" && (cd "$1" && pwd -P)
}
