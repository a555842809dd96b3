"""Whatever a cluster calls its things, a catalogue file that is written of it is read as it was meant."""

import contextlib

import broken_answers as said
import yaml
from hypothesis import given
from hypothesis import strategies as st

from headnode.errors import UnreadableAnswer
from headnode.sites.login_shell import parse_login_shell
from headnode.sites.measured import describe_site
from headnode.sites.probing import SiteAnswers, Unknown
from headnode.sites.site_file import Fact, plain, render_site
from headnode.sites.system import System
from headnode.slurm import hardware, limits, partitions
from headnode.slurm.module_names import parse_modules

SHELL = "headnode:shell user me\nheadnode:shell HOME /home/me\nheadnode:shell internet no\nheadnode:shell end\n"
QOS = "part|12:00:00|node=2,cpu=9|5|10\n"

texts = st.text(max_size=30) | st.sampled_from(
    ["yes", "1:30", "a: b", "# x", "- y", "null", "\ufffe", "a\nb: c", "{", "@"]
)


@given(name=texts, value=texts, comment=texts, many=st.lists(texts, max_size=3))
@said.BUDGET
def test_what_is_written_is_what_is_read(name, value, comment, many):
    """No value becomes another, no comment becomes a value."""
    block = (
        Fact("first", value, comment),
        Fact("block", (Fact(name, value, comment), Fact(f"{name}x", None, comment * 9)), comment),
        Fact("many", many, comment),
        Fact("notes", [{"text": each, "source": value} for each in many], comment),
        Fact("none", (), comment),
    )
    assert yaml.safe_load(render_site(block, heading=[comment])) == plain(block)


@given(st.data())
@said.BUDGET
def test_a_broken_answer_is_never_an_invalid_file(data):
    """What can be read of it is written, or it is not known; the file is one of the catalogue."""

    def answer(parse, text, otherwise):
        with contextlib.suppress(UnreadableAnswer):
            return parse(data.draw(said.broken(text) | st.just(text)))
        return otherwise

    unknown = Unknown(why="it was cut")
    listed = said.PARTITIONS.replace("QoS=N/A", "QoS=part") + said.PARTITIONS.replace("=batch", "=gpu")
    answers = SiteAnswers(
        config=limits.parse_config(f"{said.CONFIG}GresTypes = gpu\n"),
        partitions=answer(partitions.parse_partition_records, listed, []),
        hardware=answer(hardware.parse_hardware, said.HARDWARE, unknown),
        qos=answer(partitions.parse_qos_records, QOS, unknown),
        nodes=answer(hardware.parse_node_records, said.NODE_RECORDS, unknown),
        modules=answer(parse_modules, said.MODULES, unknown),
        login_shell=answer(parse_login_shell, SHELL, unknown),
        test_job=data.draw(st.none() | texts),
    )
    try:
        block = describe_site(answers, name="here", hosts=["h"], port=22, jump_hosts=[], date="2026-11-21")
    except UnreadableAnswer:
        return
    assert yaml.safe_load(render_site(block)) == plain(block)
    assert System.model_validate(plain(block)).name == "here"
