"""Arrays: what their elements get and give back, and how many of them may fail.

The numbers above 1000 are above the cluster's MaxArraySize, so that these arrays run as two array jobs.
"""

from datetime import timedelta

from airflow.sdk import DAG

from headnode import SlurmArrayOperator, SlurmJobOperator

WRITE_ARGUMENTS = "import json, os, sys; json.dump(sys.argv[1:], open(os.environ['HEADNODE_RESULT'], 'w'))"
WRITE_ELEMENT = 'echo "$HEADNODE_ELEMENT" > "$HEADNODE_RESULT"'
FAIL = 'echo "$HEADNODE_ELEMENT fails" >&2; exit 2'
ONE_RETRY = {"retries": 1, "retry_delay": timedelta(0)}

with DAG("array_jobs", schedule=None, params={"note": "plain"}, max_active_tasks=16):
    SlurmArrayOperator(
        task_id="words",
        command=["python3", "-c", WRITE_ARGUMENTS, "always"],
        arguments=[["{{ params.note }}", ""], "two words", 3, []],
        log_elements="none",
    )
    tiles = SlurmJobOperator(task_id="tiles", command="""echo '["T31", ["T32", "--fast"]]' > "$HEADNODE_RESULT" """)
    SlurmArrayOperator(
        task_id="from_output",
        command='echo "[\\"$1\\", $#]" > "$HEADNODE_RESULT"; echo "this is $1"',
        arguments=tiles.output,
        log_elements="all",
    )
    SlurmArrayOperator(
        task_id="split",
        command=f'{WRITE_ELEMENT}; [ "$1 $HEADNODE_SUBMISSION" != "last 2" ]',
        arguments=["first", *["some"] * 1000, "last"],
        max_running=40,
        element_retries=1,
        memory="1M",
    )
    SlurmArrayOperator(
        task_id="in_triggerer",
        command=["python3", "-c", WRITE_ARGUMENTS, "{{ params.note }}"],
        arguments=["it's", 2],
        start_from_trigger=True,
    )
    SlurmArrayOperator(
        task_id="partly",
        command=f'{WRITE_ELEMENT}; sleep 8; case "$HEADNODE_ELEMENT" in *3) {FAIL};; esac',
        array="0-3,1000-1003%4",
        min_success_fraction=0.75,
    )
    SlurmArrayOperator(
        task_id="failing",
        command='echo "the last words of $HEADNODE_ELEMENT"; sleep 6; [ "$HEADNODE_ELEMENT" != 2 ] || exit 7',
        array="1-4",
        element_retries=1,
    )

with DAG("long_arrays", schedule=None, max_active_tasks=16):
    SlurmArrayOperator(task_id="followed", command="sleep 25", array="0-1,1001-1002", **ONE_RETRY)
    SlurmArrayOperator(task_id="cleared", command="sleep 300", array="0-1,1001-1002", max_running=2)
