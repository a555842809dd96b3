"""Jobs with secrets from Airflow's variables and connections; ``refused`` and ``shown`` must fail."""

from airflow.sdk import DAG, task

from headnode import SlurmArrayOperator, SlurmJobOperator

REFERENCES = {
    "TOKEN": "variable:headnode_test_token",
    "DATABASE_PASSWORD": "connection:headnode_test_database.password",
    "KEY": "connection:headnode_test_database.extra.{{ params.key }}",
}
HASHES = """\
hash() { printf %s "$1" | sha256sum | cut -c1-64; }
requeue=$(scontrol show job "$SLURM_JOB_ID" | grep -om1 'Requeue=.')
printf '["%s","%s","%s","%s"]' "$(hash "$TOKEN")" "$(hash "$DATABASE_PASSWORD")" "$(hash "$KEY")" "$requeue" \\
  > "$HEADNODE_RESULT"
"""


@task.slurm(secret_env=REFERENCES)
def function():
    """Return the hashes of the secrets."""
    import hashlib  # noqa: PLC0415 - the function runs on the cluster
    import os  # noqa: PLC0415

    return [hashlib.sha256(os.environ[name].encode()).hexdigest() for name in ("TOKEN", "DATABASE_PASSWORD", "KEY")]


with DAG("secret_jobs", schedule=None, params={"key": "private_key"}, max_active_tasks=16):
    SlurmJobOperator(task_id="from_worker", command=HASHES, secret_env=REFERENCES)
    SlurmJobOperator(task_id="from_trigger", command=HASHES, secret_env=REFERENCES, start_from_trigger=True)
    function()
    SlurmArrayOperator(task_id="elements", command=HASHES, array="3-4", secret_env=REFERENCES)
    SlurmJobOperator(
        task_id="started_again",
        command=f'[ "$HEADNODE_SUBMISSION" = 2 ] || sleep 120\n{HASHES}',
        sbatch_options={"exclusive": True},
        secret_env=REFERENCES,
    )
    SlurmJobOperator(task_id="shown", command='echo "token $TOKEN"; echo "key $KEY" >&2; exit 3', secret_env=REFERENCES)
    SlurmJobOperator(
        task_id="refused", command="true", secret_env={"TOKEN": "variable:headnode_test_absent"}, retries=3
    )
