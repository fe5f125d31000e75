#!/bin/sh
# Moves the testbed, and with it the table of facts about types, to another Kubernetes version:
#   testbed/upgrade.sh v1.37.0
set -eu

[ $# -eq 1 ] || { echo "usage: $0 vMAJOR.MINOR.PATCH" >&2; exit 2; }
cd "$(dirname "$0")"
staging="v0.${1#v*.}"

upstream=$(go mod download -json "k8s.io/kubernetes@$1" | sed -n 's/^\t"GoMod": "\(.*\)",*$/\1/p')
[ -n "$upstream" ] || { echo "$0: there is no k8s.io/kubernetes@$1" >&2; exit 1; }
etcd=$(sed -n 's/^\tgo\.etcd\.io\/etcd\/client\/v3 \(v[^ ]*\).*$/\1/p' "$upstream")

{
    sed -n '1,/^module /p' go.mod
    echo
    sed -n '/^go /p' "$upstream"
    echo
    sed -n '/^\/\/ k8s.io\/kubernetes names/,/^replace (/p' go.mod
    sed -n '/^replace (/,/^)/s/^\t\(k8s\.io\/[^ ]*\) => .*$/\t\1 => \1 '"$staging"'/p' "$upstream"
    echo ')'
} > go.mod.new
mv go.mod.new go.mod
go get "k8s.io/kubernetes@$1" "go.etcd.io/etcd/server/v3@$etcd"
go mod tidy
go vet ./...

facts=../src/sandbox/types/facts.json.gz
"$(./build.sh)" facts > "$facts.new"
mv "$facts.new" "$facts"
go test -count=1 ./facts
# What kubectl explain tells; it is taken from the control plane that was just built.
(cd .. && WAM_WRITE_DESCRIPTIONS=1 cargo test --quiet --test kubectl_session kubectl_cannot)
echo "now at Kubernetes $1, etcd $etcd; look at the differences in $facts before committing"
