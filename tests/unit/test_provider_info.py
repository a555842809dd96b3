"""The provider info is what Airflow expects, and what it names is there."""

import importlib
import json
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from airflow.sdk import BaseOperatorLink

from headnode.provider_info import get_provider_info
from headnode.ssh.settings import ConnectionInvalid, parse_connection

MODULE_GROUPS = ("hooks", "operators", "sensors", "triggers")


def schema(name):
    """Return one of Airflow's own schemas."""
    return json.loads(files("airflow").joinpath(name).read_text(encoding="utf-8"))


def test_follows_the_schema_that_airflow_checks_when_it_starts():
    """A provider that breaks it makes every Airflow command fail."""
    jsonschema.validate(get_provider_info(), schema("provider_info.schema.json"))


def test_connection_form_follows_the_schema_of_forms():
    """The start-time schema says nothing about forms; this one refuses unknown keys and formats."""
    forms = schema("provider.yaml.schema.json")["properties"]["connection-types"]
    jsonschema.validate(get_provider_info()["connection-types"], forms)


SAMPLES = {
    "hosts": "login2.example.org, login3.example.org",
    "key_file": "/keys/id_ed25519",
    "private_key": "-----BEGIN OPENSSH PRIVATE KEY-----",
    "private_key_passphrase": "invented",
    "certificate_file": "/keys/id_ed25519-cert.pub",
    "credential_command": "step ssh certificate me",
    "totp_secret": "JBSWY3DPEHPK3PXP",
    "control_path": "/run/me/master",
    "jump": "me@jump.example.org:2222",
    "ssh_config": "~/.ssh/config",
    "host_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA",
    "known_hosts": "/keys/known_hosts",
    "site": "juwels-booster",
    "account": "climate",
    "work_directory": "/scratch/me",
    "slurm_path": "/opt/slurm/bin",
    "logins_per_minute": 2.5,
    "max_sessions": 3,
    "commands_in_flight": 5,
    "poll_seconds": 3,
    "poll_max_seconds": 300,
    "conn_timeout": 7,
}
# Extras that are read, and why the form has no field for them.
WITHOUT_FIELD = {
    "passphrase": "an older name of private_key_passphrase",
    "certificate": "a certificate lives for hours: a file, or the command that renews it, is what people have",
    "agent_path": "SSH_AUTH_SOCK of Airflow's processes says it",
    "identities_only": "an expert's, needed where an agent holds many keys",
    "look_for_keys": "the SSH provider's own",
    "compress": "the SSH provider's own",
    "ciphers": "a list; ssh_config usually brings it",
    "macs": "a list; ssh_config usually brings it",
    "disabled_algorithms": "the SSH provider's own, no text",
    "host_proxy_cmd": "the SSH provider's own; jump is what people mean",
    "totp_period_seconds": "30 s nearly everywhere",
    "credential_command_seconds": "120 s are enough nearly everywhere",
    "concurrent_logins": "two at a time suit every host",
    "refused_retry_seconds": "an hour suits every host",
    "settle_seconds": "for clusters that are slow to answer, as the documentation says",
    "lost_after_seconds": "for clusters that are slow to answer, as the documentation says",
    "no_host_key_check": "refused",
    "ignore_hostkey_verification": "refused",
    "allow_host_key_change": "refused",
}


class Asked(dict[str, Any]):
    """Extras that remember which of them were asked for."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        """Note the name."""
        self.names.add(key)
        return default


def settings_with(**extra):
    """Return the settings that headnode reads from a connection with these extras."""
    return parse_connection(conn_id="c", host="h", port=None, login="me", password=None, extra=extra)


def form_fields():
    """Return the fields of the connection type's form."""
    (connection_type,) = get_provider_info()["connection-types"]
    return connection_type["conn-fields"]


def test_each_field_of_the_form_is_read():
    """A field that nothing reads would be a promise that nobody keeps."""
    assert form_fields().keys() == SAMPLES.keys()
    for name, sample in SAMPLES.items():
        assert settings_with(**{name: sample}) != settings_with(), name


def test_each_extra_has_a_field_or_a_reason_not_to():
    """What can be set is found where people look for it."""
    asked = Asked()
    parse_connection(conn_id="c", host="h", port=None, login="me", password=None, extra=asked)
    assert asked.names == form_fields().keys() | WITHOUT_FIELD.keys()


def test_each_field_has_a_label_and_a_help_text():
    """Nobody should need the documentation to fill in the form."""
    for name, field in form_fields().items():
        assert field["label"], name
        assert field["description"].endswith("."), name


def test_fields_with_secrets_hide_them():
    """The key's field has lines, which a password field can't hold; Airflow masks it by its name."""
    hidden = {name for name, field in form_fields().items() if field["schema"].get("format") == "password"}
    assert hidden == {"private_key_passphrase", "totp_secret"}


@pytest.mark.parametrize("value", ["opt/slurm/bin", "/opt/slurm bin", "/a:/b", "/$(id)", "/a'b", 7])
def test_a_directory_of_slurms_commands_that_cannot_be_right(value):
    """It becomes part of each command line."""
    with pytest.raises(ConnectionInvalid, match="slurm_path must be the one directory"):
        settings_with(slurm_path=value)


def test_defaults_of_the_form_are_those_of_the_connection():
    """The form stores its defaults; a connection written by hand must mean the same."""
    defaults = {name: field["schema"].get("default") for name, field in form_fields().items()}
    assert settings_with(**defaults) == settings_with()


@pytest.mark.parametrize("group", MODULE_GROUPS)
def test_named_modules_can_be_imported(group):
    """Airflow lists these modules to users."""
    modules = [name for entry in get_provider_info()[group] for name in entry["python-modules"]]
    assert modules
    for name in modules:
        importlib.import_module(name)


def test_hook_of_the_connection_type_exists():
    """The class serves the connection type that names it."""
    (connection_type,) = get_provider_info()["connection-types"]
    module, _, name = connection_type["hook-class-name"].rpartition(".")
    hook = getattr(importlib.import_module(module), name)
    assert hook.conn_type == connection_type["connection-type"]


def test_extra_links_are_links():
    """Airflow refuses links that are not listed, and listed ones that are none."""
    for path in get_provider_info()["extra-links"]:
        module, _, name = path.rpartition(".")
        assert issubclass(getattr(importlib.import_module(module), name), BaseOperatorLink)
