#!/bin/sh
# Builds Helm from its Go module, if it is not built yet, and prints the path of the binary. Nothing is written
# into the source tree: a build lives in the cache under the hash of what it is made of.
set -eu

cd "$(dirname "$0")"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/wam/helm"

if command -v sha256sum >/dev/null 2>&1; then hash="sha256sum"; else hash="shasum -a 256"; fi
key=$(printf '%s\n' go.mod go.sum build.sh | LC_ALL=C sort | xargs $hash | $hash | cut -c1-16)
home="$cache/$key"

if [ -x "$home/helm" ]; then
    touch "$home" # in use: see the end
    echo "$home/helm"
    exit 0
fi
if [ "${1:-}" = "--if-built" ]; then
    echo "helm: not built yet; run tools/helm/build.sh" >&2
    exit 3
fi
if ! command -v go >/dev/null 2>&1; then
    echo "helm: Go is not installed (https://go.dev/dl/, version $(sed -n 's/^go //p' go.mod) or newer); helm is built from its Go module" >&2
    exit 4
fi

version=$(sed -n 's/^.*helm\.sh\/helm\/v3 \(v[0-9.]*\).*$/\1/p' go.mod | head -n 1)
# What helm believes of a cluster that it is not connected to (`helm template`, `helm lint`): its client's version.
client=$(sed -n 's/^.*k8s\.io\/client-go v0\.\([0-9]*\)\.\([0-9]*\).*$/\1/p' go.mod | head -n 1)
stamp="-X helm.sh/helm/v3/internal/version.version=$version"
for of in lint/rules chartutil; do
    stamp="$stamp -X helm.sh/helm/v3/pkg/$of.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/$of.k8sVersionMinor=$client"
done

mkdir -p "$cache"
# Whole or not at all: several builds may run at once, and one may be interrupted.
partial=$(mktemp -d "$cache/partial.XXXXXX")
trap 'rm -rf "$partial"' EXIT
trap 'exit 1' INT TERM
echo "helm: building $version (a minute or two the first time)" >&2
CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -trimpath -ldflags "-s -w $stamp" -o "$partial/helm" helm.sh/helm/v3/cmd/helm >&2
chmod 755 "$partial"
if ! mv -T "$partial" "$home" 2>/dev/null && ! [ -x "$home/helm" ]; then
    mv "$partial" "$home" # a mv without -T; the same but for the race
fi

# A build is 60 MB: keep this one and the one before it.
ls -dt "$cache"/*/ | grep -v '/partial\.' | tail -n +3 | while read -r old; do rm -rf "$old"; done
echo "$home/helm"
