"""Supercomputers, what runs on them and how it is started: a catalogue, launchers and environments for jobs.

    <system>.yaml    the facts about one system, each with its source
    system           their form (pydantic)
    catalogue        finding and reading them
    launchers/       how a program is started over nodes: torchrun, MPI, Ray, ...
    environments/    what a program finds: modules, a virtual environment, a container
    facade           a job with ``site``, ``launch`` and ``environment`` becomes one of plain fields

Nothing here imports Airflow.
"""
