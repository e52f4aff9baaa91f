#!/usr/bin/env bash
# Run the tests: set up the project's own environment where needed, then run pytest from the root.
#
#   scripts/test.sh                   every test but the slow ones
#   scripts/test.sh -m slow           the slow ones
#   scripts/test.sh tests/kernels -x  any arguments of pytest
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail

# shellcheck source=scripts/setup.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

set_up dev
cd "$root"
exec "$venv/bin/python" -m pytest "$@"
