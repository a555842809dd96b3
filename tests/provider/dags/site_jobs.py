"""Jobs that say where and how they run, by the catalogue's file on the private cluster in tests/provider/sites."""

from airflow.sdk import DAG

from headnode import Commands, Mpi, SlurmArrayOperator, SlurmJobOperator, TrainOperator

COUNT = "import os, pathlib; pathlib.Path(os.environ['HEADNODE_RESULT']).write_text(os.environ['SLURM_NTASKS'])"

with DAG("site_jobs", schedule=None, params={"nodes": 2, "more": 4}, max_active_tasks=8):
    SlurmJobOperator(
        task_id="launched",
        job_name="at_{{ conn.at_private.extra_dejson.site }}",
        site="private",
        launch=Mpi(nodes=2, ranks_per_node=2),
        environment=Commands("export GREETING='{{ dag.dag_id }}'"),
        command=["ranks.py", "a b", "$HOME"],
        code="jobs/ranks",
    )
    SlurmJobOperator(
        task_id="templated",
        site="{{ 'Private' | lower }}",
        launch=Mpi(nodes="{{ params.nodes + 1 }}", ranks_per_node=1, cpus_per_task=1),
        command="ranks.py",
        code="jobs/ranks",
    )
    SlurmJobOperator(
        task_id="in_triggerer",
        job_name="at_{{ conn.at_private.extra_dejson.site }}",
        slurm_conn_id="at_private",
        launch={"kind": "mpi", "nodes": "{{ params.nodes }}", "ranks_per_node": 2, "cpus_per_task": 1},
        command=["python3", "-c", COUNT],
        start_from_trigger=True,
    )
    SlurmArrayOperator(
        task_id="elements",
        site="private",
        launch=Mpi(nodes=2, ranks_per_node=1, cpus_per_task=1),
        command=["ranks.py"],
        arguments=["a", "b"],
        code="jobs/ranks",
    )
    SlurmJobOperator(
        task_id="too_many",
        site="private",
        launch=Mpi(nodes="{{ params.more }}", ranks_per_node=1),
        command=["ranks.py"],
        retries=0,
    )
    TrainOperator(
        task_id="training",
        site="private",
        launch=Mpi(ranks_per_node=1, cpus_per_task=1),
        nodes=2,
        command=["train.py"],
        code="jobs/ranks",
        metric="accuracy",
        mode="max",
    )
