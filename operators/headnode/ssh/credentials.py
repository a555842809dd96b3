"""What a login offers: keys and certificates, read again at each login, or the sentence that says why they can't be.

Keys are decrypted here, once for both adapters, so that the same key works, or fails with the same words, in both.
"""

from __future__ import annotations

import getpass
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headnode.errors import AuthenticationRefused, CredentialExpired
from headnode.ssh.agents import AgentKey, list_agent
from headnode.ssh.certificates import Certificate, CertificateUnreadable, parse_certificate
from headnode.ssh.private_keys import KeyUnreadable, public_blob, unlocked
from headnode.ssh.route import Hop, Identity

_LARGEST_FILE: Final = 1024 * 1024


@dataclass(frozen=True, kw_only=True, repr=False)
class Offer:
    """A key that is offered. ``key`` is the private key, unencrypted, in OpenSSH's format; ``name`` is for messages."""

    name: str
    key: str
    certificate_text: str | None = None
    certificate: Certificate | None = None

    def __repr__(self) -> str:
        return f"<{self.name}>"


def read_offers(hop: Hop) -> list[Offer]:
    """Return the keys that are offered at a host.

    Raises:
        AuthenticationRefused: a key or certificate can't be read; the message says what to do.
        CredentialExpired: the time of every certificate is over, and nothing else could be offered.
    """
    offers, over = [], []
    for identity in hop.identities:
        offer = _read_offer(identity, hop.where)
        if offer is None:
            continue
        if offer.certificate is not None and offer.certificate.is_over(time.time()):
            over.append(offer)
        else:
            offers.append(offer)
    if over and not offers and hop.password is None and not hop.agent_path:
        raise _expired(hop.where, over[0].name, over[0].certificate)
    return offers


def check_times(hop: Hop) -> None:
    """See that not everything that would be offered is a certificate whose time is over; no key is opened for it.

    Raises:
        CredentialExpired: it is.
    """
    if hop.password is None and not hop.agent_path:
        there = [
            each for each in hop.identities if not each.optional or Path(each.key_file or "").expanduser().exists()
        ]
        found = [_certificate_of(each) for each in there]
        over = [each for each in found if each is not None and each[1].is_over(time.time())]
        if over and len(over) == len(there):
            raise _expired(hop.where, *over[0])
    read_agent(hop)


def _certificate_of(identity: Identity) -> tuple[str, Certificate] | None:
    try:
        text, name = _certificate_text(identity, "")
        return None if text is None else (name, parse_certificate(text))
    except (AuthenticationRefused, CertificateUnreadable):
        return None  # the login will say so


def read_agent(hop: Hop) -> list[AgentKey]:
    """Return the keys of the agent that are offered at a host, without certificates that are over.

    Raises:
        AuthenticationRefused: the agent that the connection names can't be asked.
        CredentialExpired: all that it holds are certificates that are over.
    """
    if not hop.agent_path:
        return []
    try:
        held = list_agent(hop.agent_path)
    except (OSError, ValueError) as error:
        if not hop.agent_named:
            return []
        raise AuthenticationRefused(
            f"no login at {hop.where}: the SSH agent at {hop.agent_path} does not answer"
            f" ({getattr(error, 'strerror', None) or error}); start it, or correct agent_path in the Airflow connection"
        ) from error
    if hop.agent_keys is not None:
        wanted = {blob for path in hop.agent_keys if (blob := public_blob(path)) is not None}
        held = [
            key
            for key in held
            if key.blob in wanted or (key.certificate is not None and key.certificate.public_key in wanted)
        ]
    now = time.time()
    good = [key for key in held if key.certificate is None or not key.certificate.is_over(now)]
    if held and not good and not hop.identities and hop.password is None:
        raise _expired(hop.where, f"the certificate {held[0].comment!r} in the SSH agent", held[0].certificate)
    if not good and hop.agent_named and not hop.identities and hop.password is None:
        raise CredentialExpired(
            f"no login at {hop.where}: the SSH agent at {hop.agent_path} holds no key for it. Add one (`ssh-add`, or"
            " log in to the site's certificate service); headnode goes on by itself as soon as it is there."
        )
    # Certificates first: where a site wants one, each bare key would be a refused attempt.
    return sorted(good, key=lambda key: key.certificate is None)


def _expired(where: str, name: str, certificate: Certificate | None) -> CredentialExpired:
    end = f" at {certificate.end}" if certificate is not None else ""
    return CredentialExpired(
        f"no login at {where}: the time of {name} was over{end}. Renew it as the site says; headnode goes on by itself"
        " as soon as the new one is there."
    )


def _read_offer(identity: Identity, where: str) -> Offer | None:
    text = identity.key
    name = "the private_key of the connection"
    if text is None:
        assert identity.key_file is not None  # noqa: S101 - one of the two is given
        path = Path(identity.key_file).expanduser()
        name = f"the key file {str(path)!r}"
        if identity.optional and not path.exists():
            return None
        text = _read(path, where)
    try:
        key, public = unlocked(text, identity.passphrase)
    except KeyUnreadable as error:
        if identity.optional:
            return None  # as ssh does with keys that it finds by itself
        raise AuthenticationRefused(f"no login at {where}: {name} {error}") from error
    certificate_text, certificate_name = _certificate_text(identity, where)
    if certificate_text is None:
        return Offer(name=name, key=key)
    try:
        certificate = parse_certificate(certificate_text)
    except CertificateUnreadable as error:
        raise AuthenticationRefused(
            f"no login at {where}: {certificate_name} is no OpenSSH certificate ({error}); it is the file that ends in"
            " -cert.pub"
        ) from error
    if certificate.public_key != public:
        raise AuthenticationRefused(
            f"no login at {where}: {certificate_name} certifies another key than {name}; name the pair that the site's"
            " service gave out together"
        )
    line = " ".join(certificate_text.split()[:2])
    return Offer(name=certificate_name, key=key, certificate_text=line, certificate=certificate)


def _certificate_text(identity: Identity, where: str) -> tuple[str | None, str]:
    if identity.certificate is not None:
        return identity.certificate, "the certificate of the connection"
    if identity.certificate_file is not None:
        path = Path(identity.certificate_file).expanduser()
        return _read(path, where), f"the certificate file {str(path)!r}"
    if identity.key_file is not None:  # as ssh does: the one beside the key
        path = Path(f"{identity.key_file}-cert.pub").expanduser()
        if path.exists():
            return _read(path, where), f"the certificate file {str(path)!r}"
    return None, ""


def _read(path: Path, where: str) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_FILE).decode("utf-8", "replace")
    except FileNotFoundError as error:
        raise AuthenticationRefused(
            f"no login at {where}: the file {str(path)!r} that the connection names is not on this machine"
            f" ({socket.gethostname()}); put it there, or the key's text into the private_key extra"
        ) from error
    except OSError as error:
        raise AuthenticationRefused(
            f"no login at {where}: the file {str(path)!r} can't be read by {getpass.getuser()}, who runs Airflow here"
            f" ({error.strerror})"
        ) from error


def read_certificate(path: str) -> Certificate | None:
    """Return the certificate in a file, None where there is none."""
    try:
        return parse_certificate(Path(path).expanduser().read_text(errors="replace"))
    except (OSError, CertificateUnreadable):
        return None
