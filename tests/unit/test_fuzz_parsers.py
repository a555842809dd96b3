"""Every parser gets broken answers: it returns what it says, raises what it says, and takes no longer than it must."""

import ast
import base64
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import broken_answers as said
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from reading import functions_named

import headnode
import headnode_ui
from headnode.cluster import elements, logs, queries, submission_step
from headnode.cluster.staging import manifest
from headnode.errors import HeadnodeError, HostKeyRefused, JobFailed, JobSpecError, TransferRefused, UnreadableAnswer
from headnode.operators.dependencies import parse_operator_dependencies
from headnode.sites import login_shell, modules_block, verdicts
from headnode.sites.environments import parse_environment
from headnode.sites.environments.environment import Surroundings
from headnode.sites.launchers import parse_launcher
from headnode.sites.modules_block import ModulesBlockError
from headnode.slurm import (
    accounting,
    answers,
    arrays,
    dependencies,
    element_arguments,
    end_markers,
    hardware,
    jobspec,
    limits,
    module_names,
    nodes,
    partitions,
    policy,
    refusals,
    reservations,
    secrets,
    states,
    time_limits,
)
from headnode.slurm import elements as array_elements
from headnode.slurm.end_markers import entry_without_accounting
from headnode.slurm.reasons import describe_reason
from headnode.slurm.record import JobRecord
from headnode.slurm.states import JobState, Phase, phase_of
from headnode.ssh import certificates, known_hosts
from headnode.ssh.certificates import CertificateUnreadable
from headnode.ssh.login_extras import ConnectionInvalid, parse_login_extras
from headnode.ssh.settings import parse_connection
from headnode.triggers import outcome
from headnode_ui.records import RecordUnreadable, parse_record

FULL = "".join(said.SUCCESS.split("\n", 1)[:1]) + "\n"


class Parser(NamedTuple):
    """A function of text: what it may raise, and what it is given when nothing is broken."""

    read: Callable[[str], Any]
    raises: tuple[type[Exception], ...]
    text: str


def _connection(text: str) -> Any:
    fields = ("host_key", "work_directory", "known_hosts", "poll_seconds", "ciphers", "jump", "hosts", "totp_secret")
    extra = dict.fromkeys(fields, text)
    return parse_connection(conn_id=text, host=text, port=None, login=text, password=text, extra=extra)


def _result_lines(text: str) -> Any:
    return elements._parse_results(text, ["/w/k1", "/w/k2"])


def _listing(text: str) -> Any:
    return manifest.parse_listing(text.replace("\n", "\0").encode("utf-8", "surrogatepass"), where="x")


def _hashes(text: str) -> Any:
    return manifest.parse_hashes(text.replace("\n", "\0").encode("utf-8", "surrogatepass"))


def _environments(text: str) -> Any:
    image = {"kind": "apptainer", "image": text, "bind": [text, "/data"], "options": text}
    parts = [
        {"kind": "modules", "software": text},
        {"kind": "conda", "name": text},
        {"kind": "commands", "text": [text]},
    ]
    entered = parse_environment({"kind": "environments", "environments": [*parts, image]})
    return entered.parts()[-1].wrapper(Surroundings(gpu_vendor="amd"))


def _blob(text: str) -> Any:
    try:
        blob = base64.b64decode(text)
    except ValueError:
        blob = text.encode("utf-8", "replace")
    return certificates.parse_blob(blob)


# Of an authority made for this.
CERTIFICATE = (
    "ssh-ed25519-cert-v01@openssh.com "
    "AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29tAAAAIELVjGYbNpC0gwbc1ZF9GlW5ZKQwYgnrQ4brpwnFZJn8AAAA"
    "IA6vIJw5j32btqix+Y4qDfvbNb657OZ0CwrDmtfpi1CnAAAAAAAAAAAAAAABAAAAAm1lAAAACgAAAAFhAAAAAWIAAAAAaVW5AAAA"
    "AABpVwqAAAAAAAAAAIIAAAAVcGVybWl0LVgxMS1mb3J3YXJkaW5nAAAAAAAAABdwZXJtaXQtYWdlbnQtZm9yd2FyZGluZwAAAAAA"
    "AAAWcGVybWl0LXBvcnQtZm9yd2FyZGluZwAAAAAAAAAKcGVybWl0LXB0eQAAAAAAAAAOcGVybWl0LXVzZXItcmMAAAAAAAAAAAAA"
    "ADMAAAALc3NoLWVkMjU1MTkAAAAgsUTw6gIorSLVjEmwSeHmt9/HRZo+BcgT0CcUzo7licoAAABTAAAAC3NzaC1lZDI1NTE5AAAA"
    "QAB8qF8LQHXEj113b9NNWr6K4Aqlyk5S/AiGAllx8H0pkJnYacswAjd7nYD5BTDFF7b3LmuxYoWmY81Zr09yLgA="
)
UNREADABLE = (UnreadableAnswer,)
RECORD = json.dumps({"schema_version": 1, "key": "k", "history": [{"at": "2026-11-21", "state": "RUNNING"}]})
PARSERS = {
    "parse_submitted": Parser(answers.parse_submitted, UNREADABLE, "Welcome\n4711;lumi\n"),
    "parse_queue": Parser(answers.parse_queue, UNREADABLE, said.QUEUE),
    "parse_epoch": Parser(answers.parse_epoch, (), "1795270509"),
    "find_tagged": Parser(lambda text: answers.find_tagged(text, said.KEY), UNREADABLE, said.TAGS),
    "parse_accounting": Parser(accounting.parse_accounting, UNREADABLE, said.ACCOUNTING),
    "parse_exit_code": Parser(lambda text: accounting.parse_exit_code(text, "7"), UNREADABLE, "3:0"),
    "parse_tres": Parser(lambda text: accounting.parse_tres(text, "7"), UNREADABLE, "cpu=2,mem=1.5G,gres/gpu=4"),
    "parse_memory": Parser(accounting.parse_memory, (ValueError,), "1.5G"),
    "parse_state": Parser(states.parse_state, (), "CANCELLED by 1000"),
    "parse_scontrol": Parser(end_markers.parse_scontrol, UNREADABLE, said.SCONTROL + said.SCONTROL_ARRAY),
    "parse_marker": Parser(end_markers.parse_marker, (), "3 100 200 17 0"),
    "parse_nodes": Parser(nodes.parse_nodes, UNREADABLE, said.NODES),
    "expand_nodes": Parser(nodes.expand_nodes, UNREADABLE, "n[1-3,07],gpu[01-02]-[7]"),
    "parse_reservations": Parser(reservations.parse_reservations, UNREADABLE, said.RESERVATIONS),
    "parse_config": Parser(limits.parse_config, UNREADABLE, said.CONFIG),
    "parse_partitions": Parser(limits.parse_partitions, UNREADABLE, "batch*|up|1-00:00:00|1/3/0/4\n"),
    "parse_associations": Parser(lambda text: limits.parse_associations(text, "c"), UNREADABLE, "c|a|q1,q2|5|6|1-0\n"),
    "parse_qos": Parser(limits.parse_qos, UNREADABLE, "normal|1-00:00:00|5|6|cpu=4\n"),
    "parse_partition_records": Parser(partitions.parse_partition_records, UNREADABLE, said.PARTITIONS),
    "parse_hardware": Parser(hardware.parse_hardware, UNREADABLE, said.HARDWARE),
    "parse_node_records": Parser(hardware.parse_node_records, UNREADABLE, said.NODE_RECORDS),
    "parse_qos_records": Parser(partitions.parse_qos_records, UNREADABLE, "part|12:00:00|node=2,cpu=9|5|10\n"),
    "parse_login_shell": Parser(
        login_shell.parse_login_shell,
        UNREADABLE,
        "headnode:shell user me\nheadnode:shell HOME /home/me\nheadnode:shell runtime apptainer\n"
        "headnode:shell https_proxy http://me:secret@proxy\nheadnode:shell internet no\nheadnode:shell end\n",
    ),
    "parse_stacks": Parser(verdicts.parse_stacks, UNREADABLE, f"headnode:stack 0 1 {said.encoded('ERROR: none')}\n"),
    "parse_modules": Parser(module_names.parse_modules, UNREADABLE, said.MODULES),
    "expand_elements": Parser(arrays.expand_elements, (), "0-9%4"),
    "parse_array": Parser(array_elements.parse_array, (JobSpecError,), "0-999:2%50"),
    "parse_time_limit": Parser(time_limits.parse_time_limit, (ValueError,), "1-02:03:04"),
    "parse_elapsed": Parser(time_limits.parse_elapsed, (ValueError,), "1-02:03:04.5"),
    "parse_mebibytes": Parser(policy.parse_mebibytes, (), "8G"),
    "parse_arguments": Parser(element_arguments.parse_arguments, (JobSpecError,), '["a", ["b", 3]]'),
    "parse_jobspec": Parser(
        lambda text: jobspec.parse_jobspec({"job_name": text, "command": text}), (JobSpecError,), "name"
    ),
    "parse_dependencies": Parser(
        lambda text: dependencies.parse_dependencies({"afterok": [text], "afterany": "other"}), (JobSpecError,), "task"
    ),
    "parse_operator_dependencies": Parser(
        lambda text: parse_operator_dependencies(
            type("Task", (), {"task_id": "t", "depends_on": text, "map_index": 1})
        ),
        (JobSpecError,),
        "task",
    ),
    "parse_reference": Parser(secrets.parse_reference, (ValueError,), "connection:a.b.extra.key"),
    "parse_connection": Parser(_connection, (ConnectionInvalid, HostKeyRefused), "ssh-rsa"),
    "parse_login_extras": Parser(
        lambda text: parse_login_extras("c", dict.fromkeys(("jump", "macs", "credential_command"), text)),
        (ConnectionInvalid,),
        "user@host:22,other",
    ),
    "parse_certificate": Parser(certificates.parse_certificate, (CertificateUnreadable,), CERTIFICATE),
    "parse_blob": Parser(_blob, (CertificateUnreadable,), CERTIFICATE.split()[1]),
    "parse_known_hosts": Parser(
        lambda text: known_hosts.parse_known_hosts(text, "host"),
        (),
        "@revoked ho?t,!x ssh-rsa AAAA\n|1|AA==|AA== ssh-rsa A\n",
    ),
    "parse_launcher": Parser(
        lambda text: parse_launcher({"kind": "torchrun", "nodes": text, "cpus_per_task": text}), (JobSpecError,), "4"
    ),
    "parse_environment": Parser(_environments, (JobSpecError,), "$PROJECT/torch.sif"),
    "parse_modules_block": Parser(
        modules_block.parse_modules_block,
        (ModulesBlockError,),
        "a\n# MODULES BEGIN a b\nmodule load A\n# MODULES END\n",
    ),
    "parse_replies": Parser(
        submission_step.parse_replies, UNREADABLE, f"directory /w/d/x\nkey {said.KEY}\nsubmitted 101\n"
    ),
    "decode_said": Parser(submission_step.decode_said, UNREADABLE, said.encoded("sbatch: error")),
    "_parse_piece": Parser(lambda text: logs._parse_piece(text, "stdout"), UNREADABLE, f"0 5 {said.encoded('hello')}"),
    "parse_count": Parser(logs.parse_count, (ValueError,), "12"),
    "parse_result": Parser(lambda text: logs.parse_result(text, "/w"), (JobFailed,), '{"a": [1, "\\u00e9"]}'),
    "_parse_results": Parser(
        _result_lines,
        (UnreadableAnswer, JobFailed),
        "file 0 result.3.json\ntext 0 result.3.json:[1,\ntext 0 result.3.json:2]\nfile 1 result.0.json\n"
        "text 1 result.0.json:{}\n",
    ),
    "_parse_end": Parser(elements._parse_end, UNREADABLE, f"5 {said.encoded('hello')}"),
    "_parse_known": Parser(
        lambda text: queries._parse_known(text, {"101": said.KEY, "103": None}),
        (HeadnodeError,),
        f"headnode:job 101 {said.encoded(said.SCONTROL)}\nheadnode:job 103 {said.encoded(said.SCONTROL_ARRAY)}\n"
        "headnode:marker 103 end.3 0 1 2 3 4\n",
    ),
    "_parse_record": Parser(
        lambda text: queries._parse_record("101", said.encoded(text.encode("utf-8", "replace")), {"101": said.KEY}),
        (HeadnodeError,),
        said.SCONTROL,
    ),
    "_parse_marker_line": Parser(queries._parse_marker_line, (), "end.3 0 1 2 3 4"),
    "parse_listing": Parser(
        _listing, (UnreadableAnswer, TransferRefused), "f 755 12 a name\n\nd 755 4096 sub\n\nl 777 3 link\ntarget\n"
    ),
    "_parse_pairs": Parser(_listing, (UnreadableAnswer, TransferRefused), "f 644 0 name\n\n"),
    "parse_hashes": Parser(_hashes, UNREADABLE, f"{'ab' * 32}  ./a name\n"),
    "parse_record": Parser(parse_record, (RecordUnreadable,), RECORD),
    "classify_refusal": Parser(refusals.classify_refusal, (), said.REFUSED),
    "message_of": Parser(refusals.message_of, (), said.REFUSED),
    "describe_reason": Parser(describe_reason, (), "(launch failed requeued held)"),
    "error_in": Parser(lambda text: outcome.error_in({"error": text, "message": text, "kind": text}), (), "JobFailed"),
}


@pytest.mark.parametrize("name", PARSERS)
def test_a_broken_answer_is_read_or_refused(name):
    """Only with the errors that the parser names; so nothing unforeseen ends a task."""
    parser = PARSERS[name]
    if name not in ("parse_record", "parse_connection"):
        parser.read(parser.text)

    @given(said.broken(parser.text) | st.text(max_size=30))
    @said.BUDGET
    def read(text):
        with contextlib.suppress(*parser.raises):
            parser.read(text)

    read()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("parse_elapsed", f"{'9' * 400}:00:03"),
        ("parse_scontrol", said.SCONTROL.replace("NumCPUs=2", f"NumCPUs={'9' * 5000}")),
        ("parse_accounting", said.SUCCESS.replace("2048K", f"{'9' * 400}G")),
        ("parse_replies", "submitted 101\n"),
        ("parse_replies", f"directory /w\nkey {said.KEY}\nrefused 1\n"),
        ("parse_replies", f"directory /w\nkey {said.KEY}\nadopted what?\n"),
        ("parse_replies", "unresolved $(reboot) 1 2\n"),
        ("decode_said", "AAA"),
        ("_parse_results", "text 7 result.1.json:1\n"),
        ("_parse_results", "text 0 result.1.json:" + "[" * 100_000),
        ("parse_result", '"\\ud800"'),
        ("parse_result", f"[{2**64}]"),
        ("parse_listing", "f 644\n\n"),
        ("parse_hashes", "short  name\n"),
        ("parse_reservations", ""),
        ("expand_nodes", ",".join(["n[0-199999]"] * 3)),
        ("parse_array", f"0-9%{'9' * 5000}"),
        ("parse_certificate", "ssh-rsa-cert-v01@openssh.com \u20ac"),
    ],
)
def test_what_once_ended_in_another_error(name, text):
    """Each of these got past its parser."""
    with pytest.raises(PARSERS[name].raises):
        PARSERS[name].read(text)


@pytest.mark.parametrize("name", PARSERS)
def test_long_texts_take_time_in_proportion(name):
    """A pattern that tries again and again would never come to the end of these."""
    parser = PARSERS[name]
    for piece in said.LONG_PIECES:
        for text in (said.long_text(piece), parser.text.rstrip("\n") + said.long_text(piece)):
            with contextlib.suppress(*parser.raises):
                parser.read(text)


def test_every_parser_is_fuzzed():
    """One that is new has no fuzz test yet, so that this fails until it has one here or in another such file."""
    named = set(PARSERS)
    for file in Path(__file__).parent.glob("test_fuzz_*.py"):
        tree = ast.parse(file.read_text())
        named |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        named |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    parsers = functions_named("parse_", headnode, headnode_ui)
    assert len(parsers) > 35
    assert parsers - named == set()


def _succeeded(entries):
    return {job_id for job_id, entry in entries.items() if phase_of(entry.state) is Phase.SUCCEEDED}


@given(said.broken(said.ACCOUNTING.replace("COMPLETED", "FAILED")))
@said.BUDGET
def test_no_broken_account_of_other_ends_is_success(text):
    """Cut, repeated, mixed with banners: a success needs a whole line that says so."""
    try:
        ended = _succeeded(accounting.parse_accounting(text, {}))
    except UnreadableAnswer:
        return
    assert not ended


@given(said.broken(said.SUCCESS))
@example(said.SUCCESS[:-30])
@example(said.SUCCESS.replace("|999|", "|Unknown|"))
@example(said.SUCCESS.replace("|COMPLETED|", "|COMPLETED by mistake|"))
@said.BUDGET
def test_success_is_read_from_a_whole_line_alone(text):
    """The allocation's own line has all fields, its state, and its end."""
    try:
        ended = _succeeded(accounting.parse_accounting(text))
    except UnreadableAnswer:
        return
    lines = [line.split("|") for line in text.split("\n")]
    whole = {
        fields[0].partition("_")[0].partition("+")[0]
        for fields in lines
        if len(fields) >= 15 and states.parse_state(fields[1]) is JobState.COMPLETED and fields[12].isdigit()
    }
    assert ended <= whole


@given(said.broken(said.SCONTROL_SUCCESS))
@example(said.SCONTROL_SUCCESS.replace("JobName=wrap", "JobName=x JobState=RUNNING Reason=None"))
@said.BUDGET
def test_slurmctld_says_success_in_a_whole_record_alone(text):
    """From the id at its beginning to the directory at its end."""
    try:
        parts = end_markers.parse_scontrol(text, {"101": said.KEY}).get("101", [])
        entry = entry_without_accounting("101", parts, {})
    except UnreadableAnswer:
        return
    if entry is not None and phase_of(entry.state) is Phase.SUCCEEDED:
        whole = [line for line in text.split("\n") if line.startswith("JobId=101 ")]
        assert any(" JobState=COMPLETED Reason=" in line and f"/{said.KEY}/work " in line for line in whole)


FORGED = said.SCONTROL_SUCCESS.partition("JobName=")[2].rstrip("\n")


@pytest.mark.parametrize(
    "record",
    [
        said.SCONTROL.replace("JobName=wrap", f"JobName={FORGED}"),
        said.SCONTROL.replace("Network=(null)", f"Network=x {FORGED}"),
        said.SCONTROL.replace("Power= ", f"MailUser={FORGED}"),
        said.SCONTROL.replace(f"Comment=headnode:{said.KEY}", f"Comment={FORGED}"),
    ],
    ids=["name", "network", "mail", "comment"],
)
def test_a_text_of_the_owner_that_looks_like_an_end(record):
    """A running job stays unfinished, whatever its name, its network option, its mail address or its comment say."""
    parts = end_markers.parse_scontrol(record)["101"]
    assert not phase_of(entry_without_accounting("101", parts, {}).state).ended


def test_a_job_name_with_a_record_of_another_job_in_it():
    """Slurm keeps newlines in names, so that anybody's job could speak for another one."""
    hostile = said.SCONTROL.replace("JobId=101 ", "JobId=55 ").replace(
        "JobName=wrap", f"JobName=x\n{said.SCONTROL_SUCCESS}"
    )
    answer = f"headnode:job 55 {said.encoded(hostile)}\nheadnode:job 101 {said.encoded(said.SCONTROL)}\n"
    records, _ = queries._parse_known(answer, {"55": None, "101": said.KEY})
    assert [part.state for part in records["101"]] == [JobState.RUNNING]
    assert records["55"] == []


@given(st.sampled_from(["0 100 200 17 0", "3 100 200 17 0"]).flatmap(said.broken))
@said.BUDGET
def test_half_a_marker_is_none(text):
    """Success needs all five numbers."""
    marker = end_markers.parse_marker(text)
    assert marker is None or len(text.split(" ")) == 5


@given(said.broken(said.RESERVATIONS))
@said.BUDGET
def test_no_maintenance_is_said_and_not_left_out(text):
    """Of a maintenance that is in the way, a broken answer never makes none."""
    try:
        found = reservations.parse_reservations(text)
    except UnreadableAnswer:
        return
    assert found, text


@given(st.text() | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(json.dumps))
@example("[" * 100_000)
@example('"\\ud800"')
@example("9" * 5000)
@example('{"a": NaN}')
@said.BUDGET
def test_a_result_is_json_that_airflow_can_store(text):
    """Nesting without end, half characters and numbers without end are refused with the file's name."""
    try:
        result = logs.parse_result(text, "/w/result.json")
    except JobFailed as error:
        said_so = str(error)
    else:
        said_so = json.dumps(result, ensure_ascii=False).encode().decode() and "/w/result.json"
    assert "/w/result.json" in said_so


@given(
    st.dictionaries(st.sampled_from(sorted(JobRecord.model_fields)), st.text(max_size=9) | st.integers() | st.none())
)
@said.BUDGET
def test_a_damaged_record_has_a_name(data):
    """Whatever the XCom holds, the page says that it can't be read."""
    with pytest.raises(RecordUnreadable):
        parse_record({**data, "labels": 3})
