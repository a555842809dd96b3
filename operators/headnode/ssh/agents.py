"""What keys an SSH agent holds (draft-miller-ssh-agent, section 4.4)."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headnode.ssh.certificates import Certificate, CertificateUnreadable, parse_blob

_SECONDS: Final = 5.0
_LIST: Final = b"\x00\x00\x00\x01\x0b"  # SSH_AGENTC_REQUEST_IDENTITIES
_LISTED: Final = 12


@dataclass(frozen=True, kw_only=True)
class AgentKey:
    """A key that an agent holds, by its public blob; ``certificate`` where it is one."""

    blob: bytes
    comment: str
    certificate: Certificate | None


def list_agent(path: str) -> list[AgentKey]:
    """Return the keys that the agent at a socket holds.

    Raises:
        OSError: it does not answer.
        ValueError: its answer is none.
    """
    with socket.socket(socket.AF_UNIX) as agent:
        agent.settimeout(_SECONDS)
        agent.connect(str(Path(path).expanduser()))
        agent.sendall(_LIST)
        answer = b""
        while len(answer) < 4 or len(answer) < 4 + int.from_bytes(answer[:4], "big"):  # noqa: PLR2004 - its length
            piece = agent.recv(65536)
            if not piece:
                raise ValueError("it ended the conversation")
            answer += piece
    if answer[4] != _LISTED:
        raise ValueError(f"it answered with message {answer[4]}")
    keys, at = [], 9
    for _ in range(int.from_bytes(answer[5:9], "big")):
        pieces = []
        for _ in range(2):
            size = int.from_bytes(answer[at : at + 4], "big")
            pieces.append(answer[at + 4 : at + 4 + size])
            at += 4 + size
        keys.append(
            AgentKey(blob=pieces[0], comment=pieces[1].decode("utf-8", "replace"), certificate=_cert(pieces[0]))
        )
    return keys


def _cert(blob: bytes) -> Certificate | None:
    try:
        return parse_blob(blob)
    except CertificateUnreadable:
        return None
