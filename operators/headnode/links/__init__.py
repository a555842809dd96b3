"""Links from Airflow's task pages to headnode's pages."""

from __future__ import annotations

from headnode.links.slurm_job import SlurmJobLink, airflow_path, job_page_path

__all__ = ["SlurmJobLink", "airflow_path", "job_page_path"]
