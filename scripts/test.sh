#!/usr/bin/env bash
# Run the tests: set up the project's environment if necessary, then run pytest from the root.
#
#   scripts/test.sh                   all tests except the slow ones, in several processes
#   scripts/test.sh -m slow           the slow tests
#   scripts/test.sh tests/kernels -x  any pytest arguments, in one process unless -n says otherwise
#   TORCH=2.14.1 scripts/test.sh      with another PyTorch version, in an environment of its own
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail

# shellcheck source=scripts/setup.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

set_up dev
cd "$root"
# With arguments, one process: a few tests finish sooner, and -s and --pdb work.
[ "$#" -gt 0 ] || set -- --numprocesses auto --maxprocesses 4 --dist worksteal
exec "$venv/bin/python" -m pytest "$@"
