"""Sbatch's error messages and what they allow: only what certainly submitted nothing may be sent again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnode.slurm.refusals import Refusal, classify_refusal, message_of, remedy_for

# The strings of src/common/slurm_errno.c, by what they mean for whoever would send the job again.
NOT_SUBMITTED = [
    "Unable to contact slurm controller (connect failure)",
    "Rate limit exceeded, please retry momentarily",
    "Rate limit exceeded, please retry later",
    "Communication connection failure",
    "Connection timed out establishing connection",
    "Slurm backup controller in standby mode",
    "Controller is in standby mode, try a different controller",
    "MaxJobCount limit reached",
    "Requested nodes are busy",
    "Required ports are in use",
    "I/O error writing script/environment to file",
    "Protocol authentication error",
    "Invalid authentication credential",
    "Authentication credential expired",
]
OUTCOME_UNKNOWN = [
    "Socket timed out on send/recv operation",
    "Unable to contact slurm controller (send failure)",
    "Unable to contact slurm controller (receive failure)",
    "Unable to contact slurm controller (shutdown failure)",
    "Zero Bytes were transmitted or received",
    "Message send failure",
    "Message receive failure",
    "Connection timed out writing",
    "Connection timed out reading",
    "Unable to connect to database",
    "Slurm internal error, contact system administrator",
    "An error that no version of Slurm has had so far",
]
POLICY = [
    "System submissions disabled",
    "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
    "Requested account has breached requested QOS usage threshold",
    "Requested partition configuration not available now",
    "Required node not available (down, drained or reserved)",
    "Required partition not available (inactive or drain)",
    "Partition in DOWN state",
]
PERMANENT = [
    "Requested node configuration is not available",
    "Requested time limit is invalid (missing or exceeds some limit)",
    "Time limit specification required, but not provided",
    "Invalid partition name specified",
    "No partition specified or system default partition",
    "Invalid account or account/partition combination specified",
    "Invalid qos specification",
    "Invalid wckey specification",
    "Invalid feature specification",
    "Invalid license specification",
    "Invalid generic resource (gres) specification",
    "Invalid GRES specification (with and without type identification)",
    "Requested GRES option unsupported by configured SelectType plugin",
    "--gpus-per-node and --gres=gpu are mutually exclusive.",
    "User's group not permitted to use this partition",
    "Access/permission denied",
    "More processors requested than permitted",
    "Node count specification invalid",
    "CPU count specification invalid",
    "Task count specification invalid",
    "Memory required by task is not available",
    "Job dependency problem",
    "Circular job dependency",
    "Invalid job array specification",
    "Pathname of a file, directory or other parameter too long",
    "Job script not specified",
    "Environment is missing in job",
    "Job cannot be submitted without the current working directory specified.",
    "Access denied to requested reservation",
    "Requested reservation is invalid",
    "Incompatible versions of client and server code",
]
CLIENT_SIDE = [
    "sbatch: error: Unable to open file script.sh",
    "sbatch: error: This does not look like a batch script.  The first line must start with #! ...",
    "sbatch: error: Batch script contains DOS line breaks (\\r\\n)\nsbatch: error: instead of UNIX ones (\\n).",
    "sbatch: unrecognized option '--colour=blue'\nTry \"sbatch --help\" for more information",
    "sbatch: error: Invalid --mem specification",
    "bash: line 5: sbatch: command not found",
]
FAILED = "sbatch: error: Batch job submission failed: "
CLASSES = [
    *((text, Refusal.NOT_SUBMITTED) for text in NOT_SUBMITTED),
    *((text, Refusal.OUTCOME_UNKNOWN) for text in OUTCOME_UNKNOWN),
    *((text, Refusal.POLICY) for text in POLICY),
    *((text, Refusal.PERMANENT) for text in PERMANENT),
]


@pytest.mark.parametrize(("text", "refusal"), CLASSES)
def test_each_string_of_slurm(text: str, refusal: Refusal):
    """Whatever sbatch puts before it and a site's login around it."""
    assert classify_refusal(text) is refusal
    assert classify_refusal(f"Welcome to the cluster\n{FAILED}{text}\n") is refusal


@pytest.mark.parametrize("text", CLIENT_SIDE)
def test_what_sbatch_itself_refuses(text: str):
    """Nothing was sent, and nothing would change that."""
    assert classify_refusal(text) is Refusal.PERMANENT


@pytest.mark.parametrize("text", ["", "4711\n", "sbatch: Submitted to the partition small", "Killed"])
def test_what_is_not_known_may_have_submitted(text: str):
    """Also no words at all."""
    assert classify_refusal(text) is Refusal.OUTCOME_UNKNOWN


@pytest.mark.parametrize(
    "before",
    [
        "sbatch: error: Rate limit exceeded, please retry momentarily",
        "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying",
        "sbatch: error: Unable to contact slurm controller (connect failure)",
        "/etc/profile.d/modules.sh: line 3: module: command not found",
    ],
)
@pytest.mark.parametrize("last", OUTCOME_UNKNOWN)
def test_an_unknown_outcome_outweighs_what_came_before(before: str, last: str):
    """Sbatch tries again by itself: an earlier try that submitted nothing says nothing of the last one."""
    assert classify_refusal(f"{before}\n{FAILED}{last}\n") is Refusal.OUTCOME_UNKNOWN


def test_an_id_outweighs_a_message():
    """A printed job id means that a job may exist, whatever else was said."""
    said = "4711\nsbatch: error: Invalid qos specification\n"
    assert classify_refusal(said) is Refusal.OUTCOME_UNKNOWN


@given(st.text())
def test_any_text_has_a_class_and_a_message(text: str):
    """No text is an error; messages are one line of bounded length."""
    assert classify_refusal(text) in Refusal
    message = message_of(text)
    assert message
    assert len(message) <= 500
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{FAILED}Invalid qos specification\n", "Invalid qos specification"),
        ("Welcome\nsbatch: error: Unable to open file x\nGood bye\n", "Unable to open file x"),
        ("sbatch: error: first\nsbatch: error: second", "second"),
        ("no such word", "no such word"),
        ("", "sbatch said nothing"),
    ],
)
def test_the_telling_part(text: str, message: str):
    """The last line that names an error."""
    assert message_of(text) == message


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ("Invalid partition name specified", "sinfo -s"),
        ("Invalid account or account/partition combination specified", "sacctmgr show assoc"),
        ("Invalid qos specification", "format=account,qos"),
        ("Requested time limit is invalid (missing or exceeds some limit)", "sinfo -o '%P %l'"),
        ("Requested node configuration is not available", "fewer CPUs, GPUs or less memory"),
        ("Memory required by task is not available", "less memory"),
        ("Invalid generic resource (gres) specification", "sinfo -o '%P %G'"),
        ("Job violates accounting/QOS policy (job submit limit)", "wait for own jobs to end"),
        ("bash: line 5: sbatch: command not found", "PATH"),
        ("unrecognized option '--colour'", "man sbatch"),
        ("Circular job dependency", "the job asks for something that this cluster does not give"),
    ],
)
def test_remedies(message: str, remedy: str):
    """Each says what to look at."""
    assert remedy in remedy_for(message)
