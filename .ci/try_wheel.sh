#!/usr/bin/env bash
# Install a wheel into an environment of its own, and run the demo from there.
#
# $ .ci/try_wheel.sh dist/cpcnn-*.whl
#
# The libraries are those of .venv, which would take minutes to install again. Files named .pth
# there, which lead to the source tree, are not read from a folder that another .pth names.
set -euo pipefail
wheel=$(realpath "$1")
libraries=$(realpath "$(dirname "$0")/../.venv/lib/python3.11/site-packages")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3.11 -m venv "$work/env"
"$work/env/bin/pip" install -q --no-deps --no-index "$wheel"
echo "$libraries" > "$work/env/lib/python3.11/site-packages/libraries.pth"
cd "$work"
place=$("$work/env/bin/python" -c "import cpcnn_core; print(cpcnn_core.__file__)")
case $place in
    "$work"/*) ;;
    *)
        echo "expected cpcnn_core from the wheel, got $place"
        exit 1
        ;;
esac
"$work/env/bin/cpcnn" demo --out "$work/demo"
test -s "$work/demo/cells.png"
