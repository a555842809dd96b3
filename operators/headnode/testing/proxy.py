"""A TCP proxy to stand before sshd: a network that breaks, stalls and comes back when a test says so."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Final, Self

BUFFER_BYTES: Final = 65536
# With these options closing sends a reset, as a firewall does that has lost a connection.
_RESET: Final = struct.pack("ii", 1, 0)


class SshProxy:
    """Forwards ``port`` on 127.0.0.1 to a cluster's sshd. Use it as a context manager.

    The traffic is encrypted, so what a cut falls into is decided by when it is made: hold the answers, wait until
    the cluster has done what it was asked, then cut (before the answer), or release and cut (after it).
    """

    def __init__(self, *, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host: str = "127.0.0.1"
        self.port: int = self._listener.getsockname()[1]
        self._links: set[_Link] = set()
        self._lock = threading.Lock()
        self._refusing = False
        self._accepted = 0
        self._gate = _Gate()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True, name="SSH proxy").start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Cut all connections and listen no more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def accepted(self) -> int:
        """Return how many connections were made so far."""
        return self._accepted

    def cut(self) -> int:
        """Reset all connections now, and return how many there were; new ones are accepted."""
        with self._lock:
            links, self._links = self._links, set()
        for link in links:
            link.cut()
        return len(links)

    def refuse(self) -> None:
        """Close new connections as soon as they are made, until ``accept`` is called."""
        self._refusing = True

    def accept(self) -> None:
        """Take new connections again."""
        self._refusing = False

    def hold_answers(self) -> None:
        """Keep what the cluster says from now on, of all connections, new ones too."""
        self._gate.set(to_cluster=True, to_client=False)

    def blackhole(self) -> None:
        """Keep what both sides say from now on; no end of a connection is seen, as behind a broken router."""
        self._gate.set(to_cluster=False, to_client=False)

    def release(self) -> None:
        """Forward what was kept, and what comes."""
        self._gate.set(to_cluster=True, to_client=True)

    def release_then_cut(self, *, answer_bytes: int) -> None:
        """Forward the next bytes of each connection's answers, and reset it when so many were forwarded.

        A connection on which fewer come stays open.
        """
        with self._lock:
            for link in self._links:
                link.cut_after(answer_bytes)
        self.release()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                client.close()
                continue
            self._accepted += 1
            try:
                cluster = socket.create_connection(self._target, timeout=10)
            except OSError:
                # sshd is away: the client sees what it would see without a proxy, a connection that ends at once.
                client.close()
                continue
            cluster.settimeout(None)
            link = _Link(client, cluster, self._gate)
            with self._lock:
                self._links.add(link)
            link.start()


class _Gate:
    """What holds back the one direction or the other."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open = {"to cluster": True, "to client": True}

    def set(self, *, to_cluster: bool, to_client: bool) -> None:
        with self._changed:
            self._open = {"to cluster": to_cluster, "to client": to_client}
            self._changed.notify_all()

    def wait(self, direction: str, link: _Link) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._open[direction] or link.is_cut)

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


class _Link:
    """One connection: two sockets, and a thread for each direction."""

    def __init__(self, client: socket.socket, cluster: socket.socket, gate: _Gate) -> None:
        self.is_cut = False
        self._client, self._cluster, self._gate = client, cluster, gate
        self._answer_bytes_left: int | None = None

    def start(self) -> None:
        for direction, source, sink in (
            ("to cluster", self._client, self._cluster),
            ("to client", self._cluster, self._client),
        ):
            pump = threading.Thread(target=self._pump, args=(direction, source, sink), daemon=True)
            pump.start()

    def cut_after(self, answer_bytes: int) -> None:
        self._answer_bytes_left = answer_bytes

    def cut(self) -> None:
        self.is_cut = True
        self._gate.wake()
        for end in (self._client, self._cluster):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            # A thread that reads holds the socket open; only this makes it return.
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RD)
            end.close()

    def _pump(self, direction: str, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(BUFFER_BYTES):
                self._gate.wait(direction, self)
                if self.is_cut:
                    return
                if direction == "to client" and self._answer_bytes_left is not None:
                    data, left = data[: self._answer_bytes_left], self._answer_bytes_left - len(data)
                    sink.sendall(data)
                    self._answer_bytes_left = max(left, 0)
                    if left <= 0:
                        self.cut()
                        return
                    continue
                sink.sendall(data)
            # The end of a connection is held back like its bytes.
            self._gate.wait(direction, self)
            sink.shutdown(socket.SHUT_WR)
