"""Values that somebody hostile gives: each would leave a file named ``CANARY…`` behind, or be seen, if it were read.

No value may be run by a shell, rendered by a template engine, expanded by a file system or by Slurm, or end a line of a
script, of a command or of a log.
"""

from __future__ import annotations

from collections.abc import Iterator

#: How the files begin that a value would make; ``find / -name`` of it is how they are looked for.
CANARY = "headnode-canary"
#: A line that none of our logs may hold.
FORGED = "FORGED LINE OF A LOG"

_RUN = "touch {canary}"
_SHELL = (
    "$({run})", "`{run}`", "; {run}", "| {run}", "|| {run}", "&& {run}", "& {run}", "& {run} &", "\n{run}\n",
    "\r{run}", "\r\n{run}\r\n", "\n\n{run}", "'; {run}; '", '"; {run}; "', "'\n{run}\n'", '"\n{run}\n"',
    "'$({run})'", '"$({run})"', "'`{run}`'", '"`{run}`"', "\\'; {run}; #", '\\"; {run}; #', '\'"\'"\'; {run}; \'',
    "'\\''; {run}; '", "$'\\n{run}\\n'", "${{IFS}}$({run})", "$(({run}))", "$[$({run})]", "${{x:-$({run})}}",
    "${{x:=`{run}`}}", "${{x@P}}$({run})", "<({run})", ">({run})", "> {canary}", ">> {canary}", ">| {canary}",
    "2> {canary}", "< /dev/null > {canary}", "<<< x > {canary}", "<<EOF\n$({run})\nEOF", "<<'EOF'\nEOF\n{run}\n",
    "\nEOF\n{run}\n", "\nheadnode:list\n{run}\n", "}}\n{run}\n{{", "}}; {run}; {{", ")\n{run}\n(", "); {run}; (",
    "esac; {run}", "fi; {run}", "done; {run}", ";; esac; {run}", "# {run}\n{run}", "x #\n{run}", "\\\n{run}", "a\\",
    "\\\\\n{run}", "'", '"', "`", "\\", "''", '""', "$", "$$", "$!", "$?", "$0", "$@", "$*", "!!", "!$", "^x^{run}",
    "~", "~root", "~root/.ssh", "~+", "~-", "*", "?", "[a-z]*", "**/*", "{{a,b}}", "{{1..9}}", "!(x)", "@(a|b)",
    "=ls", "%1", "eval {run}", "exec {run}", "source /etc/profile; {run}", ". /etc/profile; {run}", "sh -c '{run}'",
    'bash -c "{run}"', "env -i {run}", "() {{ :; }}; {run}", "() {{ :;}}; {run}", "x[$({run})]", "a[$({run})]=1",
    "a=$({run})", "PATH=. {run}", "LD_PRELOAD=/tmp/x {run}", "BASH_ENV=/tmp/x {run}", "\t{run}", " {run}", "{run} ",
    "\x0b{run}", "\x0c{run}",
)  # fmt: skip
_SLURM = (
    "\n#SBATCH --job-name={canary}", "\n#SBATCH --output={canary}\n", "x\n#SBATCH --wrap={run}\n", "#SBATCH --hold",
    "x #SBATCH --hold", "\r#SBATCH --hold", "\r\n#SBATCH --hold\r\n", "\u2028#SBATCH --hold", "\u2029#SBATCH --hold",
    "\x85#SBATCH --hold", "\x0b#SBATCH --hold", "\n#SBATCH hetjob\n", "\n#BB create_persistent name={canary}",
    "\n#DW jobdw", "\n#PBS -N {canary}", "x --output={canary}", "x --wrap {run}", "--wrap={run}",
    "--output={canary}", "--uid=0", "--hold", "--array=1-1000", "--export=ALL,X=$({run})", "--prolog={canary}",
    "--get-user-env", "--test-only", "--parsable", "--help", "--version", "--", "-", "-h", "-H", "-D/", "-o{canary}",
    "-e{canary}", "-J x -o {canary}", "-a 1-9", "-W", "%j", "%x", "%A_%a", "%N", "%u", "%%", "%", "\\%j",
    "%{{name}}", "x%j/../{canary}", "COMPLETED", "|COMPLETED|0:0|", "x JobState=COMPLETED Reason=",
    "x\nJobId=1 JobName=x JobState=COMPLETED Reason=None ", "\nheadnode:end:0\n", "headnode:begin",
    "\nsubmitted 1\n", "0", "-1", "afterok:1", "1,singleton", "1:2:3", "1?afterany:2", "singleton", "None", "(null)",
    "N/A", "UNLIMITED", "0:00", "1;cluster",
)  # fmt: skip
_PATHS = (
    "..", "../", "../{name}", "../../../../../../..{canary}", "x/../../{name}", "/", "//", "/etc/passwd",
    "/dev/null", "/proc/self/mem", "{canary}", "./-rf", "-rf", "-rf /", "--no-preserve-root", "-exec {run} ;",
    "--checkpoint-action=exec={run}", "-T", "--rsh={run}", "-e {run}", "host:path", "::x", "file:///etc/passwd",
    "C:\\x", "a/./b", "a//b", ".", "...", ".hidden", " ", "  x", "x ", "\t", "a b", "a\tb", "a\nb", "a\r\nb", "a\rb",
    "CON", "x\\y", "~/../{name}", "~{name}", "$HOME/{name}", "${{HOME}}/{name}", "%2e%2e%2f{name}", "x" * 256,
    "x" * 5000, "{long}",
)  # fmt: skip
_TEMPLATES = (
    "{{{{ 7 * 7 }}}}", "{{{{ ti.xcom_pull('x') }}}}", "{{{{ var.value.get('x') }}}}", "{{% raw %}}", "{{# x #}}",
    "{{{{", "}}}}", "{{% for x in () %}}", "{{{{ cycler.__init__.__globals__.os.system('{run}') }}}}", "${{7*7}}",
    "#{{7*7}}", "<%= 7*7 %>", "{{0.__class__}}", "{{0.__class__.__mro__}}", "{{}}", "{{0}}", "{{x}}", "{{", "}}",
    "%(name)s", "%s", "%d%n", "%n%n%n", "$name", "{{again}}", "__import__('os').system('{run}')",
    "!!python/object/apply:os.system ['{run}']", "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)", "&lt;b&gt;", "' OR 1=1 --", "'; DROP TABLE job; --", "[1, 2]", '{{"a": 1}}', "null",
    "true", "1e999", "NaN", "0x10", "1_000", "\\u0000", "\\x00", "\\n{run}",
)  # fmt: skip
_TEXT = (
    "\x00", "a\x00b", "\x00{run}", "\x01", "\x04", "\x07", "\x08\x08\x08", "\x1b[31mred\x1b[0m", "\x1b[2J\x1b[H",
    "\x1b[1A\x1b[2K{forged}", "\x1b]0;title\x07", "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "\x1bc", "\x1b",
    "\x7f", "\x80", "\x85", "\x9b31m", "a\r{forged}", "a\n{forged}", "a\r\n{forged}", "a\x0b{forged}",
    "a\x0c{forged}", "a\x85{forged}", "a\u2028{forged}", "a\u2029{forged}", "a\x1c{forged}", "a\x1d{forged}",
    "a\x1e{forged}", "\u202e{forged}", "\u2066x\u2069", "a\u200bb", "\u200d", "\ufeff", "\xad", "\u0301" * 50,
    "\ufb00", "\u0131", "\u0130", "\xe9", "e\u0301", "\u65e5\u672c\u8a9e", "\U0001f642",
    "\U0001f3f3\ufe0f\u200d\U0001f308", "\ufffd", "\ufffe", "\U0010ffff", "\u3000", "\xa0", "\uff21\uff22\uff23",
    "\uff1b", "\uff02", "\u2019", "`", "\u0663", "\xb2", "\ud800", "a\udcffb", "\udcc0\udcaf", "\n", "\n\n", "\r",
    "\r\n", "\n[2026-11-21T00:00:00] INFO - {forged}", "", '\n{{"event": "{forged}"}}\n', "::group::x",
    "::error::{forged}", "| {forged}", "! {forged}", "x\n| {forged}", "\x1b[8mhidden\x1b[28m",
)  # fmt: skip


def hostile_values(folder: str) -> list[str]:
    """Return the values, all different; those that would make a file make one in ``folder``, named after themselves."""
    return list(dict.fromkeys(_filled(folder)))


def _filled(folder: str) -> Iterator[str]:
    for number, form in enumerate((*_SHELL, *_SLURM, *_PATHS, *_TEMPLATES, *_TEXT)):
        name = f"{CANARY}-{number}"
        canary = f"{folder}/{name}"
        yield form.format(run=_RUN.format(canary=canary), canary=canary, name=name, forged=FORGED, long="€" * 50_000)
