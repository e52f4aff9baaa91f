# shellcheck shell=bash
# Sourced by train.sh and test.sh: makes the project's own environment (.venv) right, and does
# nothing where it is. PYTHON=... chooses the interpreter; pip's own variables (PIP_INDEX_URL,
# PIP_FIND_LINKS, ...) are honoured. Kept to bash 3.2, which is what macOS has.

root="$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
venv="$root/.venv"
stamp="$venv/brainnet.stamp"
log="$root/.venv.log"
lock="$root/.venv.lock"

say() { printf 'brainnet: %s\n' "$*" >&2; }
fail() {
    say "$*"
    exit 1
}

# The version of an interpreter that runs; nothing and failure for one that does not.
version_of() { "$1" -I -S -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null; }

# The range that the pinned versions in constraints.txt have been built for.
is_supported() {
    case "$1" in
        3.11.* | 3.12.* | 3.13.* | 3.14.*) return 0 ;;
        *) return 1 ;;
    esac
}

# Set `python` to an interpreter that will do, or end with one line.
find_python() {
    local candidate version
    if [ -n "${PYTHON:-}" ]; then
        version="$(version_of "$PYTHON")" ||
            fail "PYTHON=$PYTHON does not run; brainnet needs Python 3.11 to 3.14"
        is_supported "$version" ||
            fail "PYTHON=$PYTHON is Python $version; brainnet needs Python 3.11 to 3.14"
        python="$PYTHON"
        return
    fi
    for candidate in python3 python3.13 python3.12 python3.11 python3.14 python; do
        version="$(version_of "$candidate")" || continue
        if is_supported "$version"; then
            python="$candidate"
            return
        fi
    done
    fail "no Python 3.11 to 3.14 found; install one, or name it: PYTHON=/path/to/python3.12 $0"
}

# What a right environment is made from. Arguments: the Python version, the extra ("" or "dev").
wanted() {
    printf '%s\n' "place $root" "python $1" "pyproject $(cksum <"$root/pyproject.toml")" \
        "constraints $(cksum <"$root/constraints.txt")" "extra $2"
}

# Whether .venv has everything for the extra. One with the developers' tools is right for everybody.
is_right() {
    local version found
    [ -f "$stamp" ] && version="$(version_of "$venv/bin/python")" || return 1
    [ -z "${PYTHON:-}" ] || [ "$version" = "$(version_of "$PYTHON")" ] || return 1
    found="$(cat "$stamp")"
    [ "$found" = "$(wanted "$version" "$1")" ] || [ "$found" = "$(wanted "$version" dev)" ]
}

# Why .venv cannot be kept and added to; nothing when it can.
reason_to_rebuild() {
    local version
    [ -d "$venv" ] || { echo "there is none yet" && return; }
    version="$(version_of "$venv/bin/python")" || { echo "its Python does not run" && return; }
    is_supported "$version" || { echo "its Python is $version" && return; }
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 || { echo "it is incomplete" && return; }
    if [ -n "${PYTHON:-}" ] && [ "$version" != "$(version_of "$PYTHON")" ]; then
        echo "its Python is $version"
    elif [ -f "$stamp" ] && [ "$(head -n 1 "$stamp")" != "place $root" ]; then
        echo "it was moved here from $(sed -n '1s/^place //p' "$stamp")"
    fi
}

# One set-up at a time: the file appears in one step and holds the process number of its owner.
take_lock() {
    local owner told=""
    [ -w "$root" ] || fail "cannot write to $root, where the environment .venv belongs"
    until (set -o noclobber && echo "$$" >"$lock") 2>/dev/null; do
        owner="$(cat "$lock" 2>/dev/null || true)"
        if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; then
            rm -f "$lock" # left behind by a set-up that was killed
            continue
        fi
        [ -n "$told" ] ||
            say "waiting for another set-up, process ${owner:-unknown} (if none runs, delete $lock)"
        told=yes
        sleep 1
    done
    trap 'rm -f "$lock"' EXIT
}

release_lock() {
    rm -f "$lock"
    trap - EXIT
}

make_environment() {
    local reason python
    reason="$(reason_to_rebuild)"
    [ -n "$reason" ] || return 0
    find_python
    say "making .venv with Python $(version_of "$python") ($reason)"
    "$python" -m venv --clear "$venv" >>"$log" 2>&1 </dev/null ||
        fail "could not make .venv with $python (on Debian, install python3-venv); details: $log"
}

install_packages() {
    local version began=$SECONDS
    say "installing the pinned packages; the first time takes some minutes (follow it in $log)"
    version="$(version_of "$venv/bin/python")"
    echo "place $root" >"$stamp" # an interrupted installation still knows where it belongs
    # As variables, not options, because so the pins also hold for the builds that pip starts by
    # itself; by relative path, because pip splits these variables at spaces.
    (
        cd "$root" && PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt PIP_USER=0 \
            .venv/bin/python -m pip install --no-input --disable-pip-version-check \
            --editable ".${1:+[$1]}"
    ) >>"$log" 2>&1 </dev/null || explain_failed_installation
    wanted "$version" "$1" >"$stamp"
    say "the environment is ready ($((SECONDS - began)) s)"
}

explain_failed_installation() {
    local unreachable='NewConnectionError|ConnectTimeout|NameResolution|ProxyError|SSLError'
    if grep -q -E "$unreachable|No matching distribution" "$log"; then
        fail "could not fetch the packages: is there a network connection? pip's own words: $log"
    fi
    fail "could not install the packages; pip's own words: $log"
}

# What the built kernels depend on; a compiler that comes later is noticed.
wanted_kernels() {
    cat "$root/constraints.txt" "$root"/brainnet/kernels/{*.cpp,*.h,build.py} 2>/dev/null | cksum
    command -v "${CXX:-c++}" g++ clang++ c++ || true
}

# The C++ kernels make networks faster and nothing else: without a compiler all goes on.
build_kernels() {
    local wanted began=$SECONDS stamp_of_kernels="$venv/brainnet-kernels.stamp"
    wanted="$(wanted_kernels)"
    [ "$wanted" != "$(cat "$stamp_of_kernels" 2>/dev/null || true)" ] || return 0
    say "building the C++ kernels, once; they make networks faster"
    if "$venv/bin/brainnet" kernels build >>"$log" 2>&1 </dev/null; then
        say "the C++ kernels are ready ($((SECONDS - began)) s)"
    else
        say "no C++ kernels (why: the end of $log): PyTorch's own operations compute in their place"
    fi
    echo "$wanted" >"$stamp_of_kernels"
}

# The door. Argument: "" for what training needs, "dev" for the tests' and linters' tools as well.
set_up() {
    if ! is_right "$1"; then
        take_lock
        if ! is_right "$1"; then # another process may have made it meanwhile
            : >"$log"
            make_environment
            install_packages "$1"
        fi
        release_lock
    fi
    build_kernels
}
