"""Multihashes: the examples of their specification, and what is no multihash."""

import hashlib

import pytest
from landcover_jobs.scenes.bands import stated
from landcover_jobs.scenes.checksum import Stated, multihash_of, parsed

# From the specification's own examples: SHA-1 of "foo" and of "multihash", SHA-256 of "multihash".
EXAMPLES = {
    "11140beec7b5ea3f0fdbc95d0dd47f3c5bc275da8a33": ("sha1", "0beec7b5ea3f0fdbc95d0dd47f3c5bc275da8a33"),
    "111488c2f11fb2ce392acb5b2986e640211c4690073e": ("sha1", "88c2f11fb2ce392acb5b2986e640211c4690073e"),
    "12209cbc07c3f991725836a3aa2a581ca2029198aa420b9d99bc0e131d9f3e2cbe47": (
        "sha256",
        "9cbc07c3f991725836a3aa2a581ca2029198aa420b9d99bc0e131d9f3e2cbe47",
    ),
}


@pytest.mark.parametrize(("multihash", "expected"), EXAMPLES.items())
def test_a_multihash_names_its_function_and_digest(multihash, expected):
    """Code, length, digest."""
    assert parsed(multihash) == expected


def test_md5_has_a_code_of_two_bytes(tmp_path):
    """0xd5 is more than seven bits hold: as a variable-length integer it is d5 01."""
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    multihash = multihash_of(file, "md5")
    assert multihash == "d50110" + hashlib.md5(b"abc", usedforsecurity=False).hexdigest()
    assert parsed(multihash) == ("md5", hashlib.md5(b"abc", usedforsecurity=False).hexdigest())


@pytest.mark.parametrize("text", ["", "12", "1220abcd", "1221" + 33 * "00", "7f0100", "zz", "ff" * 12])
def test_what_is_no_multihash_is_refused(text):
    """Too short, of another length than its function's, of an unknown function, or no hexadecimal digits."""
    with pytest.raises(ValueError, match=r"."):
        parsed(text)


def test_a_file_disagrees_in_size_or_in_content(tmp_path):
    """The sentence says in which."""
    file = tmp_path / "file"
    file.write_bytes(b"content")
    good = stated(checksum=multihash_of(file), size=7)
    assert Stated.of(good).disagreement(file) is None
    assert Stated.of(stated(size=8)).disagreement(file) == "it has 7 bytes, 8 are stated"
    file.write_bytes(b"CONTENT")
    assert "its sha256 is" in Stated.of(good).disagreement(file)
    assert Stated.of("").disagreement(file) is None
