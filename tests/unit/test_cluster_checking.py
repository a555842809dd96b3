"""What a check says of hosts and clusters in many states: each finding one clear sentence with what to do."""

import base64
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnode.cluster.checking import check_cluster
from headnode.cluster.findings import Finding, Report, Verdict, warning, wrong
from headnode.cluster.host_check import HostSeen, judge_host, read_words
from headnode.cluster.procedures import drive_sync
from headnode.cluster.slurm_check import Told, judge_slurm, read_told
from headnode.errors import UnreadableAnswer
from headnode.ssh.port import Answer
from headnode.ssh.scripted import ScriptedTransport
from headnode.ssh.settings import ClusterSettings, SSHSettings

SETTINGS = ClusterSettings(ssh=SSHSettings(conn_id="lumi", host="lumi.csc.fi", username="me"), account="climate")
HOST = {
    "clock": "1795000000",
    "user": "me",
    "shell": "/bin/bash",
    "path": "/usr/bin:/bin",
    **{name: f"/usr/bin/{name}" for name in ("sbatch", "squeue", "scontrol", "scancel", "sacct", "sinfo")},
    "root": "/home/me/.headnode",
    "mode": "drwx------",
    "filesystem": "lustre",
    "space": "/dev/sda1 102400000 2400000 100000000 3% /home of mine",
    "inodes": "/dev/sda1 6553600 600000 5953600 10% /home of mine",
}
CONFIG = """\
AccountingStorageEnforce = none
AccountingStorageType   = accounting_storage/slurmdbd
ClusterName             = lumi
MaxArraySize            = 1001
MinJobAge               = 300 sec
SLURM_VERSION           = 23.02.7
"""
SLURM = {
    "config": CONFIG,
    "partitions": "small*|up|3-00:00:00|100/200/6/306\ndebug|up|30:00|0/8/0/8\n",
    "accounting": "",
    "associations": "lumi|climate|normal|||\nlumi|weather|normal,debug|4||\n",
    "qos": "normal||||\ndebug|00:30:00|1|2|\nother||||\n",
}


def host(clock_ahead_seconds=0.0, noise="", **changes):
    """Return the findings of a host that is well but for the changes; None takes a word out."""
    said = {word: text for word, text in {**HOST, **changes}.items() if text is not None}
    return judge_host(HostSeen(said=said, noise=noise), clock_ahead_seconds=clock_ahead_seconds)


def slurm(*, account=None, poll_max_seconds=60.0, failing=None, **changes):
    """Return the findings of a Slurm that is well but for the changes."""
    told = {name: Told(stdout=text, stderr="", status=0) for name, text in {**SLURM, **changes}.items()}
    for name, message in (failing or {}).items():
        told[name] = Told(stdout="", stderr=message, status=1)
    return judge_slurm(told, account=account, poll_max_seconds=poll_max_seconds)


def the_bad(findings):
    """Return the one finding that is not well."""
    (finding,) = [each for each in findings if each.verdict is not Verdict.OK]
    return finding


def test_a_host_that_is_well():
    """Every finding is well and says what was seen."""
    findings = host()
    assert all(finding.verdict is Verdict.OK for finding in findings)
    assert [finding.text for finding in findings] == [
        "Slurm's commands: in /usr/bin",
        "Work directory: /home/me/.headnode can be written and locked (lustre, 95 GiB free)",
        "Login shell: /bin/bash, prints nothing by itself",
        "Clock: agrees with this machine's",
    ]


@pytest.mark.parametrize(
    ("changes", "verdict", "sentence"),
    [
        (
            {"sbatch": "", "squeue": "", "found": "/opt/slurm/bin"},
            Verdict.WRONG,
            (
                "Slurm's commands: sbatch, squeue can't be found by commands over SSH, whose PATH is /usr/bin:/bin;"
                " but they are in /opt/slurm/bin. Set the connection's slurm_path to /opt/slurm/bin"
            ),
        ),
        (
            {"sbatch": ""},
            Verdict.WRONG,
            (
                "Slurm's commands: sbatch can't be found by commands over SSH, whose PATH is /usr/bin:/bin, nor in the"
                " usual places. Log in as usual, run `command -v sbatch` there"
            ),
        ),
        ({"sinfo": ""}, Verdict.WARNING, "without sinfo"),
        (
            {"refused": "dd: error writing '/home/me/.headnode/.check-1/file': No space left on device\n1+0 records"},
            Verdict.WRONG,
            (
                "Work directory: /home/me/.headnode is full (dd: error writing '/home/me/.headnode/.check-1/file': No"
                " space left on device). Remove files there, or set the connection's work_directory to a place with"
            ),
        ),
        ({"refused": "dd: closing output file: Disk quota exceeded"}, Verdict.WRONG, "/home/me/.headnode is full"),
        (
            {"refused": "mkdir: cannot create directory '/x': Permission denied"},
            Verdict.WRONG,
            "Set the connection's work_directory to a directory of your own",
        ),
        ({"refused": "mkdir: cannot create directory '/x': Read-only file system"}, Verdict.WRONG, "may write"),
        ({"refused": "mkdir: Input/output error"}, Verdict.WRONG, "can't be written (mkdir: Input/output error)"),
        (
            {"lockless": "flock: 9: Function not implemented"},
            Verdict.WRONG,
            (
                "has no locks (flock: 9: Function not implemented), without which a job could be submitted twice. Set"
                " the connection's work_directory to a file system with flock"
            ),
        ),
        ({"space": "/dev/sda1 1000 900 90000 90% /"}, Verdict.WARNING, "88 MiB free). Remove files there"),
        ({"inodes": "/dev/sda1 1000 997 3 99% /"}, Verdict.WARNING, "95 GiB free, 3 more files). Remove files"),
        ({"filesystem": "tmpfs"}, Verdict.WARNING, "looks like a place that each node has for itself"),
        ({"root": "/var/tmp/me"}, Verdict.WARNING, "work_directory to one that all nodes see"),  # noqa: S108
        ({"mode": "drwxrwx---"}, Verdict.WARNING, "`chmod go-w /home/me/.headnode`"),
        ({"noise": "Welcome!\nnews"}, Verdict.WARNING, "prints to the output of commands: 'Welcome!'. headnode's"),
        ({"clock_ahead_seconds": 90.4}, Verdict.WARNING, "the host's is 90 s ahead of this machine's. One-time codes"),
        ({"clock_ahead_seconds": -3600.0}, Verdict.WARNING, "the host's is 3600 s behind this machine's"),
    ],
)
def test_a_host_with_a_fault(changes, verdict, sentence):
    """The finding says what is wrong and what to do."""
    finding = the_bad(host(**changes))
    assert finding.verdict is verdict
    assert sentence in finding.text


@pytest.mark.parametrize("inodes", ["btrfs 0 0 0 - /home", "odd 0 - - - /x", "", "nonsense"])
def test_file_systems_that_count_no_inodes(inodes):
    """They never run out of them."""
    assert all(finding.verdict is Verdict.OK for finding in host(inodes=inodes))


def test_a_slurm_that_is_well():
    """Version, partitions, limits and accounts."""
    findings = slurm(account="climate")
    assert all(finding.verdict is Verdict.OK for finding in findings)
    assert [finding.text for finding in findings] == [
        "Slurm: 23.02.7, cluster lumi",
        "Partitions: small (default): 306 nodes, up to 3-00:00:00; debug: 8 nodes, up to 30:00",
        "Arrays: indices up to 1000 (MaxArraySize=1001); longer ones are split",
        "Accounting: on; slurmctld knows ended jobs for 300 s (MinJobAge)",
        "Accounts: climate by default, not checked by this cluster; you have climate, weather",
        (
            "QOS limits: account weather: running jobs: 4; normal: no limit; debug: jobs up to 00:30:00, running jobs:"
            " 1, submitted jobs: 2"
        ),
    ]


NONE = CONFIG.replace("accounting_storage/slurmdbd", "accounting_storage/none")
ENFORCED = CONFIG.replace("AccountingStorageEnforce = none", "AccountingStorageEnforce = associations,safe")
UNREACHABLE = "slurm_load_ctl_conf error: Unable to contact slurm controller (connect failure)"


@pytest.mark.parametrize(
    ("changes", "verdict", "sentence"),
    [
        ({"failing": {"config": UNREACHABLE}}, Verdict.WRONG, f"Slurm: slurmctld does not answer: {UNREACHABLE}. It"),
        ({"config": "nothing"}, Verdict.WRONG, "can't be read"),
        (
            {"failing": {"partitions": "sinfo: error: no"}},
            Verdict.WARNING,
            "Partitions: unknown, since sinfo failed: sinfo: error: no. Name a partition in each job",
        ),
        ({"partitions": ""}, Verdict.WRONG, "this user can see none. Ask the site"),
        ({"partitions": "a|down|1:00|0/0/4/4\n"}, Verdict.WRONG, "none is up: a: 4 nodes, up to 1:00, down"),
        ({"partitions": "a|up|infinite|0/1/0/1\n"}, Verdict.WARNING, "a: 1 node, no time limit. None is the default"),
        ({"partitions": "a|up\n"}, Verdict.WARNING, "sinfo's line 'a|up' has not the form"),
        ({"config": CONFIG.replace("1001", "1")}, Verdict.WARNING, "switched off (MaxArraySize=1)"),
        (
            {"failing": {"accounting": "sacct: error: slurm_persist_conn_open: failed"}},
            Verdict.WARNING,
            "slurmdbd does not answer: sacct: error: slurm_persist_conn_open: failed",
        ),
        ({"config": NONE}, Verdict.WARNING, "Accounting: off; slurmctld knows ended jobs for 300 s"),
        (
            {"config": NONE.replace("300 sec", "30 sec")},
            Verdict.WARNING,
            "set the connection's poll_max_seconds to 15 or less",
        ),
        (
            {"failing": {"associations": "sacctmgr: error: refused"}},
            Verdict.WARNING,
            "Accounts: unknown, since sacctmgr failed: sacctmgr: error: refused",
        ),
        ({"failing": {"qos": "sacctmgr: error: no"}}, Verdict.WARNING, "QOS limits: unknown, since sacctmgr failed"),
        (
            {"config": ENFORCED, "account": "clinate"},
            Verdict.WRONG,
            "Accounts: 'clinate' is none of yours. Set the connection's account to one of: climate, weather",
        ),
        (
            {"config": ENFORCED, "associations": "other|climate|normal|||\n"},
            Verdict.WRONG,
            "this user has none, and this cluster runs no job without. Ask the site for one",
        ),
    ],
)
def test_a_slurm_with_a_fault(changes, verdict, sentence):
    """The finding says what is wrong and what to do."""
    finding = the_bad(slurm(**changes))
    assert finding.verdict is verdict
    assert sentence in finding.text


def test_a_command_that_hangs():
    """What timeout(1) ended is told as that."""
    told = {"config": Told(stdout="", stderr="", status=124)}
    (finding,) = judge_slurm(told, account=None, poll_max_seconds=60)
    assert "slurmctld does not answer: no answer within 30 s" in finding.text


def test_an_account_that_may_be_charged():
    """Where the cluster checks accounts, it is among the user's own."""
    findings = slurm(config=ENFORCED, account="climate")
    assert "Accounts: climate by default, of climate, weather" in [finding.text for finding in findings]


def test_many_partitions_are_counted():
    """A cluster with a hundred partitions does not fill the screen."""
    lines = "a*|up|1:00|0/1/0/1\n" + "".join(f"p{number}|up|1:00|0/1/0/1\n" for number in range(99))
    (finding,) = [each for each in slurm(partitions=lines) if each.what == "Partitions"]
    assert finding.value.endswith("; and 88 more")


@pytest.mark.parametrize("line", ["sbatch not base64!", "sbatch YQ", "root ====="])
def test_a_host_that_answers_otherwise(line):
    """Nothing is guessed from an answer in another form."""
    with pytest.raises(UnreadableAnswer, match="looking at the host"):
        read_words(f"clock MTc=\n{line}\n")


@pytest.mark.parametrize("line", ["config", "config YQ==|0", "config YQ|0|", "CONFIG |0|", "config |x|", "config |0|!"])
def test_a_slurm_that_answers_otherwise(line):
    """Nothing is guessed from an answer in another form."""
    with pytest.raises(UnreadableAnswer, match="asking Slurm"):
        read_told(f"config YQ==|0|\n{line}\n")


def encoded(text):
    """Return the text as the scripts print it."""
    return base64.b64encode(text.encode()).decode()


def answer(lines, before=""):
    """Return what a host prints, framed as all answers are."""
    text = before + "headnode:begin\n" + "\n".join(lines) + "\n\nheadnode:end:0\n"
    return Answer(stdout=text.encode(), stderr=b"", exit_status=0)


def check(*answers, now=1795000000.5):
    """Return the findings of a whole check that gets these answers, and the commands."""
    transport = ScriptedTransport(answers)
    findings = drive_sync(check_cluster(SETTINGS, clock=lambda: now), transport.answer)
    return findings, transport.commands


def told_lines(**changes):
    """Return the lines in which Slurm's answers come."""
    return [f"{name} {encoded(text)}|0|" for name, text in {**SLURM, **changes}.items()]


def test_a_whole_check():
    """Two commands; what start-up files print is told apart from the answers."""
    said = [f"{word} {encoded(text)}" for word, text in HOST.items()]
    findings, commands = check(answer(said, before="Welcome to LUMI\n"), answer(told_lines()))
    assert [command.purpose for command in commands] == ["looking at the host", "asking Slurm"]
    assert [finding.what for finding in findings] == [
        "Slurm's commands",
        "Slurm",
        "Partitions",
        "Arrays",
        "Accounting",
        "Accounts",
        "QOS limits",
        "Work directory",
        "Login shell",
        "Clock",
    ]
    assert "'Welcome to LUMI'" in the_bad(findings).value


def test_without_slurm_nothing_is_asked_of_it():
    """One command is enough then."""
    said = {**HOST, "sbatch": "", "squeue": "", "scontrol": "", "scancel": "", "sacct": "", "sinfo": ""}
    findings, commands = check(answer(f"{word} {encoded(text)}" for word, text in said.items()))
    assert len(commands) == 1
    assert the_bad(findings).what == "Slurm's commands"


@pytest.mark.parametrize(("now", "well"), [(1795000020.0, True), (1795000040.0, False), (1794999960.0, False)])
def test_clocks(now, well):
    """Half a minute is nothing, more is."""
    said = [f"{word} {encoded(text)}" for word, text in HOST.items()]
    findings, _ = check(answer(said), answer(told_lines()), now=now)
    assert (findings[-1].verdict is Verdict.OK) == well


def test_a_host_without_a_clock():
    """What was not told is not held against it."""
    said = [f"{word} {encoded(text)}" for word, text in HOST.items() if word != "clock"]
    findings, _ = check(answer(said), answer(told_lines()), now=math.pi)
    assert "unknown" in findings[-1].value


ANY_TEXT = st.text(max_size=60) | st.sampled_from(["", "0", "9" * 5000, "-", "a|b|c", "|", "\x1b[2J", "x 1 2 3 4 5"])


@given(said=st.dictionaries(st.sampled_from([*HOST, "found", "refused", "lockless"]), ANY_TEXT), noise=ANY_TEXT)
def test_whatever_a_host_says_is_judged(said, noise):
    """Nothing that a host may say breaks the report, and an empty answer is not well."""
    findings = judge_host(HostSeen(said=said, noise=noise), clock_ahead_seconds=0.0)
    assert all(finding.text.isprintable() for finding in findings)
    if not said.get("sbatch"):
        assert findings[0].verdict is Verdict.WRONG


@given(
    told=st.dictionaries(
        st.sampled_from(list(SLURM)),
        st.builds(
            Told, stdout=ANY_TEXT | st.sampled_from(list(SLURM.values())), stderr=ANY_TEXT, status=st.integers(0, 255)
        ),
    ),
    account=st.none() | ANY_TEXT,
)
def test_whatever_slurm_says_is_judged(told, account):
    """Nothing that Slurm may say breaks the report, and without its configuration it is not well."""
    findings = judge_slurm(told, account=account, poll_max_seconds=60.0)
    assert all(finding.text.isprintable() for finding in findings)
    if "config" not in told or told["config"].status or told["config"].stdout != CONFIG:
        assert findings[0].verdict is Verdict.WRONG


def test_reports():
    """What is wrong hides what is well; what is well comes after what could be better."""
    well, better, bad = Finding(what="A", value="a"), warning("B", "b", "c"), wrong("C", "c", "d")
    detail = Finding(what="D", value="d", is_detail=True)
    report = Report(conn_id="lumi", host="h", findings=[well, detail, better])
    assert (report.ok, report.text) == (True, "B: b. c.\nA: a.")
    report = Report(conn_id="lumi", host="h", findings=[well, better, bad])
    assert (report.ok, report.text) == (False, "C: c. d.")
    assert report.as_json()["findings"][1] == {"what": "B", "value": "b", "remedy": "c", "verdict": "warning"}


def test_what_a_terminal_would_obey_is_taken_out():
    """A foreign host can't write over the lines of a report."""
    assert Finding(what="A", value="\x1b[2Jred\r\nline").value == " [2Jred  line"
