#!/usr/bin/env bash
# Runs all tests on a machine that has Rust. What else the suites need is found or installed here:
# redis-server (Debian's package) and, where Go is found, the testbed (a real etcd, kube-apiserver and
# kube-controller-manager) and Helm, built from their Go modules. What cannot be had is named at the end; with CI=true
# a suite that did not run is a failure.
#
#   ./test.sh                 everything
#   ./test.sh --test walk     arguments go to `cargo test`
set -euo pipefail
cd "$(dirname "$0")"

missing=()
export WAM_SKIPPED="${WAM_SKIPPED:-$(mktemp)}"
: >"$WAM_SKIPPED"

if ! command -v redis-server >/dev/null; then
    echo "== installing redis-server"
    if command -v apt-get >/dev/null; then
        as_root=()
        [ "$(id -u)" = 0 ] || as_root=(sudo -n)
        { "${as_root[@]}" apt-get update -qq && "${as_root[@]}" apt-get install -y -qq redis-server >/dev/null; } ||
            echo "   apt-get could not install it"
    fi
    command -v redis-server >/dev/null ||
        missing+=("redis-server (7.0 or newer): the store's and the recovery suites did not run")
fi

if [ -n "${KUBEBUILDER_ASSETS:-}" ] || command -v go >/dev/null; then
    echo "== building the testbed (several minutes the first time; cached afterwards)"
    testbed/build.sh >/dev/null || missing+=("the testbed: testbed/build.sh failed, see above")
else
    missing+=("Go 1.26 or newer: the suites on a real control plane did not run")
fi

if command -v go >/dev/null; then
    echo "== building Helm (a minute or two the first time; cached afterwards)"
    tools/helm/build.sh >/dev/null || missing+=("Helm: tools/helm/build.sh failed, see above")
else
    missing+=("Go 1.26 or newer: the suites of the Helm chart did not run")
fi

status=0
if command -v go >/dev/null && [ $# -eq 0 ]; then
    echo "== go test (the facts about types)"
    (cd testbed && CGO_ENABLED=0 go test -count=1 ./facts) || status=$?
fi

echo "== cargo test"
cargo test --locked "$@" || status=$?

sort -u "$WAM_SKIPPED" | while IFS= read -r line; do [ -z "$line" ] || echo "NOT RUN: $line"; done
for line in "${missing[@]}"; do echo "NOT RUN: $line"; done
if [ "${CI:-}" = true ] && { [ ${#missing[@]} -gt 0 ] || [ -s "$WAM_SKIPPED" ]; }; then
    echo "CI=true: a suite that did not run is a failure"
    exit 1
fi
exit "$status"
