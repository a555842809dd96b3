"""A module beside the program: jobs can import it."""

GREETING = "hello from the code beside the DAG"
