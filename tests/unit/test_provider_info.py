"""The provider info is what Airflow expects, and what it names is there."""

import importlib
import json
from importlib.resources import files

import jsonschema
import pytest
from airflow.sdk import BaseOperatorLink

from headnode.provider_info import get_provider_info

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


@pytest.mark.parametrize("field", ["private_key", "private_key_passphrase"])
def test_secrets_are_masked_in_the_form(field):
    """Airflow hides a field of the format 'password' in the form and in its answers."""
    (connection_type,) = get_provider_info()["connection-types"]
    assert connection_type["conn-fields"][field]["schema"]["format"] == "password"


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
