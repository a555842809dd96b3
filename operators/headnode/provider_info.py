"""What headnode tells Airflow about itself: modules, the connection type with its form, the extra link."""

from __future__ import annotations

from typing import Any

_INTEGRATION = "Slurm"
_TEXT = {"type": ["string", "null"]}
_SECRET = {"type": ["string", "null"], "format": "password"}
# A password field is one line and would drop the line breaks of a key. Airflow masks what it shows by the name.
_KEY = {"type": ["string", "null"], "format": "multiline"}
_NUMBER = {"type": ["integer", "null"], "minimum": 1}

_CONNECTION_FIELDS: dict[str, dict[str, Any]] = {
    "key_file": {
        "label": "Key file",
        "schema": _TEXT,
        "description": "Path of the private key, readable where Airflow's workers and triggerers run.",
    },
    "private_key": {
        "label": "Private key",
        "schema": _KEY,
        "description": "The private key itself, in place of a key file. Masked once it is stored.",
    },
    "private_key_passphrase": {
        "label": "Passphrase of the private key",
        "schema": _SECRET,
    },
    "host_key": {
        "label": "Host key",
        "schema": _TEXT,
        "description": "The host's public key as ssh-keyscan prints it, without the host: "
        "'ssh-ed25519 AAAA…'. Without it known_hosts must hold the host. Host keys are always checked.",
    },
    "known_hosts": {
        "label": "Known hosts file",
        "schema": _TEXT,
        "description": "In place of the user's own ~/.ssh/known_hosts.",
    },
    "conn_timeout": {
        "label": "Connection timeout (seconds)",
        "schema": _NUMBER,
        "description": "30 where empty.",
    },
    "work_directory": {
        "label": "Work directory on the cluster",
        "schema": {"type": ["string", "null"], "default": "~/.headnode"},
        "description": "Jobs run, log and leave their records below it; all nodes must see it.",
    },
    "poll_seconds": {
        "label": "Shortest polling interval (seconds)",
        "schema": _NUMBER,
        "description": "One squeue asks for all jobs of this host. 10 where empty.",
    },
    "poll_max_seconds": {
        "label": "Longest polling interval (seconds)",
        "schema": _NUMBER,
        "description": "The interval grows to it while nothing changes. 60 where empty.",
    },
    "account": {
        "label": "Default Slurm account",
        "schema": _TEXT,
        "description": "Charged for jobs that name no account of their own.",
    },
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata; the entry point ``apache_airflow_provider`` names this function."""
    return {
        "package-name": "airflow-provider-headnode",
        "name": "headnode",
        "description": "Run science on supercomputers: deferrable Slurm jobs over one SSH connection.",
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://slurm.schedmd.com/documentation.html",
                "tags": ["service"],
            }
        ],
        "hooks": _modules("headnode.hooks.slurm"),
        "operators": _modules(
            "headnode.operators.download",
            "headnode.operators.slurm_array",
            "headnode.operators.slurm_job",
            "headnode.operators.upload",
        ),
        "sensors": _modules(
            "headnode.sensors.maintenance",
            "headnode.sensors.partition",
            "headnode.sensors.remote_path",
            "headnode.sensors.slurm_job",
        ),
        "triggers": _modules(
            "headnode.assets.remote_path",
            "headnode.triggers.condition",
            "headnode.triggers.job_end",
            "headnode.triggers.slurm_job",
        ),
        "extra-links": ["headnode.links.SlurmJobLink"],
        "connection-types": [
            {
                "connection-type": "slurm",
                "hook-class-name": "headnode.hooks.slurm.SlurmHook",
                "hook-name": "Slurm over SSH",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema"],
                    "relabeling": {"host": "Login node", "login": "Username"},
                    "placeholders": {"host": "login.cluster.example.org", "port": "22"},
                },
                "conn-fields": _CONNECTION_FIELDS,
            }
        ],
    }


def _modules(*modules: str) -> list[dict[str, Any]]:
    return [{"integration-name": _INTEGRATION, "python-modules": list(modules)}]
