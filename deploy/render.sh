#!/bin/sh
# Renders the plain manifests, deploy/wam and deploy/wam-scheduler, from the chart: for `kubectl apply -f`, without Helm.
#
#   deploy/render.sh           writes them
#   deploy/render.sh FOLDER    writes them below FOLDER (tests/deploy_chart.rs compares)
set -eu

deploy=$(cd "$(dirname "$0")" && pwd)
to=${1:-$deploy}
helm=${HELM:-$("$deploy/../tools/helm/build.sh")}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for name in wam wam-scheduler; do
    "$helm" template "$name" "$deploy/chart" --namespace default --values "$deploy/plain/$name.yaml" --output-dir "$work/$name" >/dev/null
    rm -rf "${to:?}/$name"
    mkdir -p "$to/$name"
    for file in "$work/$name"/wam/templates/*.yaml; do
        {
            echo "# Rendered from deploy/chart by deploy/render.sh: change the chart, not this file."
            # No release of Helm's manages these.
            sed -e '/^# Source: /d' -e '/^ *helm\.sh\/chart: /d' -e '/^ *app\.kubernetes\.io\/managed-by: /d' "$file" | cat -s
        } >"$to/$name/$(basename "$file")"
    done
done
