"""A login with asyncssh: over all hops of the route, with all that each of them asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import asyncssh

from headnode.errors import AuthenticationRefused
from headnode.ssh import login_errors
from headnode.ssh.credentials import Offer, read_agent, read_offers
from headnode.ssh.interactive import Codes, Interview
from headnode.ssh.known_hosts import KnownKeys, known_keys
from headnode.ssh.ledger import ledger_root
from headnode.ssh.route import Hop, route_of
from headnode.ssh.settings import SSHSettings

if TYPE_CHECKING:
    from headnode.errors import TransportError

# paramiko's words for kinds of algorithms, and asyncssh's options for them.
_ALGORITHM_OPTIONS: Final = {
    "kex": "kex_algs",
    "ciphers": "encryption_algs",
    "macs": "mac_algs",
    "keys": "server_host_key_algs",
    "pubkeys": "signature_algs",
    "compression": "compression_algs",
}


async def open_connection(settings: SSHSettings) -> asyncssh.SSHClientConnection:
    """Log in, and return the connection. Those to jump hosts end with it.

    Raises:
        TransportError: there is no login; the message names the hop that failed.
    """
    reached: asyncssh.SSHClientConnection | None = None
    try:
        for hop in await asyncio.to_thread(route_of, settings):
            reached = await _Login(hop, settings, over=reached).connection()
    except BaseException:
        if reached is not None:
            reached.abort()  # and with it those below it
        raise
    assert reached is not None  # noqa: S101 - a route has a hop
    return reached


class _Login:
    """One login at one host."""

    def __init__(self, hop: Hop, settings: SSHSettings, *, over: asyncssh.SSHClientConnection | None) -> None:
        self._hop = hop
        self._settings = settings
        self._over = over
        self._offers: list[Offer] = []
        self._agent_keys: Sequence[bytes] = ()
        self._known = KnownKeys(source="no file")
        self._client: _Client | None = None

    async def connection(self) -> asyncssh.SSHClientConnection:
        hop = self._hop
        agent: asyncssh.SSHAgentClient | None = None
        try:
            async with asyncio.timeout(_patience(hop)):
                options = await asyncio.to_thread(self._options)  # reads and decrypts keys
                if self._agent_keys:
                    agent = await asyncssh.connect_agent(str(hop.agent_path))
                    held = await agent.get_keys(list(self._agent_keys))
                    options["client_keys"] += sorted(held, key=lambda key: self._agent_keys.index(key.public_data))
                return await asyncssh.connect(**options, client_factory=self._make_client, tunnel=self._over or ())
        except asyncssh.HostKeyNotVerifiable as error:
            raise login_errors.host_key_refused(hop, self._shown, self._known) from error
        except asyncssh.PermissionDenied as error:
            raise self._refused() from error
        except asyncssh.KeyExchangeFailed as error:
            raise login_errors.no_common_algorithm(hop, error.reason, self._known) from error
        except (TimeoutError, asyncssh.Error, OSError, ValueError) as error:
            if self._client is not None and self._client.problem is not None:
                raise self._client.problem from error
            if "authentication failures" in str(error):  # MaxAuthTries, at which the host ends the connection
                raise self._refused() from error
            spoke = self._client is not None and self._client.spoke
            if spoke and self._client is not None and not self._client.agreed and not isinstance(error, TimeoutError):
                raise login_errors.no_common_algorithm(hop, str(error), self._known, sure=False) from error
            refused = isinstance(error, OSError) and not isinstance(error, TimeoutError | ConnectionResetError)
            probe = self._over is None and not spoke and not refused
            raise await asyncio.to_thread(partial(login_errors.unreachable, hop, error, probe=probe)) from error
        finally:
            if agent is not None:
                agent.close()

    def _make_client(self) -> asyncssh.SSHClient:
        self._client = _Client(self._hop, self._settings, over=self._over)
        return self._client

    @property
    def _shown(self) -> str | None:
        return self._client.shown if self._client is not None else None

    def _refused(self) -> TransportError:
        client = self._client
        if client is not None and client.problem is not None:
            return client.problem
        return login_errors.refused(
            self._hop,
            self._offers,
            agent_keys=len(self._agent_keys),
            asked=client.interview.last_kind if client is not None else None,
            banner="".join(client.banners) if client is not None else "",
            renewable=bool(self._settings.credential_command),
        )

    def _options(self) -> dict[str, Any]:
        hop = self._hop
        self._offers = read_offers(hop)
        self._agent_keys = [key.blob for key in read_agent(hop)]
        self._known = known_keys(hop)
        return {
            "host": hop.host,
            "port": hop.port,
            "username": hop.username,
            "config": [],  # what holds of ssh's configuration is in the hop
            "keepalive_interval": hop.keepalive_seconds,
            "login_timeout": _patience(hop),
            "known_hosts": _trusted(self._known),
            "client_keys": [_keypair(offer) for offer in self._offers],
            "agent_path": None,
            "preferred_auth": ["publickey", "keyboard-interactive", "password"],
            "proxy_command": hop.proxy_command,
            **_algorithms(hop, self._known),
        }


class _Client(asyncssh.SSHClient):
    """Answers what the host asks while it lets somebody in, and keeps what it says."""

    def __init__(self, hop: Hop, settings: SSHSettings, *, over: asyncssh.SSHClientConnection | None) -> None:
        self._hop = hop
        self._over = over
        self._keys_over = self._asked = False
        self._connection: asyncssh.SSHClientConnection | None = None
        self.banners: list[str] = []
        self.problem: AuthenticationRefused | None = None
        self.shown: str | None = None
        self.interview = Interview(hop.where, password=hop.password, code=code_source(hop, settings))

    @property
    def spoke(self) -> bool:
        """Whether what answers is an SSH server."""
        return self._connection is not None and self._connection.get_extra_info("server_version") is not None

    @property
    def agreed(self) -> bool:
        """Whether the algorithms of the connection are agreed upon."""
        return self._connection is not None and self._connection.get_extra_info("recv_cipher") is not None

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self._connection = conn

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncssh's
        if self._over is not None:
            self._over.close()

    def auth_banner_received(self, msg: str, lang: str) -> None:  # noqa: ARG002 - asyncssh's
        self.banners.append(msg)

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002
        self.shown = " ".join(key.export_public_key().decode().split()[:2])
        return False  # asked for keys that are not on record

    def public_key_auth_requested(self) -> None:
        # Asked when all keys were refused; after one that counts for a part, the host names other ways only.
        self._keys_over = True

    def kbdint_auth_requested(self) -> str | None:
        hop = self._hop
        nothing_left = self._keys_over and hop.password is None and hop.totp_secret is None
        if self._asked or nothing_left:
            return None
        self._asked = True
        return ""

    async def kbdint_challenge_received(
        self,
        name: str,  # noqa: ARG002 - asyncssh's
        instructions: str,  # noqa: ARG002
        lang: str,  # noqa: ARG002
        prompts: Sequence[tuple[str, bool]],
    ) -> list[str] | None:
        try:
            return await asyncio.to_thread(self.interview.answers, [prompt for prompt, _ in prompts])
        except AuthenticationRefused as error:
            self.problem = error
            return None

    def password_auth_requested(self) -> str | None:
        if self._asked:  # it was given in an answer already, and refused
            return None
        self._asked = True
        return self._hop.password


def code_source(hop: Hop, settings: SSHSettings) -> Any:
    """Return what gives one-time codes for a hop, None where it has no secret."""
    if hop.totp_secret is None:
        return None
    directory = ledger_root(settings.budget.directory if settings.budget is not None else None)
    return Codes(hop.totp_secret, period_seconds=hop.totp_period_seconds, directory=directory).wait


def _patience(hop: Hop) -> float:
    # A code that was used can't be used again, so that the next one may have to be waited for.
    return hop.connect_timeout_seconds + (2 * hop.totp_period_seconds if hop.totp_secret is not None else 0)


def _trusted(known: KnownKeys) -> tuple[list[asyncssh.SSHKey], list[asyncssh.SSHKey], list[asyncssh.SSHKey]]:
    return (_imported(known.keys), _imported(known.authorities), _imported(known.revoked))


def _imported(keys: Iterable[str]) -> list[asyncssh.SSHKey]:
    found = []
    for key in keys:
        try:
            found.append(asyncssh.import_public_key(key))
        except asyncssh.KeyImportError:
            continue  # of a kind that this machine can't check: the host will show another
    return found


def _keypair(offer: Offer) -> Any:
    key = asyncssh.import_private_key(offer.key)
    return key if offer.certificate_text is None else (key, asyncssh.import_certificate(offer.certificate_text))


def _algorithms(hop: Hop, known: KnownKeys) -> dict[str, Any]:
    from asyncssh import encryption, kex, mac, public_key  # noqa: PLC0415 - parts that the package does not export

    host_keys = _host_key_algorithms(hop, known)
    options: dict[str, Any] = {}
    for option, kind, names, usable in (
        ("encryption_algs", "ciphers", hop.ciphers, encryption.get_encryption_algs()),
        ("mac_algs", "macs", hop.macs, mac.get_mac_algs()),
        ("kex_algs", "key exchanges", hop.kex, kex.get_kex_algs()),
        (
            "server_host_key_algs",
            "host key algorithms",
            host_keys,
            [*public_key.get_certificate_algs(), *public_key.get_public_key_algs()],
        ),
        ("signature_algs", "public key algorithms", hop.pubkey_algorithms, public_key.get_public_key_algs()),
    ):
        if names:
            there = [name.decode() for name in usable]
            options[option] = [name for name in names if name in there]
            if not options[option]:
                raise login_errors.unknown_algorithms(hop, kind, names, there)
    if hop.compress:
        options["compression_algs"] = ["zlib@openssh.com", "none"]
    for kind, disabled in hop.disabled_algorithms:
        option = _ALGORITHM_OPTIONS[kind]
        offered = options.get(option)
        options[option] = [name for name in offered if name not in disabled] if offered else "-" + ",".join(disabled)
    return options


def _host_key_algorithms(hop: Hop, known: KnownKeys) -> list[str]:
    """Return the algorithms by which the host may prove its key, those of kinds on record first."""
    from asyncssh import public_key  # noqa: PLC0415

    plain = [name.decode() for name in public_key.get_default_public_key_algs()]
    certified = [name.decode() for name in public_key.get_default_certificate_algs()] if known.authorities else []
    # Signatures with SHA-1 can be forged; OpenSSH and paramiko refuse them, too.
    names = [name for name in hop.host_key_algorithms or (*certified, *plain) if not name.startswith("ssh-rsa")]
    types = {key.split()[0] for key in known.keys}
    of_record = [name for name in names if name in certified or _type_of(name) in types]
    # The others come last: a host that has none on record any more shows what it has, and is refused by its key.
    return [*of_record, *(name for name in names if name not in of_record)]


def _type_of(algorithm: str) -> str:
    return "ssh-rsa" if algorithm.startswith("rsa-sha2-") else algorithm
