"""N jobs as one array: one task of headnode."""

import json
import os

from airflow.sdk import DAG

import headnode

PLAN = json.loads(os.environ["HEADNODE_BENCH_PLAN"])
INDEX = "${HEADNODE_ELEMENT:-$SLURM_ARRAY_TASK_ID}"

for case in PLAN["cases"]:
    if case["way"] == "array":
        fields = {
            "task_id": "job",
            "slurm_conn_id": case["name"],
            "time_limit": str(case["minutes_limit"]),
            "command": f"sleep {case['seconds']}; date +%s.%N > {PLAN['ends']}/{case['name']}.{INDEX}",
        }
        elements = f"0-{case['jobs'] - 1}"
        with DAG(case["name"], schedule=None) as dag:
            if "SlurmArrayOperator" in headnode.__all__:
                headnode.SlurmArrayOperator(array=elements, **fields)
            else:
                headnode.SlurmJobOperator(sbatch_options={"array": elements}, **fields)
        globals()[case["name"]] = dag
