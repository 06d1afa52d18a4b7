#!/bin/sh
# Prepares what the suites in tests/e2e need, on a bare Debian 12 with Rust: Node, Python, and the packages that the lock
# files name. Quick when all is there. Which registries serve is a matter of the user's own npm and pip configuration.
#
#   ROOKERY_VENV   where Python's packages go (default: ~/.cache/rookery/venv)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=${ROOKERY_VENV:-"$HOME/.cache/rookery/venv"}

# Commands that are missing, by the Debian packages that bring them.
packages=
command -v ip >/dev/null || packages="$packages iproute2"
command -v curl >/dev/null || packages="$packages curl"
command -v node >/dev/null || packages="$packages nodejs"
command -v npm >/dev/null || packages="$packages npm"
command -v python3 >/dev/null || packages="$packages python3"
python3 -c 'import ensurepip, venv' 2>/dev/null || packages="$packages python3-venv"
if [ -n "$packages" ]; then
    as_root=
    [ "$(id -u)" -eq 0 ] || as_root=sudo
    $as_root apt-get update -q
    # shellcheck disable=SC2086 # A list of words.
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -q --no-install-recommends $packages
fi

# Installed is what the lock file says, if it is older than its own mark.
node_dir="$here/e2e/node"
mark="$node_dir/node_modules/.rookery-installed"
if ! cmp -s "$node_dir/package-lock.json" "$mark"; then
    cd "$node_dir"
    # npm 9, Debian 12's, cannot read a lock file in which `overrides` replaces a dependency named by an address.
    case $(npm --version) in
        [1-9].*) npm exec --yes --package=npm@10.9.3 -- npm ci --no-progress ;;
        *) npm ci --no-progress ;;
    esac
    cp package-lock.json "$mark"
fi

requirements="$here/e2e/python/requirements.txt"
if ! cmp -s "$requirements" "$venv/.rookery-installed"; then
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements"
    cp "$requirements" "$venv/.rookery-installed"
fi
