"""What a job used, in words."""

import pytest

from headnode.slurm.record import Usage
from headnode.slurm.usage import duration, energy, size, usage_facts, usage_table


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (86399, "23 h 59 min"),
        (86400, "1 d 00 h"),
        (-5, "0 s"),
    ],
)
def test_duration(seconds, text):
    """Two units are enough; a clock that went back is not a negative time."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (8 * 1024**3, "8.0 GiB"), (5000 * 1024**5, "5000.0 PiB")],
)
def test_size(count, text):
    """Slurm counts memory in powers of 1024."""
    assert size(count) == text


@pytest.mark.parametrize(("joules", "text"), [(0, "0 J"), (999, "999 J"), (12_500, "12.5 kJ"), (9_000_000, "2.5 kWh")])
def test_energy(joules, text):
    """Small jobs in joules, large ones in the unit of the bill."""
    assert energy(joules) == text


def test_the_table_of_a_job_that_used_everything():
    """Efficiencies as seff gives them: 7200 of 4 x 3600 CPU seconds, 2 tasks of 3 GiB of 8 GiB."""
    usage = Usage(
        elapsed_seconds=3600,
        allocated_cpus=4,
        cpu_seconds=7200,
        max_rss_bytes=3 * 2**30,
        memory_used_bytes=6 * 2**30,
        allocated_memory_bytes=8 * 2**30,
        gpus=2,
        node_count=2,
        energy_joules=12_500,
    )
    assert usage_table(usage, nodes="n[1-2]").split("\n") == [
        "  elapsed   1 h 00 min",
        "  CPU time  2 h 00 min on 4 CPUs, 50% of what was allocated",
        "  memory    6.0 GiB of 8.0 GiB allocated, 75%; at most 3.0 GiB a task",
        "  GPUs      2",
        "  energy    12.5 kJ",
        "  nodes     2 (n[1-2])",
    ]


def test_what_is_not_known_is_not_claimed():
    """Without accounting there are no figures but the times."""
    assert usage_facts(Usage(elapsed_seconds=5, allocated_cpus=1)) == [
        ("elapsed", "5 s"),
        ("CPU time", "0 s on 1 CPU, 0% of what was allocated"),
    ]
    assert ("memory", "not measured, 1.0 GiB allocated") in usage_facts(Usage(allocated_memory_bytes=2**30))
