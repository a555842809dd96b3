"""Slurm's commands: each is one question for all jobs, in a form that the parsers read."""

from headnode.slurm import commands


def test_one_unknown_id_must_not_be_an_error():
    """Squeue fails on a single id that it does not know, but not on the same id twice."""
    assert commands.squeue(["7"])[2] == "--jobs=7,7"
    assert commands.squeue({"10", "9"})[2] == "--jobs=9,10"


def test_questions():
    """Without headings; accounting with steps, tags without."""
    assert commands.squeue({"7", "8"}) == ["squeue", "--noheader", "--jobs=7,8", "--format=%F|%i|%T|%N|%S|%e|%r"]
    assert commands.sacct({"8", "7"}) == [
        "sacct",
        "--noheader",
        "--parsable2",
        "--jobs=7,8",
        "--format=JobID,State,ExitCode,ElapsedRaw,AllocCPUS,TotalCPU,MaxRSS,NodeList",
    ]
    assert commands.squeue_tags() == ["squeue", "--noheader", "--me", "--format=%F|%T|%Z|%k"]
    assert commands.squeue_tags("me")[2] == "--user=me"
    assert commands.sacct_tags("now-1hour") == [
        "sacct",
        "--noheader",
        "--parsable2",
        "--allocations",
        "--starttime=now-1hour",
        "--format=JobID,State,WorkDir,Comment",
    ]
    assert commands.scancel({"8", "7"}) == ["scancel", "7", "8"]
    assert commands.tag("key") == "headnode:key"
