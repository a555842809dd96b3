"""What `docker/up` says where it cannot go on. No container engine is needed, and none is asked."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TOOLS = ("bash", "env", "dirname", "mkdir", "chmod", "cat", "tail", "date", "find", "sort", "xargs", "sha256sum", "cut")


@pytest.fixture
def checkout(tmp_path):
    """Copy the script to a place with a PATH of its own, so that no engine of this machine is found."""
    (tmp_path / "docker").mkdir()
    shutil.copy2(REPOSITORY / "docker" / "up", tmp_path / "docker")
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    for folder in ("operators", "plugins", "dags", "demo"):
        (tmp_path / folder).mkdir()
    (tmp_path / "constraints.txt").touch()
    return tmp_path


def program(checkout, name, text):
    """Put a program of this text on the PATH."""
    path = checkout / "bin" / name
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


def up(checkout, *arguments, **env):
    """Run the script with nothing but that PATH."""
    return subprocess.run(
        [checkout / "docker" / "up", *arguments],
        env={"PATH": str(checkout / "bin"), **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_without_an_engine_it_names_what_to_install(checkout):
    """The remedy is in the message."""
    done = up(checkout)
    assert done.returncode == 1
    assert "neither a Docker engine nor podman is here" in done.stderr
    assert "make demo" in done.stderr


def test_a_docker_client_without_an_engine_is_told_apart(checkout):
    """A client alone needs another remedy."""
    program(checkout, "docker", "exit 1")
    assert "no engine answers" in up(checkout).stderr


def test_podman_without_compose_is_told_apart(checkout):
    """So does podman alone."""
    program(checkout, "podman", "[ $1 != compose ]")
    assert "podman-compose" in up(checkout).stderr


def test_a_failed_build_shows_its_last_lines_and_where_all_of_them_are(checkout):
    """What the builder said is not swallowed."""
    program(checkout, "broken-compose", "echo no route to the index >&2; exit 7")
    done = up(checkout, COMPOSE="broken-compose")
    assert done.returncode == 1
    assert "no route to the index" in done.stderr
    assert ".demo/containers/build.log" in done.stderr


def test_the_folder_of_passwords_is_its_owner_s_alone(checkout):
    """Other users of the machine cannot look in."""
    program(checkout, "broken-compose", "exit 7")
    up(checkout, COMPOSE="broken-compose")
    assert (checkout / ".demo" / "containers").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("host", "published"), [("", "127.0.0.1"), ("a-machine.example", "127.0.0.1"), ("192.0.2.7", "192.0.2.7")]
)
def test_the_ui_is_published_on_loopback_unless_an_address_is_given(checkout, host, published):
    """A machine's name in HOST, as some shells export it, opens nothing."""
    program(checkout, "noting-compose", 'echo "$HEADNODE_HOST" >noted; exit 7')
    up(checkout, COMPOSE="noting-compose", HOST=host)
    assert (checkout / "noted").read_text().strip() == published


def test_changed_sources_get_new_containers(checkout):
    """What is running is never older than the checkout."""
    program(checkout, "noting-compose", 'echo "$HEADNODE_SOURCES" >>noted; exit 7')
    for text in ("one", "one", "two"):
        (checkout / "dags" / "a.py").write_text(text)
        up(checkout, COMPOSE="noting-compose")
    first, second, third = (checkout / "noted").read_text().splitlines()
    assert first == second != third


def test_an_interrupted_run_takes_the_containers_with_it(checkout):
    """With a terminal, Ctrl-C is heard in the container, whose exit code tells of it."""
    program(checkout, "noting-compose", 'echo "$3" >>noted; [ "$3" != exec ] || exit 130')
    done = up(checkout, COMPOSE="noting-compose")
    assert done.returncode == 130
    assert (checkout / "noted").read_text().split() == ["build", "up", "exec", "down"]
