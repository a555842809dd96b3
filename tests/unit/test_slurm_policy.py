"""What follows a failed submission: bounded, additive, the same after every restart, and said in plain words."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnode.errors import JobSpecError
from headnode.slurm.policy import ExcludeNode, FailurePolicy, MoreMemory, Resubmit
from headnode.slurm.record import Submission, Usage
from headnode.slurm.resubmission import MOST_IN_PLACE_OF_REQUEUES, End, GiveUp, Resubmission, decide, end_of
from headnode.slurm.states import JobState, Phase, phase_of

ALL = FailurePolicy(on_out_of_memory=MoreMemory(), on_timeout=Resubmit(), on_node_fail=ExcludeNode())
OOM = End(job_id="7", state=JobState.OUT_OF_MEMORY, memory_mebibytes=1000)
TIMEOUT = End(job_id="7", state=JobState.TIMEOUT)

policies = st.builds(
    FailurePolicy,
    on_out_of_memory=st.none()
    | st.builds(MoreMemory, factor=st.floats(1.1, 100), limit=st.from_regex(r"[1-9][0-9]{0,4}[KMGT]?", fullmatch=True)),
    on_timeout=st.none() | st.builds(Resubmit, times=st.integers(1, 9), from_checkpoint=st.booleans()),
    on_node_fail=st.none() | st.builds(ExcludeNode, times=st.integers(1, 9)),
)
ends = st.builds(
    End,
    job_id=st.from_regex(r"[1-9][0-9]{0,6}", fullmatch=True),
    state=st.sampled_from([state for state in JobState if phase_of(state) is Phase.FAILED]),
    exit_code=st.sampled_from([None, 0, 1, 75, 138]),
    signal=st.sampled_from([None, 0, 9, 10]),
    nodes=st.sampled_from([None, "n1", "n[2-4]", "n1,x[1-2,7]", "n..."]),
    memory_mebibytes=st.none() | st.integers(1, 10**6),
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "mem": st.from_regex(r"[0-9]{1,4}[KMGT]?", fullmatch=True),
        "exclude": st.sampled_from(["n9", "n[1-2]"]),
        "time": st.just("01:00:00"),
    },
)


@given(policies)
def test_a_policy_can_be_stored_as_json(policy):
    """And is the same again afterwards."""
    assert FailurePolicy.from_json(json.loads(json.dumps(policy.to_json()))) == policy


def test_no_policy_is_to_fail():
    """Whatever the end."""
    assert FailurePolicy.from_json(None) == FailurePolicy.from_json({}) == FailurePolicy()
    assert FailurePolicy().to_json() == {}
    for state in JobState:
        assert decide(FailurePolicy(), [End(job_id="7", state=state, exit_code=75)], {}) == GiveUp()


@given(policies, ends, requests)
def test_it_comes_to_an_end(policy, end, requested):
    """The same failure again and again is not answered for ever."""
    failed = [end]
    while isinstance(decide(policy, failed, requested), Resubmission):
        failed.append(end)
        assert len(failed) < 200


@given(policies, st.lists(ends, min_size=1, max_size=6), requests)
def test_options_add_up(policy, failed, requested):
    """Memory never shrinks and stays below its limit, nodes that failed stay excluded, and the author's with them."""
    memory, excluded = 0, set()
    for count in range(1, len(failed) + 1):
        after = decide(policy, failed[:count], requested)
        if isinstance(after, GiveUp):
            break
        options = dict(option.removeprefix("--").split("=", 1) for option in after.options)
        assert set(options) <= {"mem", "exclude"}
        before, memory = memory, int(options.get("mem", "0M").removesuffix("M"))
        assert before <= memory
        assert all(f",{nodes}," in f",{options.get('exclude', '')}," for nodes in excluded)
        last = failed[count - 1]
        if last.state in (JobState.NODE_FAIL, JobState.BOOT_FAIL) and last.nodes not in (None, "n..."):
            excluded.add(last.nodes)
            assert f",{last.nodes}," in f",{options['exclude']},"
            excluded |= {requested["exclude"]} if "exclude" in requested else set()
        assert f"job {last.job_id} " in after.reason


@pytest.mark.parametrize(
    ("requested", "memory", "options"),
    [
        ({"mem": "500M"}, ["2000M"], ["--mem=2000M", "--mem=4000M"]),
        ({"mem": "4G"}, ["8G", "16G", "20G"], ["--mem=8192M", "--mem=16384M", "--mem=20480M"]),
        ({"mem": "1100"}, ["2200M"], ["--mem=2200M", "--mem=4400M"]),
        ({"mem": "1500000K"}, ["2930M"], ["--mem=2930M"]),
        ({}, ["2000M"], ["--mem=2000M", "--mem=4000M"]),
        ({"mem-per-cpu": "1G"}, ["2G"], ["--mem-per-cpu=2048M", "--mem-per-cpu=4096M"]),
        ({"mem-per-gpu": "11G"}, ["20G"], ["--mem-per-gpu=20480M"]),
    ],
)
def test_memory_grows_from_what_was_asked_for_up_to_the_limit(requested, memory, options):
    """In the same option; without one, or where it was more, from what each node gave."""
    policy = FailurePolicy(on_out_of_memory=MoreMemory(limit="20G"))
    found = [decide(policy, [OOM] * count, requested) for count in range(1, len(options) + 1)]
    assert [after.options for after in found] == [(option,) for option in options]
    assert all(after.reason.endswith(f"now it gets {size}") for after, size in zip(found, memory, strict=False))


def test_the_reason_of_more_memory():
    """How much it had and how much it gets."""
    policy = FailurePolicy(on_out_of_memory=MoreMemory(factor=1.5))
    after = decide(policy, [OOM], {"mem": "4G"})
    assert after.reason == "job 7 ran out of memory with 4G on each node; now it gets 6G"
    assert decide(policy, [OOM], {"mem-per-cpu": "1G"}).reason.startswith(
        "job 7 ran out of memory with 1G for each CPU"
    )


@pytest.mark.parametrize(
    ("requested", "end", "because"),
    [
        ({"mem": "128G"}, OOM, "it had 128G and the limit is 128G"),
        ({"mem": "1T"}, OOM, "it had 1024G and the limit is 128G"),
        ({"mem": "0"}, OOM, "it had all of its nodes' memory; give the operator memory="),
        ({}, End(job_id="7", state=JobState.OUT_OF_MEMORY), "how much it had is not known; give the operator memory="),
    ],
)
def test_when_memory_can_not_grow(requested, end, because):
    """The reason is told."""
    assert decide(ALL, [end], requested) == GiveUp(because=because)


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (TIMEOUT, "job 7 ran into its time limit"),
        (End(job_id="7", state=JobState.FAILED, exit_code=75), "job 7 asks to go on (exit code 75)"),
        (End(job_id="7", state=JobState.FAILED, exit_code=0, signal=10), "job 7 was ended by the warning"),
        (End(job_id="7", state=JobState.FAILED, exit_code=138), "job 7 was ended by the warning"),
    ],
)
def test_what_counts_as_out_of_time(end, words):
    """With a policy for it, and without one nothing of it."""
    for from_checkpoint, how in [(True, "it goes on from its checkpoint"), (False, "it goes on anew")]:
        policy = FailurePolicy(on_timeout=Resubmit(times=2, from_checkpoint=from_checkpoint))
        after = decide(policy, [TIMEOUT, end], {})
        assert after.options == ()
        assert after.reason.startswith(words)
        assert after.reason.endswith(how)
        assert decide(policy, [TIMEOUT, TIMEOUT, end], {}) == GiveUp(
            because="it was submitted again 2 times for that already"
        )
    assert decide(FailurePolicy(on_out_of_memory=MoreMemory(), on_node_fail=ExcludeNode()), [end], {}) == GiveUp()


@pytest.mark.parametrize(
    "end",
    [
        End(job_id="7", state=JobState.FAILED, exit_code=1),
        End(job_id="7", state=JobState.FAILED, exit_code=0, signal=9),
        End(job_id="7", state=JobState.CANCELLED, exit_code=75),
        End(job_id="7", state=JobState.CANCELLED, signal=10),
        End(job_id="7", state=JobState.PREEMPTED),
        End(job_id="7", state=JobState.DEADLINE),
    ],
)
def test_other_ends_are_final(end):
    """A person cancelled it, it was at fault itself, or Slurm says that it is over."""
    assert decide(ALL, [end], {}) == GiveUp()


def test_nodes_that_failed_are_excluded_with_those_that_the_author_excludes():
    """In Slurm's own notation."""
    first = End(job_id="7", state=JobState.NODE_FAIL, nodes="n[1-2]")
    second = End(job_id="8", state=JobState.BOOT_FAIL, nodes="n5")
    after = decide(ALL, [first], {"exclude": "x9"})
    assert after.options == ("--exclude=x9,n[1-2]",)
    assert after.reason == "job 7 ended as NODE_FAIL; now it runs without n[1-2]"
    assert decide(ALL, [first, second, second], {"exclude": "x9"}).options == ("--exclude=x9,n[1-2],n5",)
    assert isinstance(decide(ALL, [first, second, second, second], {}), GiveUp)


def test_a_node_that_is_not_known_is_not_excluded():
    """A list that was cut names nodes wrongly."""
    for nodes in (None, "n1,n2,n..."):
        after = decide(ALL, [End(job_id="7", state=JobState.NODE_FAIL, nodes=nodes)], {"exclude": "x9"})
        assert after.options == ()
        assert after.reason.endswith("though which node it was is not known")


def test_kinds_of_failure_are_counted_apart():
    """A try may lack memory, then time, then a node, and keeps what it has learnt."""
    lost = End(job_id="9", state=JobState.NODE_FAIL, nodes="n1")
    after = decide(ALL, [OOM, TIMEOUT, TIMEOUT, TIMEOUT, lost, OOM], {"mem": "1G"})
    assert after.options == ("--mem=4096M", "--exclude=n1")


@pytest.mark.parametrize(
    ("make", "field", "words"),
    [
        (lambda: MoreMemory(factor=1), "on_out_of_memory", "factor=1 must be a number from 1.1 to 100"),
        (lambda: MoreMemory(factor=True), "on_out_of_memory", "factor=True"),
        (lambda: MoreMemory(factor="2"), "on_out_of_memory", "factor='2'"),
        (lambda: MoreMemory(limit="much"), "on_out_of_memory", "limit='much' is no memory size; write e.g. '128G'"),
        (lambda: MoreMemory(limit="0"), "on_out_of_memory", "limit='0'"),
        (lambda: MoreMemory(limit=128), "on_out_of_memory", "limit=128"),
        (lambda: Resubmit(times=0), "on_timeout", "times=0 must be a whole number from 1 to 1000"),
        (lambda: Resubmit(times=True), "on_timeout", "times=True"),
        (lambda: Resubmit(from_checkpoint="yes"), "on_timeout", "from_checkpoint='yes' must be True or False"),
        (lambda: Resubmit(signal_seconds=0), "on_timeout", "signal_seconds=0"),
        (lambda: Resubmit(signal_seconds=65_536), "on_timeout", "from 1 to 65535"),
        (lambda: ExcludeNode(times=1.5), "on_node_fail", "times=1.5"),
        (lambda: FailurePolicy(on_timeout=MoreMemory()), "on_timeout", r"must be Resubmit\(...\) or None"),
        (lambda: FailurePolicy(on_node_fail=3), "on_node_fail", r"must be ExcludeNode\(...\) or None, not 3"),
    ],
)
def test_values_that_can_not_be_right_are_refused(make, field, words):
    """When they are written, with the field and what would be right."""
    with pytest.raises(JobSpecError, match=words) as caught:
        make()
    assert caught.value.field == field


def test_the_end_in_a_record():
    """Memory is counted for each node."""
    usage = Usage(allocated_memory_bytes=3 * 2**30, node_count=2)
    submission = Submission(
        number=1,
        job_id="7",
        at=datetime.now(UTC),
        state="OUT_OF_MEMORY",
        exit_code=0,
        signal=9,
        nodes="n1",
        usage=usage,
    )
    assert end_of(submission) == End(
        job_id="7", state=JobState.OUT_OF_MEMORY, exit_code=0, signal=9, nodes="n1", memory_mebibytes=1536
    )
    unknown = submission.model_copy(update={"state": None, "usage": None})
    assert not unknown.ended
    assert end_of(unknown).state is JobState.UNKNOWN
    assert end_of(submission.model_copy(update={"usage": Usage()})).memory_mebibytes is None


REQUEUED = [JobState.PREEMPTED, JobState.NODE_FAIL, JobState.BOOT_FAIL]


@pytest.mark.parametrize("state", REQUEUED)
def test_jobs_that_slurm_may_not_requeue_are_submitted_again(state):
    """Jobs with secrets: at most so often, and not where their author wants no requeue either."""
    end = End(job_id="7", state=state)
    after = decide(FailurePolicy(), [end], {}, in_place_of_requeue=True)
    reason = f"job 7 ended as {state.value}; in place of a requeue it is submitted again"
    assert after == Resubmission(options=(), reason=reason)
    assert decide(FailurePolicy(), [end], {}) == GiveUp()
    assert decide(FailurePolicy(), [end], {"no-requeue": True}, in_place_of_requeue=True) == GiveUp()
    many = [end] * (MOST_IN_PLACE_OF_REQUEUES + 1)
    assert decide(FailurePolicy(), many[1:], {}, in_place_of_requeue=True) == Resubmission(options=(), reason=reason)
    last = decide(FailurePolicy(), many, {}, in_place_of_requeue=True)
    assert last == GiveUp(because=f"it was submitted again {MOST_IN_PLACE_OF_REQUEUES} times for that already")


def test_what_policies_taught_holds_in_place_of_requeues():
    """A job that once lacked memory keeps what it has got."""
    ends = [OOM, End(job_id="8", state=JobState.PREEMPTED, memory_mebibytes=2000)]
    after = decide(ALL, ends, {"mem": "1000M"}, in_place_of_requeue=True)
    assert isinstance(after, Resubmission)
    assert after.options == decide(ALL, [OOM], {"mem": "1000M"}).options


def test_a_policy_for_nodes_outweighs_requeues():
    """It says how often, and leaves the node out."""
    end = End(job_id="7", state=JobState.NODE_FAIL, nodes="n1")
    policy = FailurePolicy(on_node_fail=ExcludeNode(times=1))
    after = decide(policy, [end], {}, in_place_of_requeue=True)
    assert isinstance(after, Resubmission)
    assert after.options == ("--exclude=n1",)
    assert isinstance(decide(policy, [end, end], {}, in_place_of_requeue=True), GiveUp)
