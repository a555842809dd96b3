"""Whatever a cluster calls its things, a catalogue file that is written of it is read as it was meant."""

import broken_answers as said
import yaml
from hypothesis import given
from hypothesis import strategies as st

from headnode.sites.site_file import Fact, plain, render_site

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
