#!/usr/bin/env bash
# Every check that CI runs, in the order in which it fails fastest. Closes with minutes per phase and one line of counts.
#
# A phase that only checks does not stop the others, so that one run shows everything that is wrong; without the set-up or the
# build there is nothing to check, and the run ends there.
set -uo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/leadline/target}"
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-$([ -t 1 ] && echo auto || echo never)}"
export LEADLINE_TOOLS="${LEADLINE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/leadline/tools}"
export LEADLINE_TEMPORAL_BIN="$PWD/temporal-dev/bin/temporal"
export LEADLINE_BIN="$CARGO_TARGET_DIR/debug/leadline"

results=$(mktemp -d)
touch "$results/cargo-test"
trap 'rm -rf "$results"' EXIT
failed_phases=()
phase_table=()

phase() { # name, command...
    local name=$1 started=$SECONDS status=0 verdict=ok
    shift
    echo
    echo "== $name"
    "$@" || status=$?
    local seconds=$((SECONDS - started))
    if [ "$status" -ne 0 ]; then
        verdict=FAILED
        failed_phases+=("$name")
    fi
    phase_table+=("$(printf '%-34s %6d.%02d  %s' "$name" $((seconds / 60)) $((seconds % 60 * 100 / 60)) "$verdict")")
    return "$status"
}

cargo_test() { # arguments of cargo test; the counts are kept for the closing line
    cargo test --locked --no-fail-fast "$@" 2>&1 | tee -a "$results/cargo-test"
}

counted() { # passed or failed: how many tests ended so, over all test binaries
    awk -v what="$1" '/^test result:/ { for (i = 2; i <= NF; i++) if ($i == what ";") sum += $(i - 1) } END { print sum + 0 }' \
        "$results/cargo-test"
}

close() {
    echo
    printf '%-34s %9s  %s\n' phase minutes verdict
    printf '%s\n' "${phase_table[@]}"
    printf '%-34s %6d.%02d\n' total $((SECONDS / 60)) $((SECONDS % 60 * 100 / 60))
    [ ${#failed_phases[@]} -eq 0 ] || printf 'failed: %s\n' "${failed_phases[@]}"
    echo "$(counted passed) passed, $(counted failed) failed"
    [ ${#failed_phases[@]} -eq 0 ]
}

phase "set-up" env WITH_TEST_TOOLS=1 tools/setup.sh || { close; exit 1; }
phase "third-party clients" tests/tools/install.sh || { close; exit 1; }
phase "format" cargo fmt --all --check
phase "lint" cargo clippy --locked --workspace --all-targets -- -D warnings
# One selection of packages throughout: with another, Cargo would resolve other features and build much of the tree once more.
# It builds the binary too, since the tests of leadline-cli run it.
phase "build" cargo test --locked --workspace --no-run || { close; exit 1; }
phase "tests" cargo_test --workspace
close
