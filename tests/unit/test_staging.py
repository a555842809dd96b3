"""Plans of transfers, names and links, configurations of ssh: decided from data, without a host."""

import hashlib
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnode.cluster.staging import local
from headnode.cluster.staging.manifest import Item, Manifest, check_items, parse_hashes, parse_listing
from headnode.cluster.staging.openssh import render_config, render_known_host, why_not
from headnode.cluster.staging.plan import is_complete, plan_transfer
from headnode.cluster.staging.progress import Progress, render_bytes, render_seconds
from headnode.cluster.staging.remote import storing_error
from headnode.cluster.staging.spot import Spot, check_replaceable
from headnode.errors import NoSpaceLeft, TransferError, TransferRefused
from headnode.ssh.settings import SSHSettings

SETTINGS = SSHSettings(
    conn_id="c",
    host="login.example.org",
    port=2222,
    username="u ser",
    key_file="/keys/100%",
    host_key="ssh-ed25519 AAAA",
)


def file(content, *, executable=False):
    """Return a file with this content, as a manifest has it."""
    return Item(kind="file", size=len(content), sha256=hashlib.sha256(content).hexdigest(), executable=executable)


names = st.sampled_from(["a", "b", "c", "d/e", "d/f"])
trees = st.dictionaries(names, st.binary(max_size=3).map(file), min_size=1)
left = st.dictionaries(names, st.integers(0, 4).map(lambda size: Item(kind="file", size=size)))


@given(trees, trees, left)
def test_every_plan_leads_to_what_is_wanted(wanted, present, staged):
    """Whatever lies at the destination and in the staging folder, each file is linked, kept or sent, once."""
    plan = plan_transfer(Manifest(wanted), present=present, staged=staged)
    kept = {name for name in staged if name not in plan.remove}
    for name, item in wanted.items():
        ways = [name in plan.link, name in plan.send, name in kept and staged[name].size == item.size]
        assert sum(ways) == 1
        if name in plan.send:
            assert plan.send[name] == (staged[name].size if name in kept else 0)
        if name in plan.link:
            assert present[name].sha256 == item.sha256
    assert kept <= wanted.keys()
    assert plan.missing_bytes == sum(wanted[name].size - start for name, start in plan.send.items())


@given(trees, trees)
def test_only_the_same_tree_has_the_same_hash(one, other):
    """Names, contents and executable bits count."""
    assert (Manifest(one).sha256 == Manifest(other).sha256) == (one == other) == is_complete(Manifest(one), other)


@pytest.mark.parametrize(
    ("path", "item", "message"),
    [
        ("a\nb", file(b""), "has a line break or another control character"),
        ("a\x7f", file(b""), "control character"),
        ("a\udcff", file(b""), "is not UTF-8"),
        ("link", Item(kind="link", target="/etc"), "outside of the folder"),
        ("d/link", Item(kind="link", target="../../x"), "outside of the folder"),
        ("link", Item(kind="link", target=".."), "outside of the folder"),
    ],
)
def test_what_can_not_travel_is_named(path, item, message):
    """With the folder, the name and the remedy."""
    with pytest.raises(TransferRefused, match=message) as refused:
        check_items({path: item}, where="/data")
    assert "/data" in str(refused.value)


def test_links_within_the_folder_travel():
    """However they are written."""
    check_items({"d/link": Item(kind="link", target="../d/./x"), "l": Item(kind="link", target="d/..")}, where="/data")


def test_what_find_and_sha256sum_print_is_read():
    """Names with spaces and dashes are names."""
    listing = b"f 644 5 a b\0\0f 755 1 -x\0\0d 700 4096 d\0\0l 777 3 d/l\0../a b\0"
    assert parse_listing(listing, where="/data") == {
        "a b": Item(kind="file", size=5),
        "-x": Item(kind="file", size=1, executable=True),
        "d": Item(kind="folder"),
        "d/l": Item(kind="link", target="../a b"),
    }
    assert parse_listing(b"", where="/data") == {}
    with pytest.raises(TransferRefused, match="'p' is a device"):
        parse_listing(b"p 644 0 p\0\0", where="/data")
    assert parse_hashes(b"0" * 64 + b"  ./a b\0" + b"1" * 64 + b"  ./-x\0") == {"./a b": "0" * 64, "./-x": "1" * 64}


def test_a_local_folder_is_read_as_a_cluster_s_is(tmp_path):
    """The two ends agree on the hash of a folder only where they see the same."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "run").write_text("x")
    (tmp_path / "d" / "run").chmod(0o755)
    (tmp_path / "l").symlink_to("d/run")
    find = ["find", ".", "-mindepth", "1", "-printf", "%y %m %s %P\\0%l\\0"]
    printed = subprocess.run(find, cwd=tmp_path, capture_output=True, check=True, timeout=60).stdout
    assert local.list_items(tmp_path) == parse_listing(printed, where="here")


@pytest.mark.parametrize("path", ["/home/u", "/home", "/", "/scratch/u/.headnode", "/scratch"])
def test_places_that_must_stay(path):
    """A home, a work directory, and all above them."""
    with pytest.raises(TransferRefused, match="can't be replaced"):
        check_replaceable(
            Spot(path=path, home="/home/u", kind="folder"), with_file=False, where="x", keep=("/scratch/u/.headnode",)
        )


def test_places_that_may_be_replaced():
    """What merely begins with the same letters is another place."""
    spot = Spot(path="/home/u2/x", home="/home/u", kind="folder")
    check_replaceable(spot, with_file=False, where="x", keep=("/home/u2/x-work",))
    assert spot.part("ab" * 32, "tok00000") == "/home/u2/.x.abababababababab.tok00000.part"


def test_ssh_is_told_what_the_connection_says_and_nothing_else():
    """Percent signs and spaces mean themselves."""
    config = render_config(SETTINGS, known_hosts="/run/k", identity="/keys/100%")
    for line in (
        "HostName login.example.org",
        "Port 2222",
        'User "u ser"',
        "StrictHostKeyChecking yes",
        'UserKnownHostsFile "/run/k"',
        "GlobalKnownHostsFile /dev/null",
        'IdentityFile "/keys/100%%"',
        "IdentitiesOnly yes",
        "BatchMode yes",
    ):
        assert line in config.splitlines()
    assert render_known_host(SETTINGS) == "[login.example.org]:2222 ssh-ed25519 AAAA\n"


def test_ssh_itself_reads_the_configuration(tmp_path):
    """As it was meant, whatever version is installed."""
    config = tmp_path / "config"
    config.write_text(render_config(SETTINGS, known_hosts="/run/k", identity="/keys/100%"))
    command = ["ssh", "-G", "-F", str(config), "headnode-host"]
    read = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    assert {"hostname login.example.org", "port 2222", "user u ser", "stricthostkeychecking true"} <= set(read)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"password": "p"}, "password"),
        ({"private_key_passphrase": "p"}, "passphrase"),
        ({"disabled_algorithms": (("compression", ("zlib",)),)}, "algorithms"),
        ({"host_proxy_cmd": "nc x\nHost *"}, "characters"),
    ],
)
def test_connections_that_openssh_can_not_be_told(changes, reason):
    """Files then travel over the connection that is there."""
    fields = {"conn_id": "c", "host": "h", "username": "u"}
    said = why_not(SSHSettings(**fields, **changes))
    assert said is None if reason is None else reason in str(said)


def test_progress_is_said_every_ten_seconds_at_most():
    """Bytes, files, rate and what remains."""
    progress = Progress(total_bytes=100 * 1024**2, total_files=4, began=0.0)
    assert progress.advance(sent_bytes=10 * 1024**2, sent_files=1, now=9.9) is None
    line = progress.advance(sent_bytes=10 * 1024**2, now=10.0)
    assert line == "20.0 MiB of 100.0 MiB, 1 of 4 files, 2.0 MiB/s, 0:40 left"
    assert progress.advance(sent_bytes=0, now=19.0) is None
    assert (
        progress.reached(sent_bytes=100 * 1024**2, sent_files=4, now=50.0)
        == "100.0 MiB of 100.0 MiB, 4 of 4 files, 2.0 MiB/s"
    )
    assert (render_bytes(999), render_bytes(1000), render_seconds(3725)) == ("999 B", "1.0 KiB", "1:02:05")


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("write: No space left on device (28)", NoSpaceLeft),
        ("dd: Disk quota exceeded", NoSpaceLeft),
        ("File too large", NoSpaceLeft),
        ("mkdir: Permission denied", TransferError),
        ("", TransferError),
    ],
)
def test_a_full_disk_is_told_from_other_refusals(said, kind):
    """By the file system's own words, which are in the message."""
    error = storing_error(said, what="x can't be written")
    assert type(error) is kind
    assert said in str(error)
