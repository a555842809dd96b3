"""The example of docs/python.md."""
# ruff: noqa: D103, PLC0415, S311, T201

from airflow.sdk import dag, task


@dag(schedule=None, params={"samples": 100_000})
def monte_carlo():
    @task.slurm(slurm_conn_id="my_cluster", memory="100M", time_limit="00:10:00")
    def count(samples, seed):
        import random  # what a function uses, it imports itself

        random.seed(seed)
        inside = sum(random.random() ** 2 + random.random() ** 2 < 1 for _ in range(int(samples)))
        print(f"{inside} of {samples} points are inside")  # in the task's log while the job runs
        return inside / int(samples)

    @task
    def pi(parts):
        return 4 * sum(parts) / len(parts)

    pi(count.partial(samples="{{ params.samples }}").expand(seed=[1, 2, 3]))


monte_carlo()
