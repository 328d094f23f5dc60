#!/usr/bin/env bash
# Installs what the tests need, runs all of them, and says what passed, failed and was skipped.
#
#   tests/run.sh                everything; what cannot be had here is skipped
#   tests/run.sh --quick        installs nothing; only the cargo tests that need no other program
#   tests/run.sh --full         also every Autobahn deflate case and the long soaks (FANWIRE_FULL=1),
#                               and the load test on a release build
#   tests/run.sh --require-all  what cannot be had is a failure (FANWIRE_REQUIRE_ALL=1)
#
# Needs a Rust toolchain (rustup reads rust-toolchain.toml) and a C compiler. Installs, as root:
# the Debian packages chromium, dpkg-dev, haproxy, lintian, nginx-light, nodejs, npm, python3,
# python3-venv, systemd and valgrind, with --full also mmdebstrap, where they are missing (Debian starts
# the two proxies as services; the tests run their own). And as anyone: npm packages into
# tests/clients/node_modules, Python packages into target/tmp.
# Exit status: 0 when nothing failed, 1 when something did, 2 for a wrong command line.

set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2

readonly TARGET="${CARGO_TARGET_DIR:-$PWD/target}"
readonly LOGS="$TARGET/test-logs"
readonly CLIENTS_PYTHON="$TARGET/tmp/clients-python"
readonly LOAD_SOCKETS=10000
# Descriptors of the broker and of the load test that are not subscribers' sockets.
readonly LOAD_RESERVE=500
readonly LOAD_TIME_MAX=300

quick=false
for flag in "$@"; do
  case "$flag" in
    --quick) quick=true ;;
    --full) export FANWIRE_FULL=1 ;;
    --require-all) export FANWIRE_REQUIRE_ALL=1 ;;
    -h | --help)
      sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    *)
      echo "tests/run.sh: unknown option $flag (--quick, --full, --require-all)" >&2
      exit 2
      ;;
  esac
done

# What a step returns when this machine lacks something; it has said what.
readonly SKIPPED=77
results=()
failed=0
broker_pid=

# shellcheck disable=SC2329 # called by the trap
end_broker() {
  if [[ -n "$broker_pid" ]]; then
    kill "$broker_pid" 2>/dev/null
    wait "$broker_pid" 2>/dev/null
    broker_pid=
  fi
}
trap end_broker EXIT
trap 'exit 130' INT TERM

# step NAME COMMAND...: runs it with its output shown and kept; notes result and duration.
step() {
  local name="$1" began="$SECONDS" status outcome log
  shift
  log="$LOGS/${name// /-}.log"
  printf '\n=== %s (at %s) ===\n' "$name" "$(duration "$SECONDS")"
  "$@" </dev/null 2>&1 | tee "$log"
  status="${PIPESTATUS[0]}"
  if [[ "$status" == "$SKIPPED" && "${FANWIRE_REQUIRE_ALL:-}" == 1 ]]; then
    status=1
  fi
  case "$status" in
    0) outcome=passed ;;
    "$SKIPPED") outcome=skipped ;;
    *)
      outcome=FAILED
      failed=$((failed + 1))
      ;;
  esac
  results+=("$(printf '%-8s %7s  %s' "$outcome" "$(duration $((SECONDS - began)))" "$name")")
  local reason
  while IFS= read -r reason; do
    results+=("                    $reason")
  done < <(sed -n 's/^skipped: /skipped: /p' "$log" | sort | uniq -c | sed 's/^ *\([0-9]*\) /\1 × /')
  return "$((status != 0))"
}

duration() {
  printf '%d:%02d' "$(($1 / 60))" "$(($1 % 60))"
}

has() {
  command -v "$1" >/dev/null 2>&1
}

missing_packages() {
  has chromium || has google-chrome || echo chromium
  has node || echo nodejs
  has npm || echo npm
  has python3 || echo python3
  python3 -c 'import ensurepip' 2>/dev/null || echo python3-venv
  has valgrind || echo valgrind
  has haproxy || echo haproxy
  has nginx || echo nginx-light
  has systemd-analyze || echo systemd
  has dpkg-shlibdeps || echo dpkg-dev
  has lintian || echo lintian
  [[ "${FANWIRE_FULL:-}" != 1 ]] || has mmdebstrap || echo mmdebstrap
}

install_packages() {
  local packages
  mapfile -t packages < <(missing_packages)
  if ((${#packages[@]} == 0)); then
    echo "nothing to install"
    return 0
  fi
  echo "missing: ${packages[*]}"
  if [[ "$(id -u)" != 0 ]] || ! has apt-get; then
    echo "skipped: as root, run: apt-get install --no-install-recommends ${packages[*]}"
    return "$SKIPPED"
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq && apt-get install -y -qq --no-install-recommends "${packages[@]}"
}

install_node_packages() {
  if ! has npm; then
    echo "skipped: npm is missing"
    return "$SKIPPED"
  fi
  npm ci --prefix tests/clients --ignore-scripts --no-audit --no-fund
}

install_python_packages() {
  local wanted=tests/clients/requirements.txt
  if ! python3 -c 'import ensurepip' 2>/dev/null; then
    echo "skipped: python3 with venv is missing"
    return "$SKIPPED"
  fi
  if cmp -s "$wanted" "$CLIENTS_PYTHON/installed.txt"; then
    echo "installed already"
    return 0
  fi
  python3 -m venv --clear "$CLIENTS_PYTHON" &&
    "$CLIENTS_PYTHON/bin/python" -m pip install --quiet --disable-pip-version-check -r "$wanted" &&
    cp "$wanted" "$CLIENTS_PYTHON/installed.txt"
}

# The cargo tests that need no other program: all but those of the two steps of their own. Always
# the whole workspace, so that no step builds the dependencies with other features again.
cargo_tests() {
  local targets=(--lib --bins) file name status=0
  for file in {,loadtest/}tests/{*.rs,*/main.rs}; do
    [[ -e "$file" ]] || continue
    name="$(basename "${file%/main.rs}" .rs)"
    case "$name" in
      clients | autobahn) ;;
      *) targets+=(--test "$name") ;;
    esac
  done
  cargo test --workspace "${targets[@]}" --no-fail-fast -- --show-output || status=1
  cargo test --workspace --doc || status=1
  return "$status"
}

client_tests() {
  # A browser, its script and a broker at a time fill two cores.
  cargo test --workspace --test clients -- --show-output --test-threads 2
}

autobahn_tests() {
  cargo test --workspace --test autobahn -- --show-output
}

# start_broker FOLDER: starts the broker that was built there.
start_broker() {
  local greeting="$LOGS/broker-greeting.txt" wait_seconds_max=30 began="$SECONDS"
  : >"$greeting"
  # To the broker every such variable is a configuration key.
  env -u FANWIRE_REQUIRE_ALL -u FANWIRE_FULL "$1/fanwire" --listen 127.0.0.1:0 >"$greeting" 2>"$LOGS/broker.log" &
  broker_pid=$!
  until url="$(sed -n 's/^fanwire listens on //p' "$greeting")" && [[ -n "$url" ]]; do
    if ! kill -0 "$broker_pid" 2>/dev/null || ((SECONDS - began > wait_seconds_max)); then
      cat "$LOGS/broker.log"
      return 1
    fi
    sleep 0.1
  done
}

load_test() {
  local limit sockets="$LOAD_SOCKETS" url status
  limit="$(ulimit -Hn)"
  if [[ "$limit" != unlimited ]]; then
    ulimit -Sn "$limit"
    if ((limit < sockets + LOAD_RESERVE)); then
      sockets=$((limit - LOAD_RESERVE))
      echo "the descriptor limit is $limit: $sockets sockets instead of $LOAD_SOCKETS"
    fi
  fi
  if ((sockets < 100)); then
    echo "skipped: a descriptor limit of $limit is too low for a load test"
    return "$SKIPPED"
  fi
  # The binaries that the cargo tests have built carry this load; a release build would take longer
  # than all of it.
  local built="$TARGET/debug"
  if [[ "${FANWIRE_FULL:-}" == 1 ]]; then
    built="$TARGET/release"
    cargo build --release --package fanwire --package fanwire-loadtest || return 1
  fi
  # The step runs in a subshell, which ends its own broker.
  trap end_broker EXIT
  start_broker "$built" || return 1
  timeout "$LOAD_TIME_MAX" "$built/fanwire-loadtest" \
    fanout --url "$url" --server-pid "$broker_pid" --subscribers "$sockets" --rate 5 --duration 5
  status=$?
  end_broker
  return "$status"
}

# Counts the build that ships: a lighter profile would be quicker to build, and guard other code.
instruction_counts() {
  cargo bench --bench instructions
}

mkdir -p "$LOGS" || exit 1
for tool in cargo cc; do
  if ! has "$tool"; then
    echo "tests/run.sh: $tool is not on PATH: install Rust (rustup) and a C compiler first" >&2
    exit 1
  fi
done

if "$quick"; then
  step "cargo tests" cargo_tests
else
  step "Debian packages" install_packages
  step "npm packages" install_node_packages
  step "Python packages" install_python_packages
  step "format" cargo fmt --all --check
  step "lints" cargo clippy --workspace --all-targets -- -D warnings
  step "cargo tests" cargo_tests
  step "real clients" client_tests
  step "Autobahn" autobahn_tests
  step "load test" load_test
  step "instructions" instruction_counts
fi

printf '\n=== summary after %s ===\n' "$(duration "$SECONDS")"
printf '%s\n' "${results[@]}"
if ((failed > 0)); then
  echo "$failed failed; their output is in $LOGS"
  exit 1
fi
