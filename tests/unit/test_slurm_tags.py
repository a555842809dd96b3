"""A job is found by its tag among all jobs of the user, whose comments may hold anything."""

import pytest

from headnode.errors import UnreadableAnswer
from headnode.slurm.answers import find_tagged

KEY = "0198-uuid-1"
TAGS = f"""\
501|RUNNING|/home/me/thesis|my own comment
502|PENDING|/scratch/x/{KEY}1/work|headnode:{KEY}1
503|RUNNING|/home/me|headnode:{KEY}
504|RUNNING|/home/me|
"""


def test_a_tagged_job_is_found():
    """By its comment, and by that alone among look-alikes."""
    assert find_tagged(TAGS, KEY) == "503"
    assert find_tagged(TAGS, KEY + "1") == "502"
    assert find_tagged(TAGS, "other") is None
    assert find_tagged("", KEY) is None


@pytest.mark.parametrize("job_id", ["505", "505_[1-9%2]", "505_3", "505+0"])
def test_a_job_without_comment_is_found_by_its_directory(job_id: str):
    """Sites that don't store comments store the directory; arrays are found by the array's id."""
    assert find_tagged(f"{job_id}|COMPLETED|/scratch/x/{KEY}/work|\n", KEY) == "505"


def test_bars_in_directories_and_comments_of_other_jobs_do_no_harm():
    """The user's own jobs may have any directory and comment."""
    assert find_tagged(f"506|RUNNING|/a|b/c|headnode:{KEY}\n", KEY) == "506"
    assert find_tagged(f"507|RUNNING|/a|{KEY}/work|said|headnode:{KEY} twice\n", KEY) is None


def test_a_comment_of_several_lines_does_no_harm():
    """Another job's comment may go on in the next line; the tagged job is found all the same."""
    assert find_tagged(f"508|RUNNING|/a|one\ntwo\n509|RUNNING|/b|headnode:{KEY}\n", KEY) == "509"


@pytest.mark.parametrize("stdout", ["503|RUNN", "slurm_load_jobs error: nothing", "x|RUNNING|/home|c"])
def test_cut_tags_are_unreadable(stdout: str):
    """What was not seen must not count as absent."""
    with pytest.raises(UnreadableAnswer):
        find_tagged(stdout, KEY)
