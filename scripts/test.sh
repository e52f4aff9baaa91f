#!/usr/bin/env bash
# Run the tests: set up the project's own environment where needed, then run pytest from the root.
#
#   scripts/test.sh                   every test but the slow ones, in several processes
#   scripts/test.sh -m slow           the slow ones
#   scripts/test.sh tests/kernels -x  any arguments of pytest, in one process unless -n says else
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail

# shellcheck source=scripts/setup.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

set_up dev
cd "$root"
# A few tests are done sooner in one process, where -s and --pdb work, too.
[ "$#" -gt 0 ] || set -- --numprocesses auto --maxprocesses 4 --dist worksteal
exec "$venv/bin/python" -m pytest "$@"
