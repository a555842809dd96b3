"""Answers of a cluster as literal transcripts, and the ways in which an answer breaks: for Hypothesis."""

from __future__ import annotations

import base64
import gzip
import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

#: How often each property is tried: by a run of the suite, and by a long one by hand (``HEADNODE_FULL=1``).
settings.register_profile("ci", max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
settings.register_profile("deep", settings.get_profile("ci"), max_examples=3000)
BUDGET = settings.get_profile("deep" if os.environ.get("HEADNODE_FULL") == "1" else "ci")

KEY = "11111111-2222-3333-4444-555555555555-1"
QUEUE = (
    f"101|RUNNING|n1|900|4500|890|None|/w/d/tasks/t/{KEY}/work\n"
    "102|PENDING||N/A|N/A|891|Resources|/w/k2/work\n"
    "103_[3-10%4]|PENDING||N/A|N/A|892|JobArrayTaskLimit|/w/k3/work\n"
    "103_1|COMPLETING|n2|900|4500|892|None|/w/k3/work\n"
    "104+0|RUNNING|n2|900|4500|892|None|/w/a dir|x/work\n"
)
_REST = "|1|cpu=1,mem=1M,node=1,gres/gpu=2|0|900|901|999|n1|/w/d/tasks/t/" + KEY + "/work\n"
SUCCESS = f"101|COMPLETED|0:0|3600|16|10:00:00|{_REST}101.batch|COMPLETED|0:0|3600|16|08:00:00|2048K{_REST}"
ACCOUNTING = (
    f"101|FAILED|3:0|3600|16|10:00:00|{_REST}101.batch|FAILED|3:0|3600|16|1-08:00:00|2048K{_REST}"
    f"103_1|RUNNING|0:0|60|1|00:00:00|{_REST}103_[2-9%3]|PENDING|0:0|0|1|00:00:00|{_REST}"
    f"104+0|CANCELLED by 1000|0:15|5|1|00:01.5|{_REST}104+1|TIMEOUT|0:0|5|1|00:00:00|{_REST}"
)
_RECORD = (
    "JobId={job} JobName=wrap UserId=root(0) GroupId=root(0) MCS_label=N/A Priority=4294901759 Nice=0 Account=root"
    " QOS=normal JobState={state} Reason=None Dependency=(null) Requeue=1 Restarts=0 BatchFlag=1 Reboot=0"
    " ExitCode=0:0 RunTime=00:00:03 TimeLimit=00:05:00 TimeMin=N/A SubmitTime=900 EligibleTime=1795270509"
    " AccrueTime=1795270509 StartTime=901 EndTime=999 Deadline=N/A SuspendTime=None SecsPreSuspend=0"
    " Partition=batch AllocNode:Sid=localhost:1084 ReqNodeList=(null)"
    " ExcNodeList=(null) NodeList=n1 BatchHost=n1 NumNodes=1 NumCPUs=2 NumTasks=1 CPUs/Task=1 ReqB:S:C:T=0:0:*:*"
    " TRES=cpu=2,mem=500M,node=1,billing=1 Socks/Node=* Features=(null) Network=(null) Command=(null)"
    f" WorkDir=/w/d/tasks/t/{KEY}/work Comment=headnode:{KEY}  StdErr=/w/e StdIn=/dev/null StdOut=/w/o Power= \n"
)
SCONTROL_SUCCESS = _RECORD.format(job="101", state="COMPLETED")
SCONTROL = _RECORD.format(job="101", state="RUNNING")
SCONTROL_ARRAY = (
    _RECORD.format(job="107 ArrayJobId=103 ArrayTaskId=1 ArrayTaskThrottle=2", state="FAILED")
    + _RECORD.format(job="103 ArrayJobId=103 ArrayTaskId=2-9%3 ArrayTaskThrottle=2", state="PENDING")
    + _RECORD.format(job="104 HetJobId=104 HetJobOffset=0", state="TIMEOUT")
)
NODES = "batch|up|mixed|1|gpu:a100:4(S:0-1),shard:8|gpu:a100:1(IDX:0)|n3|\nbatch|up|idle|2|(null)|gpu:0|n[1-2,07]|\n"
PARTITIONS = (
    "PartitionName=batch AllowGroups=ALL AllowAccounts=a,b AllowQos=ALL AllocNodes=ALL Default=YES QoS=N/A"
    " DefaultTime=NONE MaxNodes=4 MaxTime=1-00:00:00 MinNodes=0 MaxCPUsPerNode=UNLIMITED Nodes=n[1-4] OverSubscribe=NO"
    " State=UP TotalCPUs=64 TotalNodes=4 SelectTypeParameters=NONE JobDefaults=(null) MaxMemPerNode=UNLIMITED\n"
)
HARDWARE = "batch*|2|16|16|1|1|8000|(null)|n[1-2]|\ngpu|3|128|1|64|2|512000|gpu:mi250:8(S:0)|g[1-3]|\n"
NODE_RECORDS = (
    "NodeName=g1 Arch=x86_64 CoresPerSocket=64  CPUAlloc=0 CPUEfctv=112 CPUTot=128 AvailableFeatures=a,b"
    " Gres=gpu:mi250:8(S:0) RealMemory=512000 Sockets=1 Boards=1 CoreSpecCount=8 CPUSpecList=0-1,16-17"
    " MemSpecLimit=20480 ThreadsPerCore=2\n"
)
MODULES = "Hi\nheadnode:modules lmod 8.7.32\n/apps:\nGCC/12.3.0(default)\nPyTorch/2.1\nheadnode:modules:end\n"
RESERVATIONS = (
    "ReservationName=maint1 StartTime=1795277946 EndTime=1795281546 Nodes=n1 NodeCnt=1 CoreCnt=16 Features=(null)"
    " PartitionName=(null) Flags=MAINT,IGNORE_JOBS Users=root Duration=01:00:00 State=INACTIVE BurstBuffer=(null)\n"
)
TAGS = f"101|RUNNING|/w/d/tasks/t/{KEY}/work|headnode:{KEY}\n102|PENDING|/home/a dir|two\nlines|of a comment\n"
CONFIG = (
    "Configuration data as of 2026-11-21T17:40:12\nAccountingStorageEnforce = associations,limits,qos\n"
    "AccountingStorageType   = accounting_storage/slurmdbd\nClusterName             = private\n"
    "MaxArraySize            = 1001\nMinJobAge               = 300 sec\nSLURM_VERSION           = 22.05.8\n"
)
REFUSED = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n"


def encoded(text: str | bytes) -> str:
    """Return what ``base64 -w0`` prints."""
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def zipped(content: bytes) -> str:
    """Return what ``gzip -c | base64 -w0`` prints."""
    return encoded(gzip.compress(content, mtime=0))


BANNERS = (
    "*** Welcome! ***\n",
    "\x1b[31mThe disk is full\x1b[0m\n",
    "Last login: Fri 101|COMPLETED|0:0\n",
    "headnode:end:0\n",
    "headnode:begin\n",
    "\r",
    "|||||||||||||||",
    "0",
    "COMPLET",
    "slurm_load_jobs error: Invalid job id specified\n",
    "1795270509\n",
    "\ufffd\u202e\u2028\x85\x0c\x1c",
)


@st.composite
def broken(draw: st.DrawFn, text: str) -> str:
    """Break ``text``: cut it, put something foreign into it, repeat, leave out, or exchange parts of it."""
    for _ in range(draw(st.integers(1, 3))):
        lines = text.split("\n")
        at, until = sorted(draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
        line = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(("cut", "cut", "lose", "insert", "write", "repeat", "move", "field", "empty"))):
            case "cut":
                text = text[:at]
            case "lose":
                text = text[:at] + text[min(until, at + draw(st.integers(1, 40))) :]
            case "insert":
                text = text[:at] + draw(st.sampled_from(BANNERS)) + text[at:]
            case "write":
                text = text[:at] + draw(st.text(max_size=8)) + text[at:]
            case "repeat":
                text = "\n".join([*lines[: line + 1], *lines[line:]])
            case "move":
                text = "\n".join([lines[line], *lines[:line], *lines[line + 1 :]])
            case "field":
                fields = lines[line].split("|")
                fields[draw(st.integers(0, len(fields) - 1))] = draw(st.sampled_from(_FIELDS) | st.text(max_size=8))
                text = "\n".join([*lines[:line], "|".join(fields), *lines[line + 1 :]])
            case _:
                text = draw(st.sampled_from(("", "\n", " ", "ok\n", "0\n")))
    return text


_FIELDS = (
    "", "None", "N/A", "Unknown", "(null)", "INVALID", "-1", "0:0", "9" * 400, "1e999", "nan", "a|b", "x\ny", "٣", "²",
    "101_[0-9999999]", "_[", "1.5G", "9" * 400 + "G", "00:00", f"{'9' * 400}:00", "cpu=inf", "mem=9e9e9", "=,=",
)  # fmt: skip


@st.composite
def broken_bytes(draw: st.DrawFn, text: str) -> bytes:
    """Break ``text`` as ``broken`` does, or not at all, and put bytes into it that are no UTF-8."""
    content = (draw(broken(text)) if draw(st.booleans()) else text).encode("utf-8", "surrogatepass")
    if draw(st.booleans()):
        at = draw(st.integers(0, len(content)))
        content = content[:at] + draw(st.binary(max_size=6)) + content[at + draw(st.integers(0, 3)) :]
    return content


def framed(output: str, status: int = 0) -> str:
    """Return the answer to a command that printed ``output``."""
    return f"headnode:begin\n{output}\nheadnode:end:{status}\n"


#: Pieces of which lines of any length are made that patterns may trip over.
LONG_PIECES = (
    "9", "a", " ", "|", "\n", "\t", ",", "a,", "[", "]", "[0-9", "n1,n2,", "n[1-9],", "[1-9,", "gpu:", "gpu:1(", "=",
    " a=", "JobState=", " JobState=X Reason=", " ExitCode=0:0 RunTime=1 ", " WorkDir=/", " NodeList= ", "JobId=1 ",
    "SubmitTime=1 ", " StartTime=1 EndTime=2 ", " NumCPUs=1 ", "101|", "101_[", "1-9,", "0-4000000,", "1:", "1-", "0.",
    "-", "_", "\\", "'", '"', "\x1b[31m", "\r", "requeued", "held", "headnode:begin\n", "\nheadnode:end:0",
    "\nheadnode:part nodes\n", "file 0 result.1.json\n", "text 0 result.1.json:[", "job ", "{", '{"a":', "1 2 ",
    "#SBATCH -a", "#SBATCH\n", "{{", "cpu=1,", "Max", "€", "\ufffd", "%", "A = ",
)  # fmt: skip
LONG = 10_000_000 if os.environ.get("HEADNODE_FULL") == "1" else 100_000


def long_text(piece: str) -> str:
    """Return a text of ``LONG`` characters that consists of ``piece``."""
    return (piece * (LONG // len(piece) + 1))[:LONG]
