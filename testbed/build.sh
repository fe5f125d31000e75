#!/bin/sh
# Builds the testbed, if it is not built yet, and prints the path of its binary. Nothing is written into
# the source tree: a build lives in the cache under the hash of what it is made of, with links beside it
# for each program that it can be.
set -eu

cd "$(dirname "$0")"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/wam/testbed"

if command -v sha256sum >/dev/null 2>&1; then hash="sha256sum"; else hash="shasum -a 256"; fi
# The sources that make the binary, by content; tests and prose do not.
key=$(find . -name '*.go' ! -name '*_test.go' -o -name go.mod -o -name go.sum -o -name build.sh | LC_ALL=C sort | xargs $hash | $hash | cut -c1-16)
home="$cache/$key"

if [ -x "$home/testbed" ]; then
    touch "$home" # in use: see the end
    echo "$home/testbed"
    exit 0
fi
if [ "${1:-}" = "--if-built" ]; then
    echo "testbed: not built yet; run testbed/build.sh" >&2
    exit 3
fi
if ! command -v go >/dev/null 2>&1; then
    echo "testbed: Go is not installed (https://go.dev/dl/, version $(sed -n 's/^go //p' go.mod) or newer); the testbed is a Go program" >&2
    exit 4
fi

version=$(sed -n 's/^.*k8s\.io\/kubernetes v\([0-9.]*\)$/\1/p' go.mod)
minor=${version#*.}
stamp="-X k8s.io/component-base/version.gitVersion=v$version"
stamp="$stamp -X k8s.io/component-base/version.gitMajor=${version%%.*} -X k8s.io/component-base/version.gitMinor=${minor%%.*}"
stamp="$stamp -X k8s.io/component-base/version.gitTreeState=clean"

mkdir -p "$cache"
# Whole or not at all: several builds may run at once, and one may be interrupted.
partial=$(mktemp -d "$cache/partial.XXXXXX")
trap 'rm -rf "$partial"' EXIT
trap 'exit 1' INT TERM
echo "testbed: building Kubernetes v$version (some minutes the first time)" >&2
CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -trimpath -ldflags "-s -w $stamp" -o "$partial/testbed" . >&2
for name in etcd kube-apiserver kube-controller-manager kube-scheduler kubectl; do
    ln -s testbed "$partial/$name"
done
chmod 755 "$partial"
if ! mv -T "$partial" "$home" 2>/dev/null && ! [ -x "$home/testbed" ]; then
    mv "$partial" "$home" # a mv without -T; the same but for the race
fi

# A build is 170 MB: keep this one and the two before it.
ls -dt "$cache"/*/ | grep -v '/partial\.' | tail -n +4 | while read -r old; do rm -rf "$old"; done
echo "$home/testbed"
