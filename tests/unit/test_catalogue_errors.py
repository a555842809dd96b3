"""Catalogue files that can't be right: the file, the line, what is wrong and what is allowed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headnode.errors import JobSpecError
from headnode.sites.catalogue import OWN_FOLDER, Catalogue
from headnode.sites.reading import read_system

GOOD = """\
name: mine
title: My cluster
operator: My group
sources:
  sinfo: {what: sinfo, date: 2026-11-02, kind: measured}
partitions:
  gpu:
    cores: 16
    gpus: 2
    gpu_vendor: nvidia
    source: sinfo
software:
  pytorch:
    modules: [load Python]
    source: sinfo
"""

WRONG = {
    "a key that there is not": (
        ("    gpus: 2\n", "    gpuz: 2\n"),
        "line 9: partitions.gpu.gpuz: 'gpuz' is no key here; did you mean gpu or gpus or cpu? Allowed are archi",
    ),
    "a key of the whole file": (
        ("software:", "sofware:"),
        "line 12: sofware: 'sofware' is no key here; did you mean software or sources? Allowed are access, aliases, ",
    ),
    "a software that there is not": (
        ("  pytorch:", "  pytorhc:"),
        "line 13: software.pytorhc: 'pytorhc' is not allowed; did you mean pytorch or python? Allowed are deephyper, ",
    ),
    "a text for a number": (
        ("cores: 16", "cores: sixteen"),
        "line 8: partitions.gpu.cores: must be a whole number, not 'sixteen'",
    ),
    "a truth for a number": (("gpus: 2", "gpus: true"), "line 9: partitions.gpu.gpus: True is no number"),
    "YAML 1.1's other words for true are texts": (
        ("gpus: 2", "exclusive: maybe"),
        "line 9: partitions.gpu.exclusive: must be true or false, not 'maybe'",
    ),
    "too few": (
        ("cores: 16", "cores: 0"),
        "line 8: partitions.gpu.cores: Input should be greater than or equal to 1, not 0",
    ),
    "another word than those allowed": (
        ("nvidia", "nvidea"),
        "line 10: partitions.gpu.gpu_vendor: 'nvidea' is not allowed; did you mean nvidia? Allowed are amd, intel, ",
    ),
    "a list for a mapping": (
        ("sources:\n  sinfo: {what: sinfo, date: 2026-11-02, kind: measured}", "sources: [sinfo]"),
        "line 4: sources: must be a mapping",
    ),
    "a text for a list": (
        ("[load Python]", "load Python"),
        "line 14: software.pytorch.modules: must be a list, not 'load Python'",
    ),
    "a list for a text": (("title: My cluster", "title: [My, cluster]"), "line 2: title: must be a text"),
    "a time that is none": (
        ("cores: 16", "max_time: a day"),
        "line 8: partitions.gpu.max_time: 'a day' is no time that Slurm reads; write e.g. '01:30:00'",
    ),
    "a date that is none": (
        ("2026-11-02", "last week"),
        "line 5: sources.sinfo.date: 'last week' does not match ^[0-9]{4}",
    ),
    "a source that the file does not have": (
        ("gpu_vendor: nvidia\n    source: sinfo", "gpu_vendor: nvidia\n    source: sinfoo"),
        "line 11: partitions.gpu.source: 'sinfoo' is not among the sources of this file; did you mean sinfo?",
    ),
    "the same for a single fact": (
        ("gpu_vendor: nvidia\n", "gpu_vendor: nvidia\n    source_of: {gpus: doc}\n"),
        "line 11: partitions.gpu.source_of.gpus: 'doc' is not among the sources of this file; there are sinfo",
    ),
    "the same for a note": (
        ("software:", "notes:\n  - a remark\n  - {text: another, source: doc}\nsoftware:"),
        "line 14: notes.1.source: 'doc' is not among the sources",
    ),
    "a key of a note": (
        ("software:", "notes:\n  - {text: a remark, sauce: sinfo}\nsoftware:"),
        "line 13: notes.0.sauce: 'sauce' is no key here; did you mean source? Allowed are source, text",
    ),
    "a source of a fact that the block can't have": (
        ("gpu_vendor: nvidia\n", "gpu_vendor: nvidia\n    source_of: {gpuz: sinfo}\n"),
        "line 11: partitions.gpu.source_of.gpuz: 'gpuz' is no fact of this block; did you mean gpu or gpus or cpu?",
    ),
    "more usable cores than cores": (
        ("cores: 16", "cores: 16\n    usable_cores: 17"),
        "line 9: partitions.gpu.usable_cores: 17 is more than the 16 cores that there are",
    ),
    "a kind of GPU where there are none": (
        ("gpus: 2", "gpus: 0\n    gpu: A100"),
        "line 10: partitions.gpu.gpu: names a kind of GPU, where gpus is 0",
    ),
    "an exact ratio without the ratio": (
        ("gpus: 2", "exact_cpus_per_gpu: true"),
        "line 9: partitions.gpu.exact_cpus_per_gpu: needs cpus_per_gpu",
    ),
    "a partition that the file does not have": (
        ("software:", "gpu_partition: gpus\nsoftware:"),
        "line 12: gpu_partition: 'gpus' is not among the partitions; did you mean gpu?",
    ),
    "a stack of a partition that the file does not have": (
        ("    modules: [load Python]", "    modules: [load Python]\n    partitions: [cpu]"),
        "line 15: software.pytorch.partitions: 'cpu' is not among the partitions; did you mean gpu?",
    ),
    "a stack like one that there is not": (
        ("    modules: [load Python]", "    same_as: ray"),
        "line 14: software.pytorch.same_as: 'ray' is no other software of this file; there are none",
    ),
    "stacks in a circle": (
        ("  pytorch:\n    modules: [load Python]", "  ray: {same_as: pytorch}\n  pytorch:\n    same_as: ray"),
        "line 13: software.ray.same_as: goes round in a circle",
    ),
    "what a shell would run": (
        ("[load Python]", "['load Python; rm -rf /']"),
        "line 14: software.pytorch.modules.0: 'load Python; rm -rf /' does not match ",
    ),
    "the same in a variable": (
        ("software:", "network: {environment: {A: $(id)}}\nsoftware:"),
        "line 12: network.environment.A: '$(id)' does not match ",
    ),
    "something left out": (("title: My cluster\n", ""), "line 1: title: is missing"),
    "a key for the second time": (
        ("    gpus: 2\n", "    gpus: 2\n    cores: 8\n"),
        "line 10: 'cores' is here for the second time, after line 8",
    ),
    "a name that is not the file's": (
        ("name: mine", "name: yours"),
        "line 1: name: 'yours' must be that of the file, 'mine'",
    ),
    "an alias that nobody can write": (
        ("operator:", "aliases: [My Cluster]\noperator:"),
        "line 3: aliases.0: 'My Cluster' does not match ^[a-z0-9]",
    ),
    "an open bracket": (("[load Python]", "[load Python"), "line 15: is no YAML: while parsing a flow sequence"),
    "a tab": (("    cores: 16", "\tcores: 16"), "line 8: is no YAML: "),
    "an object of Python": (
        ("My group", "!!python/object/apply:os.system [id]"),
        "line 3: is no YAML: could not determine a constructor for the tag",
    ),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_with_its_line(change, message, tmp_path):
    """In one line, which begins with the file."""
    assert change[0] in GOOD
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace(*change, 1))
    with pytest.raises(JobSpecError) as refused:
        Catalogue([tmp_path]).system("mine")
    told = str(refused.value)
    assert told.startswith(f"site: {path}, {message}"), told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: must be a mapping of name, title, operator, "),
        (b"- name: mine\n", "line 1: must be a mapping of name, title, operator, "),
        (b"\xff\xfe\xff", "is no YAML: "),
        (b"name: \x00", "is no YAML: "),
        (b"a: &a [*a]\n", "line 1: title: is missing"),
        (b"[" * 5000, "is no YAML: "),
        (
            b"a: &a [x]\n" + b"".join(b"%c: &%c [%s]\n" % (n, n, b"*%c," % (n - 1) * 9) for n in range(98, 115)),
            "'a' is",
        ),
    ],
    ids=[
        "nothing",
        "a list",
        "no text",
        "a NUL",
        "a list in itself",
        "deeper than anybody reads",
        "longer than any memory",
    ],
)
def test_what_is_no_description_at_all(content, message, tmp_path):
    """Whatever the file holds, the answer is an error with its name."""
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(JobSpecError) as refused:
        read_system(path)
    assert str(path) in str(refused.value)
    assert message in str(refused.value)


def test_several_mistakes_are_told_in_the_order_of_their_lines(tmp_path):
    """Five of them; of more, how many."""
    (tmp_path / "mine.yaml").write_text(GOOD.replace("16", "many") + "".join(f"extra{n}: 1\n" for n in range(6)))
    with pytest.raises(JobSpecError) as refused:
        Catalogue([tmp_path]).system("mine")
    told = str(refused.value)
    assert [told.index(f"line {line}: ") for line in (8, 16, 17, 18, 19)] == sorted(
        told.index(f"line {line}: ") for line in (8, 16, 17, 18, 19)
    )
    assert told.endswith("; and 2 more")


def test_a_file_that_can_not_be_opened(tmp_path):
    """A folder of that name, or a link to nothing."""
    (tmp_path / "mine.yaml").symlink_to(tmp_path / "gone")
    with pytest.raises(JobSpecError, match=r"mine\.yaml: can't be read: No such file or directory"):
        Catalogue([tmp_path]).system("mine")


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("juwels-boster", "; did you mean juwels-booster or juwels-boost or juwels-cluster?"),
        ("LUMI_GG", "; did you mean lumi-g or lumi-c or lumi?"),
        ("marenostrum4", "; did you mean marenostrum or marenostrum5 or marenostrum-5?"),
        ("", "; there are alps, alps-daint, "),
        ("x\n#SBATCH --uid=0", "; there are alps, alps-daint, "),
    ],
)
def test_of_an_unknown_system_the_nearest_are_offered(name, offered):
    """Their aliases too."""
    with pytest.raises(JobSpecError) as refused:
        Catalogue().system(name)
    assert str(refused.value).startswith(f"site: there is no system {name!r}{offered}")


def test_a_file_that_can_not_be_right_does_not_hide_others(tmp_path):
    """Other systems are there, by their aliases too; and it is named where a name leads nowhere."""
    (tmp_path / "broken.yaml").write_text("name: [")
    known = Catalogue([tmp_path])
    assert known.system("mn5").name == "marenostrum5"
    with pytest.raises(
        JobSpecError, match=r"no system 'ours'; .*; not read, since it can't be right: .*broken.yaml, line"
    ):
        known.system("ours")


LUMI = (OWN_FOLDER / "lumi.yaml").read_text("utf-8")


@settings(max_examples=80, deadline=None)
@given(st.integers(0, len(LUMI) - 1), st.sampled_from([*":{}[],#&*!|>'\"%@`-?\n\t ", "", "\x00", "null", "- "]))
def test_a_slip_of_the_hand_is_an_error_or_harmless(tmp_path_factory, place, slip):
    """One character more or less in a real file ends in a system or in a JobSpecError with the file's name."""
    path = tmp_path_factory.mktemp("slips") / "lumi.yaml"
    path.write_text(LUMI[:place] + slip + LUMI[place + 1 :], "utf-8")
    try:
        read_system(path)
    except JobSpecError as error:
        told = str(error)
    else:
        told = str(path)
    assert str(path) in told
