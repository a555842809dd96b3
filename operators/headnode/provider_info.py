"""What headnode tells Airflow about itself: modules, the connection type with its form, its settings, the link."""

from __future__ import annotations

from typing import Any

_INTEGRATION = "Slurm"
_TEXT = {"type": ["string", "null"]}
_SECRET = {"type": ["string", "null"], "format": "password"}
# A password field is one line and would drop the line breaks of a key. Airflow masks what it shows by the name.
_KEY = {"type": ["string", "null"], "format": "multiline"}
_NUMBER = {"type": ["integer", "null"], "minimum": 1}
_POSITIVE = {"type": ["number", "null"], "minimum": 0.1}

# In the order of the form: the way in, the host's identity, the cluster, politeness.
_CONNECTION_FIELDS: dict[str, dict[str, Any]] = {
    "hosts": {
        "label": "More login nodes",
        "schema": _TEXT,
        "description": "Tried in this order when the login node above is down, with the same user and key: "
        "'login2.example.org, login3.example.org'.",
    },
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
        "description": "Where the key has one.",
    },
    "certificate_file": {
        "label": "Certificate file",
        "schema": _TEXT,
        "description": "Path of the OpenSSH certificate, where the site signs keys. Read again at each login; "
        "'<key file>-cert.pub' is found by itself.",
    },
    "credential_command": {
        "label": "Credential command",
        "schema": _TEXT,
        "description": "Renews a key or certificate that lives for hours: 'step ssh certificate ...'. Run once where "
        "Airflow runs, without a shell, when a login says that it has expired.",
    },
    "totp_secret": {
        "label": "TOTP secret",
        "schema": _SECRET,
        "description": "For one-time codes: the base32 text that the site showed beside the QR code. Only where "
        "its rules allow it.",
    },
    "control_path": {
        "label": "ControlMaster socket",
        "schema": _TEXT,
        "description": "Path of the socket of a connection that you opened by hand with ssh; headnode then never "
        "logs in itself.",
    },
    "jump": {
        "label": "Jump hosts",
        "schema": _TEXT,
        "description": "'[user@]host[:port]', several of them with commas, in the order of the way.",
    },
    "ssh_config": {
        "label": "SSH configuration file",
        "schema": _TEXT,
        "description": "Such as '~/.ssh/config', to take aliases, jump hosts, keys and ciphers from it. "
        "Not read where empty.",
    },
    "host_key": {
        "label": "Host key",
        "schema": _TEXT,
        "description": "The host's public key as ssh-keyscan prints it, without the host: "
        "'ssh-ed25519 AAAA…'. Without it known_hosts must hold the host. Host keys are always checked; "
        "'headnode check' and the Test button show the one of an unknown host.",
    },
    "known_hosts": {
        "label": "Known hosts file",
        "schema": _TEXT,
        "description": "In place of the user's own ~/.ssh/known_hosts.",
    },
    "site": {
        "label": "Site",
        "schema": _TEXT,
        "description": "Its name in the catalogue (see 'headnode sites'), such as 'juwels-booster': for tasks with a "
        "launcher or an environment that name no site. Checks show it.",
    },
    "account": {
        "label": "Default Slurm account",
        "schema": _TEXT,
        "description": "Charged for jobs that name no account of their own.",
    },
    "work_directory": {
        "label": "Work directory on the cluster",
        "schema": {"type": ["string", "null"], "default": "~/.headnode"},
        "description": "Jobs run, log and leave their records below it; all nodes must see it.",
    },
    "slurm_path": {
        "label": "Directory of Slurm's commands",
        "schema": _TEXT,
        "description": "Where commands over SSH do not find sbatch in PATH: '/opt/slurm/bin'.",
    },
    "logins_per_minute": {
        "label": "Logins per minute",
        "schema": _POSITIVE,
        "description": "All processes of a machine together make no more; sites ban those who do. 10 where empty.",
    },
    "max_sessions": {
        "label": "Sessions per login",
        "schema": _NUMBER,
        "description": "Commands that run at a time over one login, below the site's MaxSessions. 8 where empty.",
    },
    "commands_in_flight": {
        "label": "Commands at a time",
        "schema": _NUMBER,
        "description": "Of all processes of a machine together. 24 where empty.",
    },
    "poll_seconds": {
        "label": "Shortest polling interval (seconds)",
        "schema": _POSITIVE,
        "description": "One squeue asks for all jobs of this host. 10 where empty.",
    },
    "poll_max_seconds": {
        "label": "Longest polling interval (seconds)",
        "schema": _POSITIVE,
        "description": "The interval grows to it while nothing changes. 60 where empty.",
    },
    "conn_timeout": {
        "label": "Connection timeout (seconds)",
        "schema": _NUMBER,
        "description": "30 where empty.",
    },
}


# Of section [headnode] in airflow.cfg: type, example and what it is. None is the default of all, with the meaning told.
_SETTINGS: dict[str, tuple[str, str, str]] = {
    "sites_folder": (
        "string",
        "~/sites:/shared/sites",
        (
            "Folders with files of systems of your own, one NAME.yaml for each, with colons or commas between them. "
            "They win over headnode's own systems of the same name."
        ),
    ),
    "deployment_id": (
        "string",
        "production",
        (
            "Names this Airflow on clusters, so that two never meet: up to 64 letters, digits and dashes. Without it "
            "the Airflow variable headnode_deployment_id, made at first use, does."
        ),
    ),
    "triggerers": ("integer", "2", "How many machines share the budget of logins of each host. 1 where empty."),
    "budget_directory": (
        "string",
        "/var/lib/headnode",
        "Where a machine keeps what its processes share about logins. A folder of the user's where empty.",
    ),
    "sweep_seconds": (
        "float",
        "600",
        "How often triggerers look for jobs that were left behind, in seconds. 1800 where empty.",
    ),
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
            "headnode.operators.train",
            "headnode.operators.upload",
        ),
        "task-decorators": [{"class-name": "headnode.decorators.slurm.slurm_task", "name": "slurm"}],
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
        "config": {
            "headnode": {
                "description": "Jobs on Slurm clusters.",
                "options": {
                    name: {
                        "description": description,
                        "version_added": "0.1.0",
                        "type": kind,
                        "example": example,
                        "default": None,
                    }
                    for name, (kind, example, description) in _SETTINGS.items()
                },
            }
        },
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
