#!/usr/bin/env bash
# Installs or checks what leadline stands on. Idempotent: when everything is there it takes a second and changes nothing.
# On Debian, as root, it installs packages itself; elsewhere it says exactly what to install and stops.
set -euo pipefail
cd "$(dirname "$0")/.."

missing_packages=()
missing_programs=()

has() { command -v "$1" >/dev/null 2>&1; }

at_least() { # version wanted, text whose first number is the version there
    local there
    there=$(grep -oE '[0-9]+(\.[0-9]+)*' <<<"$2" | head -n 1)
    [ -n "$there" ] && printf '%s\n' "$1" "$there" | sort -V -C
}

postgres_servers() { # every PostgreSQL server there, one path a line
    command -v postgres || true
    compgen -G '/usr/lib/postgresql/*/bin/postgres' || true
    if has pg_config && [ -x "$(pg_config --bindir)/postgres" ]; then echo "$(pg_config --bindir)/postgres"; fi
}

check_postgres() {
    local server servers
    servers=$(postgres_servers)
    if [ -z "$servers" ]; then
        need_package postgresql "the system of record"
        return
    fi
    while read -r server; do
        if at_least 15 "$("$server" --version)"; then return; fi
    done <<<"$servers"
    need_program "PostgreSQL 15 or later" "what is there is older; see https://www.postgresql.org/download"
}

need_package() { # package, what it is for
    missing_packages+=("$1")
    echo "setup: missing: $1 ($2)"
}

need_program() { # program, how to get it
    missing_programs+=("$1")
    echo "setup: missing: $1: $2"
}

check_toolchains() {
    has cargo && at_least 1.95 "$(cargo --version)" || need_program "Rust 1.95 or later" "install it from https://rustup.rs"
    has go && at_least 1.26 "$(go version)" ||
        need_program "Go 1.26 or later" "install it from https://go.dev/dl (it builds the pinned Temporal server)"
}

check_packages() {
    check_postgres
    has protoc || need_package protobuf-compiler "the Temporal SDK compiles its protocol with it"
    [ -f /usr/include/google/protobuf/duration.proto ] || ! has apt-get || need_package libprotobuf-dev "protoc's own files"
    has cc || need_package build-essential "C compiler and linker"
    if [ "${WITH_TEST_TOOLS:-}" = 1 ]; then
        has curl || need_package curl "the examples of README and docs/api.md, which run as printed"
        has jq || need_package jq "the examples of docs/api.md, which run as printed"
        has python3 || need_package python3 "the tests run third-party clients"
        python3 -c 'import venv, ensurepip' 2>/dev/null || need_package python3-venv "the tests run simple-salesforce and jsforce from a venv"
    fi
}

install_packages() {
    [ ${#missing_packages[@]} -eq 0 ] && return
    if [ "$(id -u)" = 0 ] && has apt-get; then
        echo "setup: installing ${missing_packages[*]} with apt-get"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends "${missing_packages[@]}" >/dev/null
        missing_packages=()
    elif has apt-get; then
        echo "setup: run this, then try again:  sudo apt-get install ${missing_packages[*]}"
    else
        echo "setup: install these with your package manager, then try again (Debian's names): ${missing_packages[*]}"
    fi
}

# Cargo takes a crate for built when its sources are older than what was built, also when that was another checkout's. The build
# directory is shared, so that a fresh clone need not build the dependencies again; our own crates are built anew in each.
claim_build_directory() {
    local target=${CARGO_TARGET_DIR:-target}
    mkdir -p "$target"
    if [ "$(cat "$target/checkout" 2>/dev/null)" != "$PWD" ]; then
        rm -rf "$target"/*/.fingerprint/leadline-*
        pwd >"$target/checkout"
    fi
}

check_toolchains
check_packages
install_packages
if [ ${#missing_packages[@]} -ne 0 ] || [ ${#missing_programs[@]} -ne 0 ]; then
    exit 1
fi
temporal-dev/build.sh
claim_build_directory
