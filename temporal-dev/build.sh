#!/usr/bin/env bash
# Builds the pinned Temporal server, CLI and UI (one binary) and links it as temporal-dev/bin/temporal.
#
# The binary itself lies in a cache outside the checkout, under the hash of what determines it, because it takes minutes to
# build and never changes until go.sum does: a second clone, or a cleaned one, only makes the link.
set -euo pipefail
cd "$(dirname "$0")"

cache_home="${XDG_CACHE_HOME:-$HOME/.cache}"
pin=$(cat go.mod go.sum build.sh | sha256sum | cut -c1-16)
built="$cache_home/leadline/temporal/$pin/temporal"

if [ ! -x "$built" ]; then
    echo "temporal: building the pinned server from source (about 4 minutes, once for each version)"
    mkdir -p "$(dirname "$built")"
    # Built beside its final name and renamed, so that an interrupted build never looks like a finished one.
    version=$(go list -m -f '{{.Version}}' github.com/temporalio/cli)
    flags="-s -w -X github.com/temporalio/cli/temporalcli.Version=${version#v}"
    go build -ldflags "$flags" -o "$built.$$" github.com/temporalio/cli/cmd/temporal
    mv "$built.$$" "$built"
fi
mkdir -p bin
ln -sfn "$built" bin/temporal
echo "temporal: $(bin/temporal --version)"
