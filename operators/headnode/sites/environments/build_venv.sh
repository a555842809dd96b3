#!/bin/bash
# build_venv.sh LOCK FOLDER PYTHON [--system-site-packages] [--wheels FOLDER] [--proxy URL] [--offline SOURCE]
#
# Prints the folder of a virtual environment that holds what LOCK says, and builds it where it is not there yet.
# Progress goes to standard error.
#
# Builders never share a folder: each builds in one of its own, and the link FOLDER/ready, made last, says which one
# counts. So nothing breaks where a lock reaches no further than a node (Lustre with localflock, BeeGFS by default) or
# where there is none; the lock, and a file beside each build that is touched while it goes on, save building twice.
set -u

lock=$1 folder=$2.$(uname -m) python=$3
shift 3
site_packages=() wheels='' proxy='' offline=''
while [ $# -gt 0 ]; do
  case $1 in
    --system-site-packages) site_packages=("$1"); shift;;
    --wheels) wheels=$2; shift 2;;
    --proxy) proxy=$2; shift 2;;
    --offline) offline=$2; shift 2;;
    *) echo "headnode: build_venv.sh does not know $1" >&2; exit 2;;
  esac
done

name=${folder##*/} host=$(uname -n) me="${SLURM_JOB_ID:+job $SLURM_JOB_ID on }$(uname -n)"
beat_seconds=${HEADNODE_BEAT_SECONDS:-10}
stale_seconds=$((beat_seconds * 9))
has_lock='' build=''

say() { echo "headnode: $*" >&2; }

# Whether the environment that counts runs and finds its packages; sets $venv.
usable() {
  local link
  link=$(readlink "$folder/ready") || return 1
  venv=$folder/$link
  "$venv/bin/python3" -I -c 'import os, sys, sysconfig; sys.exit(not os.path.isdir(sysconfig.get_path("purelib")))' \
    2>/dev/null
}

# Whether somebody is building in the folder $1.
goes_on() {
  local builder age
  builder=$(cat "$1.builder" 2>/dev/null) || return 1
  # The lock is kept for as long as its builder lives, at least within a node.
  if [ -n "$has_lock" ] && [ "${builder##* on }" = "$host" ]; then return 1; fi
  touch "$folder/now" || return 0
  age=$(($(stat -c %Y "$folder/now") - $(stat -c %Y "$1.builder" 2>/dev/null || echo 0)))
  [ "$age" -lt "$stale_seconds" ]
}

take_lock() {
  local began=$SECONDS
  exec 9>>"$folder/lock" || { say "$folder can't be written to"; exit 1; }
  while :; do
    flock -w "$beat_seconds" 9 2>/dev/null
    case $? in
      0) has_lock=yes; return;;
      1) say "waiting for $name, which is being built ($((SECONDS - began)) s so far): $(cat "$folder"/*.builder 2>/dev/null)";;
      *) say "$folder knows no locks; going on without"; return;;
    esac
    if usable; then return; fi
  done
}

wait_for_others() {
  local other
  for other in "$folder"/b.??????; do
    while [ -d "$other" ] && goes_on "$other"; do
      say "waiting for $name, which is being built: $(cat "$other.builder" 2>/dev/null)"
      sleep "$beat_seconds"
      if usable; then return; fi
    done
  done
}

beat() {
  while sleep "$beat_seconds" && kill -0 "$1" 2>/dev/null; do touch "$2.builder" 2>/dev/null; done
}

remove_dead_builds() {
  local other
  for other in "$folder"/b.??????; do
    if [ -d "$other" ] && [ "${other##*/}" != "$(readlink "$folder/ready")" ] && ! goes_on "$other"; then
      say "removing ${other##*/}, which was not finished or is not used any more"
      rm -rf "$other" "$other.builder"
    fi
  done
}

leave() {
  local status=$?
  if [ -n "${beating:-}" ]; then kill "$beating" 2>/dev/null; fi
  if [ -n "$build" ]; then
    rm -f "$build.builder"
    if [ "$(readlink "$folder/ready")" != "${build##*/}" ]; then rm -rf "$build"; fi
  fi
  exit "$status"
}

failed() {
  say "$name could not be built by $me: $1"
  if [ -n "$offline" ]; then
    say "there is no internet on $host, as far as is known ($offline): install from wheels, VirtualEnv(wheelhouse=...)," \
      "or build it on a login host that has: BuildEnvironmentOperator(where='login')"
  fi
  exit 1
}

fill() {
  local from=()
  if [ -n "$wheels" ]; then
    [ -d "$wheels" ] || failed "its wheelhouse $wheels is not there"
    from=(--no-index --find-links "$wheels")
    unset UV_FIND_LINKS UV_INDEX UV_INDEX_URL UV_EXTRA_INDEX_URL UV_DEFAULT_INDEX
  elif [ -n "$offline" ]; then
    export PIP_RETRIES="${PIP_RETRIES:-1}" PIP_TIMEOUT="${PIP_TIMEOUT:-10}" UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-10}"
  fi
  # Homes are small, and a build that was broken off finds here what it had fetched.
  export PIP_CACHE_DIR="${PIP_CACHE_DIR:-${folder%/*}/cache/pip}" UV_CACHE_DIR="${UV_CACHE_DIR:-${folder%/*}/cache/uv}"
  if command -v uv >/dev/null 2>&1; then
    say "building $name with $(uv --version), $("$interpreter" -V 2>&1), $(grep -c '^[A-Za-z0-9]' "$lock") packages"
    uv venv --quiet --no-project --python "$interpreter" ${site_packages[@]+"${site_packages[@]}"} "$build" || failed "uv venv ended with $?"
    uv pip install --python "$build/bin/python3" --compile-bytecode ${from[@]+"${from[@]}"} --requirement "$lock" \
      || failed "uv pip install ended with $?"
  else
    say "building $name with pip, $("$interpreter" -V 2>&1), $(grep -c '^[A-Za-z0-9]' "$lock") packages"
    "$interpreter" -m venv ${site_packages[@]+"${site_packages[@]}"} "$build" || failed "$interpreter -m venv ended with $?"
    "$build/bin/python3" -m pip ${wheels:+--isolated} install --no-input --disable-pip-version-check --progress-bar off \
      ${from[@]+"${from[@]}"} --requirement "$lock" || failed "pip install ended with $?"
  fi
}

if usable; then echo "$venv"; exit 0; fi
mkdir -p "$folder" || { say "$folder can't be made"; exit 1; }
interpreter=$(command -v "$python") || failed "there is no $python in PATH"

take_lock
if ! usable; then wait_for_others; fi
if usable; then echo "$venv"; exit 0; fi
if [ -L "$folder/ready" ]; then
  say "$name is there and does not run any more: its Python has changed, or files of it were removed"
  rm -f "$folder/ready"
fi
remove_dead_builds

trap leave EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
trap 'exit 129' HUP
build=$(mktemp -d "$folder/b.XXXXXX") || { build=''; failed "$folder can't be written to"; }
echo "$me" >"$build.builder"
beat $$ "$build" 9>&- >/dev/null 2>&1 &
beating=$!

# Neither the job's code nor what the user has installed at home belongs into it.
export PYTHONNOUSERSITE=1
unset PYTHONHOME PIP_USER PIP_TARGET PIP_PREFIX VIRTUAL_ENV
if [ ${#site_packages[@]} -eq 0 ] || [ -z "${PYTHONPATH:-}" ]; then
  unset PYTHONPATH
elif [ -n "${HEADNODE_CODE:-}" ]; then
  PYTHONPATH=:$PYTHONPATH:
  PYTHONPATH=${PYTHONPATH//":$HEADNODE_CODE:"/:}
fi
case $proxy in *://* | '') ;; *) proxy=http://$proxy;; esac
if [ -n "$proxy" ]; then export https_proxy="${https_proxy:-$proxy}" http_proxy="${http_proxy:-$proxy}"; fi

began=$SECONDS
fill >&2 9>&-
ln -sT "${build##*/}" "$folder/ready" 2>/dev/null
usable || failed "what was installed does not run"
if [ "$venv" = "$build" ]; then
  say "$name was built in $((SECONDS - began)) s"
else
  say "$name was built by another job meanwhile, and is used as that has left it"
fi
remove_dead_builds
echo "$venv"
