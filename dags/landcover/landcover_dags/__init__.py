"""How a map's configuration becomes its DAGs; `landcover_maps.py` beside this folder is what Airflow reads."""
