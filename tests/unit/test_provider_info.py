"""The provider info is what Airflow expects, and what it names is there."""

import importlib
import json
from importlib.resources import files

import jsonschema
import pytest
from airflow.sdk import BaseOperatorLink

from headnode.provider_info import get_provider_info
from headnode.ssh.settings import parse_connection

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
    "key_file": "/keys/id_ed25519",
    "private_key": "-----BEGIN OPENSSH PRIVATE KEY-----",
    "private_key_passphrase": "invented",
    "host_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA",
    "known_hosts": "/keys/known_hosts",
    "conn_timeout": 7,
    "work_directory": "/scratch/me",
    "poll_seconds": 3,
    "poll_max_seconds": 300,
    "account": "climate",
}


def settings_with(**extra):
    """Return the settings that headnode reads from a connection with these extras."""
    return parse_connection(conn_id="c", host="h", port=None, login="me", password=None, extra=extra)


def test_each_field_of_the_form_is_read():
    """A field that nothing reads would be a promise that nobody keeps."""
    (connection_type,) = get_provider_info()["connection-types"]
    fields = connection_type["conn-fields"]
    assert fields.keys() == SAMPLES.keys()
    for name, sample in SAMPLES.items():
        assert settings_with(**{name: sample}) != settings_with(), name


def test_defaults_of_the_form_are_those_of_the_connection():
    """The form stores its defaults; a connection written by hand must mean the same."""
    (connection_type,) = get_provider_info()["connection-types"]
    fields = connection_type["conn-fields"]
    defaults = {name: field["schema"].get("default") for name, field in fields.items()}
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
