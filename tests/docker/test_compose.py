"""The containers' definition without a container engine: what it publishes, and that it is whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((REPOSITORY / "docker" / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
COPIED = re.compile(r"^COPY (.+) \S+$", re.MULTILINE)


def dockerfile(service):
    """Return the text of the file that a service is built from."""
    return (REPOSITORY / SERVICES[service]["build"]["dockerfile"]).read_text()


def test_only_the_ui_is_published_and_on_loopback_unless_told_otherwise():
    """Nothing but the UI can be reached from outside the containers."""
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert list(published) == ["airflow"]
    assert all(port.startswith("${HEADNODE_HOST:-127.0.0.1}:") for port in published["airflow"])


def test_no_service_shares_the_machine_s_network_or_rights():
    """The containers ask for no more than any container has."""
    for service in SERVICES.values():
        assert service.get("network_mode", "none") == "none"
        assert not {"privileged", "cap_add", "pid", "devices"} & service.keys()


@pytest.mark.parametrize("service", SERVICES)
def test_all_images_start_from_the_same_base_and_end_as_the_same_ordinary_user(service):
    """One number reads the login key and opens the database; none is root."""
    text = dockerfile(service)
    assert re.findall(r"^FROM (.+)$", text, re.MULTILINE) == ["docker.io/library/debian:bookworm-slim"]
    user = re.findall(r"^USER (.+)$", text, re.MULTILINE)[-1]
    assert re.search(rf"useradd --uid 50000 .*{user}\b", text)


@pytest.mark.parametrize("service", SERVICES)
def test_what_an_image_copies_is_in_the_repository_and_not_ignored(service):
    """A build in a fresh clone finds its files."""
    ignored_but = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = [source for line in COPIED.findall(dockerfile(service)) for source in line.split()]
    assert [s for s in sources if not (REPOSITORY / s).exists() or s.split("/")[0] not in ignored_but] == []


def test_every_named_volume_is_declared_and_used():
    """No volume is misspelt or left over."""
    used = {mount.split(":")[0] for service in SERVICES.values() for mount in service["volumes"]}
    assert {name for name in used if not name.startswith("$")} == COMPOSE["volumes"].keys()


def test_airflow_can_read_the_login_key_but_not_change_it():
    """The keys go one way."""
    assert "keys:/cluster/ssh" in SERVICES["cluster"]["volumes"]
    assert "keys:/keys:ro" in SERVICES["airflow"]["volumes"]


def test_no_secret_is_written_into_the_definition():
    """Passwords and keys are made where the containers run."""
    assert not re.search(
        r"(?i)(password|token|secret_key|fernet)\s*[:=]", (REPOSITORY / "docker/compose.yaml").read_text()
    )
