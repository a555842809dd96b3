"""One job that is given hostile params of its run: as words of its command, and as variables of its environment."""

from airflow.sdk import DAG

from headnode import SlurmJobOperator

COUNT = 300
WRITE = """\
import json, os, sys
variables = [os.environ[f"V_{number}"] for number in range(len(sys.argv) - 1)]
json.dump({"words": sys.argv[1:], "variables": variables}, open(os.environ["HEADNODE_RESULT"], "w"))
"""

with DAG("hostile_params", schedule=None, params={"values": []}):
    SlurmJobOperator(
        task_id="job",
        command=["python3", "-c", WRITE, *(f"{{{{ params['values'][{number}] }}}}" for number in range(COUNT))],
        env={f"V_{number}": f"{{{{ params['values'][{number}] }}}}" for number in range(COUNT)},
        memory="10M",
    )
