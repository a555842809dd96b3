"""The text of a batch script: directives, prologue, set-up lines and the command.

The prologue relies on what the submission does: the script starts in ``<job directory>/work``, which holds a copy
of the code.
"""

from __future__ import annotations

import re
import shlex

from headnode.errors import JobSpecError
from headnode.slurm.arrays import count_elements
from headnode.slurm.jobspec import JobSpec

_PLAIN_VALUE = re.compile(r"[A-Za-z0-9_.,:;/@%+=~\[\]&|*-]+")
_SHELL = re.compile(r"#!\s*/(?:usr/)?(?:bin/)?(?:env\s+)?(?:/?(?:bin/)?)(?:ba|da|k|z)?sh\b.*")
_ARRAY_DIRECTIVE = re.compile(r"^#SBATCH\s+(?:--array\b|-a)[=\s]*(?P<indexes>\S*)", re.MULTILINE)
_HETEROGENEOUS = re.compile(r"^#SBATCH\s+hetjob\b", re.MULTILINE)

_PROLOGUE = """\
export HEADNODE_DIRECTORY="${PWD%/work}"
export HEADNODE_CODE="$PWD"
export HEADNODE_RESULT="$HEADNODE_DIRECTORY/result${SLURM_ARRAY_TASK_ID:+.$SLURM_ARRAY_TASK_ID}.json"
export PYTHONPATH="$HEADNODE_CODE${PYTHONPATH:+:$PYTHONPATH}"
rm -f "$HEADNODE_RESULT"
"""


def render_directive(name: str, value: str | None) -> str:
    """Return one ``#SBATCH`` line, quoted as sbatch itself unquotes it (src/sbatch/opt.c, ``_get_argument``)."""
    if value is None:
        return f"#SBATCH --{name}"
    if not _PLAIN_VALUE.fullmatch(value):
        value = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"#SBATCH --{name}={value}"


def render_script(spec: JobSpec) -> str:
    """Return the whole batch script of ``spec``.

    Raises:
        JobSpecError: ``script`` is not a shell script, so that nothing can be put before it.
    """
    head, body = _split_author_script(spec.script) if spec.script is not None else ("#!/bin/bash -l\n", "")
    shebang, _, author_directives = head.partition("\n")
    directives = [("job-name", spec.job_name), *spec.directives()]
    lines = [shebang, *(render_directive(name, value) for name, value in directives)]
    if author_directives.strip():
        lines.append(author_directives.rstrip("\n"))
    lines += ["", _PROLOGUE.rstrip("\n")]
    lines += [f"export {name}={_quoted(value)}" for name, value in sorted(spec.env.items())]
    if spec.setup:
        lines += ["", spec.setup.rstrip("\n")]
    lines += ["", body.rstrip("\n") if spec.script is not None else render_command(spec.command)]
    return "\n".join(lines) + "\n"


def render_command(command: list[str] | str | None) -> str:
    """Return the command as shell text: a list is quoted element by element, a text is the author's own shell text."""
    if command is None:
        return ""
    return command.rstrip("\n") if isinstance(command, str) else " ".join(map(_quoted, command))


def _quoted(value: str) -> str:
    # Slurm refuses a script with DOS line breaks in it, but forms in browsers send them.
    return shlex.quote(value).replace("\r", """'"$(printf '\\r')"'""")


def asks_for_array(spec: JobSpec) -> bool:
    """Whether Slurm makes a job array of it, by an option or by a directive in the author's script."""
    return _array_indexes(spec) is not None


def expected_elements(spec: JobSpec) -> int | None:
    """Return how many elements (1 for a plain job) Slurm will account for, None where that can't be told."""
    if spec.script and _HETEROGENEOUS.search(_split_author_script(spec.script)[0]):
        return None
    indexes = _array_indexes(spec)
    return 1 if indexes is None else count_elements(indexes)


def _array_indexes(spec: JobSpec) -> str | None:
    if spec.script and (directives := _ARRAY_DIRECTIVE.findall(_split_author_script(spec.script)[0])):
        return str(directives[-1]).strip("\"'")  # of several, sbatch takes the last
    return spec.sbatch_options.get("array", "") if spec.is_array else None


def _split_author_script(script: str) -> tuple[str, str]:
    """Return the leading comment block with its shebang, and the rest."""
    if "\r\n" in script:
        raise JobSpecError("script", "has DOS line breaks (\\r\\n), which Slurm refuses; save it with Unix line breaks")
    lines = re.findall(r"[^\n]*\n|[^\n]+", script.lstrip("\n"))
    if lines and lines[0].startswith("#!"):
        if not _SHELL.match(lines[0]):
            raise JobSpecError(
                "script",
                f"starts with {lines[0].strip()!r}; only shell scripts can be given, start others with command=",
            )
    else:
        lines.insert(0, "#!/bin/bash -l\n")
    end = next((at for at, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    return "".join(lines[:end]), "".join(lines[end:])
