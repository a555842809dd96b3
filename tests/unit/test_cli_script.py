"""``headnode script`` as it is typed: its script runs the very words that were given, and errors are one line."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from broken_answers import BUDGET
from hypothesis import example, given
from hypothesis import strategies as st
from reading import directives
from typer.testing import CliRunner

from headnode.cli import app
from headnode.sites.catalogue import Catalogue
from headnode.sites.system import SOFTWARE

HEADNODE = str(Path(sys.executable).with_name("headnode"))
# srun's options come first; what it starts is the rest.
STUBS = {
    "srun": 'while [ "${1#-}" != "$1" ]; do shift; done; exec "$@"',
    "scontrol": "echo node1",
    "module": ":",
    "python3": 'exec show "$@"',
    "show": 'printf "%s\\0" "$@" > "$SEEN"',
}
SLURM = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node1", "SLURM_NODEID": "0", "SLURM_JOB_NUM_NODES": "1"} | {
    "SLURM_CPUS_PER_TASK": "4", "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURMD_NODENAME": "node1",
}  # fmt: skip
HARD = [
    "'", '"', "`id`", "$HOME", "$(id)", "\\", "a  b", "*", "~", "-", "--", "--nodes=9", "#SBATCH -n 9", "!!", "a\nb",
    "", " ", "é", "\t", ";", "&&", "{a,b}", "$'x'", "{{ x }}", "%j",
]  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Keep this machine's own configuration out, and its files."""
    monkeypatch.setenv("AIRFLOW__HEADNODE__SITES_FOLDER", "")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Return a function that runs a script where Slurm's commands do nothing else than start what they are given."""
    folder = tmp_path_factory.mktemp("bin")
    for name, text in STUBS.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    seen = folder / "seen"

    def start(script):
        seen.unlink(missing_ok=True)
        variables = {**SLURM, "PATH": f"{folder}:/usr/bin:/bin", "SEEN": str(seen), "HOME": "/", "TMPDIR": str(folder)}
        done = subprocess.run(
            ["bash"], input=script.encode(), env=variables, capture_output=True, cwd=folder, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, b"")
        return seen.read_bytes().decode().split("\0")[:-1]

    return start


def run(*words):
    """Run the command in this process."""
    return CliRunner().invoke(app, ["script", *words])


def refused(result):
    """Return the one line that says why there is no script."""
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    return line


@pytest.mark.parametrize("software", ["python", "mpi", "pytorch", "horovod", "heat", "optuna", "deephyper"])
def test_the_words_arrive_as_they_are(software, cluster):
    """Through the shell that types them, the script, the one that runs it, and whatever starts the program."""
    result = run("juwels-booster", software, "--account", "a", "--", "show", *HARD)
    assert result.exit_code == 0, result.stderr
    seen = cluster(result.stdout)
    assert seen[-len(HARD) :] == HARD
    assert directives(result.stdout) == [line for line in result.stdout.splitlines() if line.startswith("#SBATCH")]


def test_the_real_command_in_a_real_shell(cluster):
    """Quoted once, as one would type it."""
    typed = f"""{HEADNODE} script juwels python -A a -- show 'it'"'"'s' "a  b" '$HOME' '"' --account -- -x"""
    script = subprocess.run(["bash", "-c", typed], capture_output=True, text=True, check=True, timeout=60).stdout
    assert cluster(script) == ["it's", "a  b", "$HOME", '"', "--account", "--", "-x"]


words = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)


@given(words=st.lists(words | st.sampled_from(HARD), max_size=5), software=st.sampled_from(["python", "pytorch"]))
@example(words=["\r\n#SBATCH --nodes=9\n#PBS -l x"], software="python")
@BUDGET
def test_any_words_arrive(words, software, cluster):
    """And add no option of sbatch."""
    result = run("juwels-booster", software, "--account", "a", "--", "show", *words)
    assert result.exit_code == 0, result.stderr
    seen = cluster(result.stdout)
    assert seen[len(seen) - len(words) :] == words
    bare = run("juwels-booster", software, "--account", "a", "--", "show")
    assert directives(result.stdout) == directives(bare.stdout)


def test_what_is_asked_for():
    """Each option is one of sbatch's, and the environment is entered after the modules."""
    result = run(
        "juwels", "ddp", "-p", "develbooster", "-N", "2", "-t", "90", "-A", "zam", "-q", "urgent", "-c", "12",
        "--gpus-per-node", "2", "--mem", "64G", "-J", "my job", "--sbatch", "begin=now+1hour", "--sbatch", "--hold",
        "--launch", "processes_per_node=1",
        "--environment", "venv:$PROJECT/my venv", "--environment", "commands:ulimit", "--", "train.py",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert set(directives(result.stdout)) >= {
        '#SBATCH --job-name="my job"', "#SBATCH --partition=develbooster", "#SBATCH --account=zam",
        "#SBATCH --qos=urgent", "#SBATCH --time=01:30:00", "#SBATCH --nodes=2", "#SBATCH --cpus-per-task=12",
        "#SBATCH --mem=64G", "#SBATCH --gres=gpu:2", "#SBATCH --begin=now+1hour", "#SBATCH --hold",
    }  # fmt: skip
    assert "--nproc-per-node=1" in result.stdout
    module, enter, own, start = (
        result.stdout.index(text)
        for text in ("\nmodule load", '\n. "$PROJECT/my venv/bin/activate" || exit 1\n', "\nulimit\n", "\nsrun")
    )
    assert module < enter < own < start


def test_a_container_and_conda():
    """By their kind."""
    result = run("juwels", "pytorch", "-A", "a", "--environment", "apptainer:docker://a/b:1", "--", "x")
    assert "apptainer exec --nv docker://a/b:1" in result.stdout
    assert "activate mine" in run("juwels", "python", "-A", "a", "--environment", "conda:mine", "--", "x").stdout
    assert "activate /opt/mine" in run("juwels", "mpi", "-A", "a", "--environment", "conda:/opt/mine", "--", "x").stdout
    described = '{"kind": "apptainer", "image": "x.sif", "gpu_vendor": "amd", "bind": ["/data"]}'
    result = run("juwels", "pytorch", "-A", "a", "--environment", described, "--", "x")
    assert "apptainer exec --rocm --bind /data x.sif" in result.stdout
    assert "\nmodule load A B" in run("juwels", "mpi", "-A", "a", "--environment", "modules:A B", "--", "x").stdout


def test_as_json():
    """All that there is to know, and nothing on standard error."""
    result = run("juwels", "pytorch", "-A", "a", "--json", "--", "x.py")
    answer = json.loads(result.stdout)
    assert list(answer) == ["system", "software", "partition", "directives", "script", "notes", "sources"]
    assert (answer["system"], answer["software"], answer["partition"]) == ("juwels-booster", "pytorch", "booster")
    assert answer["directives"]["gres"] == "gpu:4"
    assert answer["script"] == run("juwels", "pytorch", "-A", "a", "--", "x.py").stdout
    assert answer["sources"]
    assert "no time limit is given" in " ".join(answer["notes"])
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("juwls pytorch -A a -- x", "site: there is no system 'juwls'; did you mean juwels"),
        ("juwels pytorhc -A a -- x", "software: there is no software 'pytorhc'; did you mean pytorch?"),
        (
            "juwels pytorch -A a -p bosster -- x",
            "partition: juwels-booster has no partition 'bosster'; did you mean boo",
        ),
        ("juwels pytorch -- x", "account: juwels-booster wants an account for each job"),
        (
            "juwels pytorch -A a -N 400 -- x",
            "nodes: 400 nodes, where a job in partition 'booster' of juwels-booster may",
        ),
        (
            "juwels pytorch -A a -t 2-0 -- x",
            "time_limit: 2-00:00:00, where partition 'booster' of juwels-booster allows",
        ),
        ("juwels pytorch -A a -t soon -- x", "time_limit: 'soon' is no time that Slurm reads"),
        ("juwels pytorch -A a -N 0 -- x", "launch: nodes: "),
        ("juwels pytorch -A a --sbatch wrap=x -- x", "sbatch_options: "),
        ("juwels pytorch -A a --sbatch =x -- x", "--sbatch =x: give NAME[=VALUE]"),
        ("juwels pytorch -A a --launch x -- x", "--launch x: give NAME=VALUE"),
        ("juwels pytorch -A a --launch x=1 -- x", "launch: x: "),
        (
            "juwels pytorch -A a --environment docker:x -- x",
            "--environment docker:x: give KIND:VALUE, where KIND is one",
        ),
        ("juwels pytorch -A a --environment {x -- x", "--environment {x: is no JSON: "),
        (
            'juwels pytorch -A a --environment {"kind":"no"} -- x',
            "environment: {'kind': 'no'} is no environment; there",
        ),
        (
            "ecmwf-atos mpi -A a -q q -- x",
            "launch: how many cores a node has is unknown, and so how many ranks to start",
        ),
        ("juwels pytorch -A a --environment venv: -- x", "--environment venv:: give KIND:VALUE"),
        ("juwels pytorch -A a --output /nonexistent/x -- x", "/nonexistent"),
    ],
)
def test_what_can_not_be_right(given, said):
    """One line, with the nearest names, or the number and its source, and 2."""
    assert refused(run(*given.split())).startswith(f"headnode: {said}")


def test_every_error_names_options_as_they_are_typed():
    """Not as they are written in Python."""
    said = refused(run("juwels", "pytorch", "--", "x"))
    assert "give --account" in said
    assert "account=" not in said
    said = refused(run("ecmwf-atos", "mpi", "--account", "a", "--qos", "q", "--", "x"))
    assert "give --launch ranks_per_node=" in said


@pytest.mark.parametrize("value", ["a\n#SBATCH --nodes=9", "\x1b[31m", "a b", "\u202e", "'", "$(id)"])
@pytest.mark.parametrize("option", ["--account", "--partition", "--qos", "--job-name", "--time", "--mem", "--sbatch"])
def test_hostile_values(option, value):
    """Are one directive, quoted, or refused in one line that shows what a terminal would act on."""
    text = f"constraint={value}" if option == "--sbatch" else value
    result = run("juwels", "python", "--account", "a", option, text, "--", "x")
    if result.exit_code == 0:
        assert result.stdout.count("\n#SBATCH ") == len(directives(result.stdout))
        assert "\n#SBATCH --nodes=9" not in result.stdout
    else:
        assert "\x1b" not in refused(result)


def test_into_a_file(tmp_path):
    """What is there already is replaced only where it is meant to be."""
    words = ("juwels", "pytorch", "-A", "a", "--output", "job.sh")
    result = run(*words, "--", "x.py")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.splitlines()[-1] == "job.sh: written; submit it there with sbatch"
    file = tmp_path / "job.sh"
    assert file.read_text() == run("juwels", "pytorch", "-A", "a", "--", "x.py").stdout
    assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~_umask()
    file.chmod(0o750)
    assert refused(run(*words, "--", "y.py")) == "headnode: job.sh: is there already; --force replaces it"
    assert "x.py" in file.read_text()
    assert run(*words, "--force", "--", "y.py").exit_code == 0
    assert "y.py" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o750
    assert os.listdir(tmp_path) == ["job.sh"]  # noqa: PTH208 - names
    odd = os.fsdecode(b"\xff\n\x1b.sh")
    assert run(*words[:-1], odd, "--", "x").stderr.splitlines()[-1].startswith("\\udcff\\n\\x1b.sh: written")
    (tmp_path / odd).unlink()
    (tmp_path / "broken").symlink_to("gone")
    assert "is there already" in refused(run(*words[:-1], "broken", "--", "x"))
    assert refused(run(*words[:-1], ".", "--force", "--", "x")) == "headnode: .: is no regular file"


def _umask():
    mask = os.umask(0o22)
    os.umask(mask)
    return mask


def test_a_command_in_one_word_is_pointed_out():
    """Which is rarely meant; the word stays one."""
    result = run("juwels", "python", "-A", "a", "--", "python x.py --a")
    assert "note: the command is the one word 'python x.py --a'" in result.stderr
    assert "'python x.py --a'" in result.stdout


def test_shellcheck_finds_nothing():
    """In a script of each software, with words, an environment and options that are hard to quote."""
    assert shutil.which("shellcheck"), "shellcheck is missing; `make test` installs it"
    scripts = [
        run("juwels-booster", software, "-A", "a", "--environment", "venv:$PROJECT/a b", "--", "x.py", *HARD)
        for software in SOFTWARE
    ]
    assert not [result.stderr for result in scripts if result.exit_code]
    # Words that a shell would act on are meant to be words; the environment is not here.
    check = ["shellcheck", "--exclude=SC2016,SC1003,SC1091", "-"]
    for result in scripts:
        assert subprocess.run(check, input=result.stdout, capture_output=True, text=True, check=False).stdout == ""


def complete(line):
    """Return what bash offers where a line ends, by the script that --show-completion prints."""
    text = f"""
        eval "$(_HEADNODE_COMPLETE=source_bash headnode)"
        COMP_WORDS=({line}) COMP_CWORD={len(line.split(" ")) - 1}
        _headnode_completion headnode
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    path = f"{Path(HEADNODE).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", text], capture_output=True, text=True, check=True, timeout=60, env={**os.environ, "PATH": path}
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("headnode script juwels-b", ["juwels-booster"]),
        ("headnode modules gen juwels-booster deeps", ["deepspeed"]),
        ("headnode script lumi pytorch --partition largem", ["largemem"]),
        ("headnode modules eval job.sh --system leo", ["leonardo"]),
    ],
)
def test_bash_completes(line, offered):
    """Systems, software and partitions, as they are typed."""
    assert complete(line) == offered


def test_partitions_of_what_is_named():
    """All of them, where nothing is typed yet; none where the system is not known."""
    assert set(complete("headnode script lumi pytorch --partition ''")) == set(Catalogue().system("lumi").partitions)
    assert complete("headnode script nowhere pytorch --partition ''") == []


@pytest.mark.parametrize(
    "words",
    [
        "--help",
        "script juwels pytorch -A a -- x",
        "modules gen juwels pytorch",
        "modules eval -",
        "script nowhere y -- x",
    ],
)
def test_airflow_is_not_loaded(words):
    """It takes seconds."""
    loaded = "import sys, headnode.cli as c\ntry: c.app()\nfinally: print([m for m in sys.modules if 'airflow' in m])"
    command = [sys.executable, "-c", loaded, *words.split()]
    done = subprocess.run(command, input="", capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"
