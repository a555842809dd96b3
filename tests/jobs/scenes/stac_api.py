"""A real STAC API (rustac's server) with the items of a static catalogue; its assets come from a file server."""

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

RUSTAC = Path(sys.executable).with_name("rustac")


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def stac_api(catalogue: Path, assets: str, port: int = 0) -> Iterator[str]:
    """Serve the catalogue of `catalog.json` as an API; `assets` is the address at which its folder is served."""
    port = port or free_port()
    loaded = _written(catalogue, assets)
    command = [str(RUSTAC), "serve", "--addr", f"127.0.0.1:{port}", *map(str, loaded)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _await(port, server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def _written(catalogue: Path, assets: str) -> list[Path]:
    """Write what the server loads: the collections and all items, without links, with absolute addresses."""
    root, items, written = catalogue.parent, [], []
    target = root.parent / f"{root.name}-api"
    target.mkdir(exist_ok=True)
    for file in sorted(root.rglob("*.json")):
        content = json.loads(file.read_text())
        content["links"] = []
        if content["type"] == "Collection":
            written.append(target / f"{content['id']}.json")
            written[-1].write_text(json.dumps(content))
        elif content["type"] == "Feature":
            for asset in content["assets"].values():
                asset["href"] = (
                    f"{assets}/{file.parent.relative_to(root).as_posix()}/{asset['href'].removeprefix('./')}"
                )
            items.append(content)
    written.append(target / "items.json")
    written[-1].write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    return written


def _await(port: int, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 20
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if server.poll() is not None or time.monotonic() > end:
            raise RuntimeError("the STAC API does not start")
        time.sleep(0.02)
