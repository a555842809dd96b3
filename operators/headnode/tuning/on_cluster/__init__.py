"""What runs on the cluster: workers that share the trials of one study, over files on a shared file system.

Plain Python, 3.9 or newer, with nothing beside the standard library and Optuna. It goes with the job as one archive, in
which this folder is the package ``headnode_tuning``.

claims      who runs which trial: sessions, claims, beats; files only
setting     what a worker is told: the study's description and the job's variables
study       Optuna: the journal, samplers and pruners
slots       what has become of each of the N trials
worker      the loop that claims trials and runs them
telling     the lines in the log
results     what the job leaves for Airflow
commands    begin, work, end
"""
