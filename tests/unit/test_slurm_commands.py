"""Slurm's commands: each is one question for all jobs, in a form that the parsers read."""

from headnode.slurm import commands

PLAIN = ["env", "SLURM_TIME_FORMAT=%s", "SLURM_BITSTR_LEN=0"]


def test_one_unknown_id_must_not_be_an_error():
    """Squeue fails on a single id that it does not know, but not on the same id twice."""
    assert "--jobs=7,7" in commands.squeue(["7"])
    assert "--jobs=9,10" in commands.squeue({"10", "9"})


def test_questions():
    """Without headings and with times that need no time zone; accounting with steps, tags without."""
    squeue = ["squeue", "--noheader", "--jobs=7,8", "--format=%i|%T|%N|%S|%e|%V|%r|%Z"]
    assert commands.squeue({"7", "8"}) == PLAIN + squeue
    fields = (
        "JobID,State,ExitCode,ElapsedRaw,AllocCPUS,TotalCPU,MaxRSS,NTasks,AllocTRES,ConsumedEnergyRaw,Submit,Start,End,"
        "NodeList,WorkDir"
    )
    sacct = ["sacct", "--noheader", "--parsable2", "--duplicates", "--jobs=7,8", f"--format={fields}"]
    assert commands.sacct({"8", "7"}) == PLAIN + sacct
    assert commands.scontrol_show_job("7") == [*PLAIN, "scontrol", "--oneliner", "show", "job", "7"]
    assert commands.squeue_tags() == ["squeue", "--noheader", "--states=all", "--me", "--format=%i|%T|%Z|%k"]
    assert "--user=me" in commands.squeue_tags("me")
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
