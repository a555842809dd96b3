"""One task for each thing that a job can be or do; a run of it is looked at by many tests.

Jobs whose task ends on a worker sleep: Airflow 3.3.2 fails a task that is resumed before the scheduler has heard that
its worker had deferred it, which takes a busy scheduler some seconds. Sensors are tried once more for the same reason.
"""

from datetime import timedelta

from airflow.sdk import DAG, Asset

from headnode import SlurmJobOperator, SlurmJobSensor

WRITE_ARGUMENTS = "import json, os, sys; json.dump(sys.argv[1:], open(os.environ['HEADNODE_RESULT'], 'w'))"
WRITE_VARIABLE = "import json, os; json.dump(os.environ['GREETING'], open(os.environ['HEADNODE_RESULT'], 'w'))"

with DAG("example_jobs", schedule=None, params={"note": "plain", "nodes": 2}, max_active_tasks=16):
    quoted = SlurmJobOperator(task_id="quoted", command=["python3", "-c", WRITE_ARGUMENTS, "{{ params.note }}", ""])
    SlurmJobOperator(
        task_id="environment", command=["python3", "-c", WRITE_VARIABLE], env={"GREETING": "it's {{ params.note }} $X"}
    )
    SlurmJobOperator(task_id="code", command=["python3", "greeting.py", "{{ params.nodes }}"], code="jobs")
    SlurmJobOperator(
        task_id="resources",
        command="echo nothing to return",
        partition="gpu",
        time_limit=timedelta(minutes=7),
        nodes="{{ params.nodes }}",
        ntasks_per_node=1,
        cpus_per_task=2,
        gpus_per_node=1,
        memory="100M",
        sbatch_options={"nice": 3},
        setup="export SET_UP=1",
        job_name="named by {{ dag.dag_id }}",
    )
    SlurmJobOperator(task_id="script", script='#!/bin/bash\n#SBATCH --time=3\necho "from a script"\nexit 0\n')
    SlurmJobOperator(task_id="waiting", command="true", sbatch_options={"begin": "now+6"})
    failing = SlurmJobOperator(task_id="failing", command="echo first line; echo the last words; sleep 8; exit 3")
    SlurmJobOperator(
        task_id="retried",
        command='echo "{\\"try\\": $TRY}" > "$HEADNODE_RESULT"; sleep 8; [ "$TRY" = 2 ]',
        env={"TRY": "{{ ti.try_number }}"},
        retries=1,
        retry_delay=timedelta(0),
    )
    SlurmJobOperator(task_id="with_outlet", command="sleep 8", outlets=[Asset("headnode://tests/map")])
    SlurmJobOperator(
        task_id="in_triggerer",
        command=["python3", "-c", WRITE_ARGUMENTS, "{{ params.note }}"],
        start_from_trigger=True,
    )
    SlurmJobOperator(
        task_id="array",
        command='echo "$SLURM_ARRAY_TASK_ID" > "$HEADNODE_RESULT"',
        sbatch_options={"array": "0-3"},
    )
    SlurmJobOperator(task_id="typed_slurm", slurm_conn_id="typed_slurm", command="true")
    quoted >> SlurmJobSensor(
        task_id="after_quoted",
        job_id="{{ ti.xcom_pull('quoted', key='slurm_job')['job_id'] }}",
        retries=1,
        retry_delay=timedelta(0),
    )
    failing >> SlurmJobSensor(
        task_id="after_failing",
        job_id="{{ ti.xcom_pull('failing', key='slurm_job')['job_id'] }}",
        trigger_rule="all_done",
        retries=1,
        retry_delay=timedelta(0),
    )
