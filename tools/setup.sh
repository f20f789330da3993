#!/usr/bin/env bash
# Installs or checks what leadline stands on. Idempotent: when everything is there it takes a second and changes nothing.
# On Debian, as root, it installs packages itself; elsewhere it says exactly what to install and stops.
set -euo pipefail
cd "$(dirname "$0")/.."

missing_packages=()
missing_programs=()

has() { command -v "$1" >/dev/null 2>&1; }

postgres_server_present() {
    has postgres || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null ||
        { has pg_config && [ -x "$(pg_config --bindir)/postgres" ]; }
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
    has cargo || need_program cargo "install Rust 1.95 or later from https://rustup.rs"
    has go || need_program go "install Go 1.26 or later from https://go.dev/dl (it builds the pinned Temporal server)"
}

check_packages() {
    postgres_server_present || need_package postgresql "the system of record"
    has protoc || need_package protobuf-compiler "the Temporal SDK compiles its protocol with it"
    [ -f /usr/include/google/protobuf/duration.proto ] || ! has apt-get || need_package libprotobuf-dev "protoc's own files"
    has cc || need_package build-essential "C compiler and linker"
    if [ "${WITH_TEST_TOOLS:-}" = 1 ]; then
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

check_toolchains
check_packages
install_packages
if [ ${#missing_packages[@]} -ne 0 ] || [ ${#missing_programs[@]} -ne 0 ]; then
    exit 1
fi
temporal-dev/build.sh
