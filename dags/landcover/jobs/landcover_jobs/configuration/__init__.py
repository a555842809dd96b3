"""What a map is: the pydantic models of `maps/*.yaml`. Imports pydantic and PyYAML only, for Airflow reads it too."""
