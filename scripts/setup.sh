# shellcheck shell=bash
# Sourced by train.sh and test.sh. Creates or updates the project's environment, and does nothing if
# it is up to date. Settings:
#   PYTHON=/path/to/python3.12   interpreter for the environment
#   TORCH=2.14.1                 another PyTorch version than the pinned one, in .venv-torch-2.14.1
# pip's own variables (PIP_INDEX_URL, PIP_FIND_LINKS, ...) are respected. Compatible with bash 3.2,
# the version that macOS ships.

root="$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
environment=".venv${TORCH:+-torch-$TORCH}"
venv="$root/$environment"
stamp="$venv/brainnet.stamp"
log="$root/.venv.log"
lock="$root/.venv.lock"

say() { printf 'brainnet: %s\n' "$*" >&2; }
fail() {
    say "$*"
    exit 1
}

# Print the version of an interpreter, or fail if it does not run.
print_version() { "$1" -I -S -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null; }

# Every version in constraints.txt has wheels for these Python versions.
is_supported() {
    case "$1" in
        3.11.* | 3.12.* | 3.13.* | 3.14.*) return 0 ;;
        *) return 1 ;;
    esac
}

# Set `python` to a supported interpreter, or fail with one line.
find_python() {
    local candidate version
    if [ -n "${PYTHON:-}" ]; then
        version="$(print_version "$PYTHON")" ||
            fail "PYTHON=$PYTHON does not run; brainnet needs Python 3.11 to 3.14"
        is_supported "$version" ||
            fail "PYTHON=$PYTHON is Python $version; brainnet needs Python 3.11 to 3.14"
        python="$PYTHON"
        return
    fi
    for candidate in python3 python3.13 python3.12 python3.11 python3.14 python; do
        version="$(print_version "$candidate")" || continue
        if is_supported "$version"; then
            python="$candidate"
            return
        fi
    done
    fail "no Python 3.11 to 3.14 found; install one, or name it: PYTHON=/path/to/python3.12 $0"
}

# Print everything that an up-to-date environment depends on.
# Arguments: the Python version, the extra ("" or "dev").
describe_environment() {
    printf '%s\n' "place $root" "python $1" "pyproject $(cksum <"$root/pyproject.toml")" \
        "constraints $(cksum <"$root/constraints.txt")" "extra $2"
}

# An environment with the development tools also serves for training.
is_up_to_date() {
    local version installed
    [ -f "$stamp" ] && version="$(print_version "$venv/bin/python")" || return 1
    [ -z "${PYTHON:-}" ] || [ "$version" = "$(print_version "$PYTHON")" ] || return 1
    installed="$(cat "$stamp")"
    [ "$installed" = "$(describe_environment "$version" "$1")" ] ||
        [ "$installed" = "$(describe_environment "$version" dev)" ]
}

# Print why the environment must be created again, or nothing if it can be updated.
print_rebuild_reason() {
    local version
    [ -d "$venv" ] || { echo "there is none yet" && return; }
    version="$(print_version "$venv/bin/python")" || { echo "its Python does not run" && return; }
    is_supported "$version" || { echo "its Python is $version" && return; }
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 || { echo "it is incomplete" && return; }
    if [ -n "${PYTHON:-}" ] && [ "$version" != "$(print_version "$PYTHON")" ]; then
        echo "its Python is $version"
    elif [ -f "$stamp" ] && [ "$(head -n 1 "$stamp")" != "place $root" ]; then
        echo "it was moved here from $(sed -n '1s/^place //p' "$stamp")"
    fi
}

# Only one process sets up at a time. The lock file contains the process number of its owner.
acquire_lock() {
    local owner announced=""
    [ -w "$root" ] || fail "cannot write to $root, where the environment $environment belongs"
    until (set -o noclobber && echo "$$" >"$lock") 2>/dev/null; do
        owner="$(cat "$lock" 2>/dev/null || true)"
        if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; then
            rm -f "$lock" # its owner was killed
            continue
        fi
        [ -n "$announced" ] ||
            say "waiting for another setup, process ${owner:-unknown} (if none runs, delete $lock)"
        announced=yes
        sleep 1
    done
    trap 'rm -f "$lock"' EXIT
}

release_lock() {
    rm -f "$lock"
    trap - EXIT
}

create_environment() {
    local reason python
    reason="$(print_rebuild_reason)"
    [ -n "$reason" ] || return 0
    find_python
    say "creating $environment with Python $(print_version "$python") ($reason)"
    "$python" -m venv --clear "$venv" >>"$log" 2>&1 </dev/null ||
        fail "could not create $environment with $python (on Debian, install python3-venv); details: $log"
}

# Write the constraints of this environment to $1. Another PyTorch requires other versions of Triton
# and setuptools.
write_constraints() {
    if [ -n "${TORCH:-}" ]; then
        sed -e '/^triton==/d' -e '/^setuptools==/d' -e "s/^torch==.*/torch==$TORCH/" "$root/constraints.txt" >"$1"
    else
        cp "$root/constraints.txt" "$1"
    fi
}

install_packages() {
    local version constraints="$environment/constraints.txt" began=$SECONDS
    say "installing the pinned packages; the first time takes some minutes (progress: $log)"
    version="$(print_version "$venv/bin/python")"
    echo "place $root" >"$stamp" # so that an interrupted installation is recognized after a move
    write_constraints "$root/$constraints"
    # Variables instead of options, because they also apply to the builds that pip starts; a
    # relative path, because pip splits these variables at spaces.
    (
        cd "$root" && PIP_CONSTRAINT="$constraints" PIP_BUILD_CONSTRAINT="$constraints" PIP_USER=0 \
            "$environment/bin/python" -m pip install --no-input --disable-pip-version-check \
            --editable ".${1:+[$1]}"
    ) >>"$log" 2>&1 </dev/null || explain_failed_installation
    describe_environment "$version" "$1" >"$stamp"
    say "the environment is ready ($((SECONDS - began)) s)"
}

explain_failed_installation() {
    local unreachable='NewConnectionError|ConnectTimeout|NameResolution|ProxyError|SSLError'
    if grep -q -E "$unreachable|No matching distribution" "$log"; then
        fail "could not fetch the packages: is there a network connection? pip's output: $log"
    fi
    fail "could not install the packages; pip's output: $log"
}

# Print everything that the compiled kernels depend on, including which compiler is installed.
describe_kernels() {
    cat "$stamp" "$root"/brainnet/kernels/{*.cpp,*.h,build.py} 2>/dev/null | cksum
    command -v "${CXX:-c++}" g++ clang++ c++ || true
}

# The C++ kernels only make networks faster: without a compiler, everything still works.
build_kernels() {
    local wanted began=$SECONDS kernels_stamp="$venv/brainnet-kernels.stamp"
    wanted="$(describe_kernels)"
    [ "$wanted" != "$(cat "$kernels_stamp" 2>/dev/null || true)" ] || return 0
    say "building the C++ kernels (once); they make networks faster"
    if "$venv/bin/brainnet" kernels build >>"$log" 2>&1 </dev/null; then
        say "the C++ kernels are ready ($((SECONDS - began)) s)"
    else
        say "no C++ kernels (reason: end of $log); PyTorch's own operations are used instead"
    fi
    echo "$wanted" >"$kernels_stamp"
}

# Set up the environment. Argument: "" for training, "dev" to add the tools for tests and linting.
set_up() {
    if ! is_up_to_date "$1"; then
        acquire_lock
        if ! is_up_to_date "$1"; then # another process may have finished meanwhile
            : >"$log"
            create_environment
            install_packages "$1"
        fi
        release_lock
    fi
    build_kernels
}
