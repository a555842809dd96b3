"""The locked step that submits a job, as the text that the host runs, and what it says."""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Final

from headnode.cluster.place import JobPlace
from headnode.cluster.secrets import JobSecrets, render_writing
from headnode.cluster.sweeping import LABELS_NAME
from headnode.errors import UnreadableAnswer
from headnode.slurm import commands

# sbatch hands its umask on to the job, which must have the user's own.
_STEP: Final = r"""
mask=$(umask)
umask 077
mkdir -p "$task" 2>/dev/null || { echo "unwritable $task"; return 0; }
exec 9>>"$task/.lock" || { echo "unwritable $task"; return 0; }
flock -w 150 9 2>"$task/flock.err"
case $? in
  0) ;;
  1) echo "locked"; return 0;;
  *) printf 'lockless %s\n' "$(tail -c 1000 "$task/flock.err" | base64 -w0)"; return 0;;
esac
trap '' HUP PIPE
touch "$task/owners"
if ! grep -qx "$owner" "$task/owners"; then
  printf '%s\n' "$owner" >> "$task/owners" || { echo "unwritable $task"; return 0; }
elif [ "$(tail -n 1 "$task/owners")" != "$owner" ]; then
  echo "superseded $(tail -n 1 "$task/owners")"; return 0
fi
if [ -s "$job/job_id" ]; then
  name=$key
  [ ! -s "$job/adopted" ] || name=$(cat "$job/adopted")
  printf 'directory %s\nkey %s\nadopted %s\n' "$task/$name" "$name" "$(cat "$job/job_id")"; return 0
fi
adoptable=
ids=
for other in "$task"/*-*/; do
  other=${other%/} name=${other##*/}
  case "$name" in "$owner"-*|'*-*'|*-checkpoint) continue;; esac
  if [ -s "$other/ended" ] || [ ! -d "$other" ]; then continue; fi
  if [ -s "$other/job_id" ]; then
    ids="$ids,$(cat "$other/job_id")"
    case " $adopt " in *" ${name%-*} "*)
      [ ! -s "$other/adopted" ] || name=$(cat "$other/adopted")
      if [ "$(cat "$task/$name/script.sh")" = "${script%$'\n'}" ]; then
        [ -n "$adoptable" ] && [ "${adoptable##*-}" -gt "${name##*-}" ] || adoptable=$name
      fi;;
    esac
  elif [ -s "$other/submitting" ]; then
    echo "unresolved $name $(cat "$other/submitting") $(( $(date +%s) - $(stat -c %Y "$other/submitting") ))"
    return 0
  fi
done
if [ -n "$ids" ]; then
  queue=$(env SLURM_BITSTR_LEN=0 squeue --noheader --jobs="$ids$ids" --format='%i|%Z' 2>"$task/squeue.err")
  status=$?
  if [ $status -ne 0 ]; then printf 'unseen %s\n' "$(tail -c 4000 "$task/squeue.err" | base64 -w0)"; return 0; fi
  earlier=
  while IFS='|' read -r id directory; do
    name=${directory%/work} name=${name##*/}
    [ "$directory" = "$task/$name/work" ] && [ "$name" != "$adoptable" ] || continue
    case "$name" in "$owner"-*) continue;; esac
    earlier="$earlier ${id%%[_+]*}"
  done <<< "$queue"
  if [ -n "$earlier" ]; then scancel $earlier; echo "earlier$earlier"; return 0; fi
  for other in "$task"/*-*/; do
    other=${other%/}
    case "${other##*/}" in "$owner"-*|"$adoptable"|*-checkpoint) ;;
      *) date +%s > "$other/ended"; [ ! -d "$root/secrets/${other##*/}" ] || rm -rf "$root/secrets/${other##*/}";;
    esac
  done
  if [ -n "$adoptable" ]; then
    mkdir -p "$job" && printf '%s\n' "$adoptable" > "$job/adopted" \
      && cat "$task/$adoptable/job_id" > "$job/job_id.new" && mv "$job/job_id.new" "$job/job_id" \
      || { echo "unwritable $job"; return 0; }
    printf 'directory %s\nkey %s\nadopted %s\n' "$task/$adoptable" "$adoptable" "$(cat "$job/job_id")"; return 0
  fi
fi
printf 'directory %s\nkey %s\n' "$job" "$key"
attempt=0
if [ -s "$job/submitting" ]; then
  attempt=$(cat "$job/submitting")
  if [ "$attempt" != "$resolved" ]; then
    echo "unresolved $key $attempt $(( $(date +%s) - $(stat -c %Y "$job/submitting") ))"; return 0
  fi
fi
if [ -n "$code" ] && [ ! -d "$root/code/$code" ]; then echo "nocode"; return 0; fi
if [ -n "$refused_secrets" ]; then echo "nosecrets"; return 0; fi
mkdir -p "$job/work" || { echo "unwritable $job"; return 0; }
if [ -n "$code" ]; then cp -R "$root/code/$code/." "$job/work/" || { echo "unwritable $job"; return 0; }; fi
write_files || { echo "unwritable $job"; return 0; }
write_secrets || { rm -rf "$root/secrets/$key"; echo "unwritable $root/secrets/$key"; return 0; }
printf '%s' "$script" > "$job/script.sh" && echo $((attempt + 1)) > "$job/submitting" \
  || { echo "unwritable $job"; return 0; }
cd "$job/work" || return 0
(umask "$mask"; sbatch --parsable --chdir="$job/work" --output="$job/output$each.log" --error="$job/error$each.log" \
  --open-mode=append --comment="$tag" "${options[@]}" "$job/script.sh") >"$job/sbatch.out" 2>"$job/sbatch.err" 9>&-
status=$?
id=$(sed -n 's/^\([0-9][0-9]*\)\(;.*\)\{0,1\}$/\1/p' "$job/sbatch.out" | tail -n 1)
if [ $status -eq 0 ] && [ -n "$id" ]; then
  printf '%s\n' "$id" > "$job/job_id.new" && mv "$job/job_id.new" "$job/job_id" && rm -f "$job/submitting"
  printf 'submitted %s\n' "$id"
else
  printf 'refused %s %s %s\n' $((attempt + 1)) "$status" \
    "$(cat "$job/sbatch.out" "$job/sbatch.err" | tail -c 4000 | base64 -w0)"
fi
"""

# What each word of the step is followed by, where more is done with it than to show it.
_REPLIES: Final = {
    "submitted": r"[0-9]{1,10}",
    "adopted": r"[0-9]{1,10}",
    "directory": r"/.*",
    "key": r"[A-Za-z0-9-]{1,80}",
    "refused": r"[0-9]{1,9} [0-9]{1,3} [A-Za-z0-9+/=]*",
    "unresolved": r"[A-Za-z0-9-]{1,80} [0-9]{1,9} -?[0-9]{1,12}",
    "earlier": r"[0-9]{1,10}( [0-9]{1,10})*",
    "lockless": r"[A-Za-z0-9+/=]*",
    "unseen": r"[A-Za-z0-9+/=]*",
}
_OF_THIS_JOB: Final = frozenset({"submitted", "adopted", "refused"})


def parse_replies(stdout: str) -> dict[str, str]:
    """Return what the step said, by the first word of each line.

    Raises:
        UnreadableAnswer: a word has not what must follow it, as when somebody else's lines got between them.
    """
    replies = dict(line.partition(" ")[::2] for line in stdout.split("\n") if line)
    wrong = [word for word, form in _REPLIES.items() if word in replies and not re.fullmatch(form, replies[word])]
    if wrong or (replies.keys() & _OF_THIS_JOB and not replies.keys() >= {"directory", "key"}):
        raise UnreadableAnswer(f"submitting the job: the host said {stdout.strip()[-300:]!r}")
    return replies


def decode_said(text: str) -> str:
    """Return what sbatch or squeue said, from its form in a reply.

    Raises:
        UnreadableAnswer: it arrived damaged.
    """
    try:
        return base64.b64decode(text, validate=True).decode("utf-8", "replace")
    except ValueError as error:
        raise UnreadableAnswer(f"submitting the job: what sbatch or squeue said arrived damaged ({error})") from error


def render_step(
    place: JobPlace,
    *,
    script: str,
    resolved: int,
    code_sha256: str | None,
    options: Sequence[str],
    files: Mapping[str, bytes],
    is_array: bool,
    adopt_owners: Sequence[str],
    secrets: JobSecrets | None,
) -> str:
    """Return the step's text; ``resolved`` is the number of the last attempt that is known to have no job."""
    writing = [
        f'  printf %s {base64.b64encode(content).decode()} | base64 -d > "$job"/{shlex.quote(name)} || return 1'
        for name, content in files.items()
    ]
    return "\n".join(
        [
            place.shell_variables(),
            f"resolved={resolved} code={code_sha256 or ''} tag={shlex.quote(commands.tag(place.key))}",
            f"each={'.%a' if is_array else ''} adopt={shlex.quote(' '.join(adopt_owners))}",
            f"options=({shlex.join(options)})",
            f"script={shlex.quote(script)}",
            "write_files() {",
            f'  printf %s {shlex.quote(place.labels.model_dump_json())} > "$task/{LABELS_NAME}" || return 1',
            *writing,
            "  return 0",
            "}",
            *render_writing(secrets),
            _STEP.strip("\n"),
        ]
    )
