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
    resources        how GPUs, memory and whole nodes are asked for there
    templates        values within launchers and environments that Airflow renders later
    generator        a start script for people, without Airflow
    module_*         blocks of module lines in scripts, and what the catalogue has for them
    probing          what a cluster says of itself; measured* and login_shell read it, site_file writes it down
    certification    small jobs that show what works at a site; verdicts is what came of them
    wheels           a lock file's wheels, for where there is no internet

Nothing here imports Airflow.
"""
