"""Jobs that depend on other tasks' jobs; those with a gate run until the test lets them go on."""

from datetime import timedelta

from airflow.sdk import DAG

from headnode import SlurmArrayOperator, SlurmJobOperator

GATE = 'while [ ! -e "$GATE" ]; do sleep 0.2; done; '
ALONE = {"job_name": "alone", "depends_on": {"singleton": True}, "command": "sleep 2"}

with DAG(
    "dependency_jobs",
    schedule=None,
    max_active_tasks=32,
    params={"gate": "none"},
    default_args={"memory": "10M", "retries": 2, "retry_delay": timedelta(0)},
):
    gate = {"GATE": "{{ params.gate }}"}
    first = SlurmJobOperator(task_id="first", command=GATE + "true", env=gate)
    second = SlurmJobOperator(task_id="second", command="sleep 1", depends_on=first)
    SlurmJobOperator(task_id="third", command="true", depends_on=["second", first], start_from_trigger=True)

    SlurmJobOperator(task_id="broken", command=GATE + "exit 3", env=gate, retries=0)
    SlurmJobOperator(task_id="after_broken", command="true", depends_on="broken")
    SlurmJobOperator(task_id="after_broken_in_triggerer", command="true", depends_on="broken", start_from_trigger=True)
    SlurmJobOperator(task_id="after_any_end", command="true", depends_on={"afterany": ["broken"]})
    SlurmJobOperator(task_id="after_failure", command="true", depends_on={"afternotok": "broken"})

    # Long enough for whoever depends on it to hear of the new try's job before that has ended.
    SlurmJobOperator(
        task_id="retried",
        command=GATE + '[ "$TRY" = 2 ] && sleep 8',
        env={**gate, "TRY": "{{ ti.try_number }}"},
        retries=1,
    )
    SlurmJobOperator(task_id="after_retried", command="true", depends_on="retried")

    quick = SlurmJobOperator(task_id="quick", command="true")
    quick >> SlurmJobOperator(task_id="after_quick", command="true", depends_on="quick")

    SlurmJobOperator(task_id="of_nobody", command="true", depends_on="nobody")
    SlurmJobOperator(task_id="before", command="true", depends_on="behind") >> SlurmJobOperator(
        task_id="behind", command="true"
    )
    SlurmJobOperator(task_id="alone_1", **ALONE)
    SlurmJobOperator(task_id="alone_2", **ALONE)

    SlurmJobOperator.partial(task_id="each", env=gate).expand(command=[GATE + "true", GATE + "sleep 0"])
    SlurmJobOperator.partial(task_id="after_each", depends_on="each").expand(command=["true", "sleep 0"])

    # One element fails at first; whoever depends on the array waits for the round that cures it.
    tiles = SlurmArrayOperator(
        task_id="tiles",
        command='sleep 2; [ "$HEADNODE_ELEMENT" != 2 ] || [ "$HEADNODE_SUBMISSION" = 2 ]',
        array="0-3",
        element_retries=1,
    )
    SlurmJobOperator(task_id="after_tiles", command="true", depends_on=tiles)
    pairs = SlurmArrayOperator(
        task_id="pairs", command=GATE + 'sleep "$((1 + 4 * HEADNODE_ELEMENT))"', array="0-1", env=gate
    )
    SlurmArrayOperator(task_id="after_pairs", command="true", array="0-1", depends_on={"aftercorr": pairs})

    SlurmJobOperator(
        task_id="components",
        command="srun --het-group=0,1 hostname",
        time_limit="5",
        components=[{"partition": "gpu", "gpus_per_node": 1, "ntasks": 2, "memory": "20M"}],
    )
