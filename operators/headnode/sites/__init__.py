"""Supercomputers, what runs on them and how it is started: a catalogue, launchers and environments for jobs.

    <system>.yaml    the facts about one system, each with its source
    system, facts    their form (pydantic)
    reading          a file, so that what is wrong is told with its line
    catalogue        finding them, the user's own too
    conflicts        what a job asks for against what its site has
    summary          what is known of a system and what is not, for people
    launchers/       how a program is started over nodes: torchrun, MPI, Ray, ...
    environments/    what a program finds: modules, a virtual environment, a container
    facade           a job with ``site``, ``launch`` and ``environment`` becomes one of plain fields

Nothing here imports Airflow.
"""
