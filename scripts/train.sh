#!/usr/bin/env bash
# Train a network: set up the project's environment if necessary, then run `brainnet train`.
#
#   scripts/train.sh                                  digits, the default
#   scripts/train.sh data=moons network.hidden=[8,8]  any overrides
#   scripts/train.sh --help                           all keys
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set -euo pipefail

# shellcheck source=scripts/setup.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

set_up ""
exec "$venv/bin/brainnet" train "$@"
