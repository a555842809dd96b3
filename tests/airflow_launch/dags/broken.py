"""A DAG file with an error in it: airflow and dag stand here so that it is taken for one."""

raise RuntimeError("this file is broken on purpose")
