"""Signed addresses: the Planetary Computer's own package, with a real service of tokens on this machine."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from landcover_jobs.scenes.inventory import read_inventory
from scene_catalogue import COLLECTION, impatient
from scene_steps import FILES, Steps, originals, stac_map


@pytest.mark.parametrize("mode", ["whole", "window"])
def test_scenes_of_the_planetary_computer_are_signed(server, cube, tmp_path, mode):
    """Files of its storage need a token, which its package asks for; a refused one is asked for again."""
    for item in server.folder.glob(f"{COLLECTION}/S2*/*.json"):
        content = json.loads(item.read_text())
        for asset in content["assets"].values():
            address = f"{COLLECTION}/{item.parent.name}/{asset['href'].removeprefix('./')}"
            asset["href"] = f"http://account.blob.core.windows.net/{address}"
        item.write_text(json.dumps(content))
    tokens = iter(range(1000))
    refused = []

    def token(_: bytes) -> bytes:
        # A token that ends within a minute is not kept by the package.
        expiry = datetime.now(UTC) + timedelta(seconds=50)
        number = next(tokens)
        return json.dumps(
            {"msft:expiry": expiry.strftime("%Y-%m-%dT%H:%M:%SZ"), "token": f"se=1&sig=token{number}"}
        ).encode()

    def refuses(target: str) -> int | None:
        if ".blob.core.windows.net/" not in target or ("sig=token" in target and not target.endswith("sig=token0")):
            return None
        refused.append(target)
        return 403

    server.answers[f"/api/sas/v1/token/account/{COLLECTION}"] = token
    server.refuses = refuses
    content = stac_map(server, cube, signing="planetary_computer", transfer=impatient(mode=mode))
    # The storage's name is resolved by a proxy: this server.
    proxy = {"http_proxy": server.url, "no_proxy": "127.0.0.1", "PC_SDK_SAS_URL": f"{server.url}/api/sas/v1/token"}
    steps = Steps(tmp_path, content, **proxy)
    steps.run_alone("search")
    scene = read_inventory(steps.folder.inventory(2018))[0]
    assert "sig=" not in scene.assets["B4"]
    assert steps.run_alone("fetch")["fetched"] == 6 * FILES
    assert refused
    assert "403" in steps.said
    assert "sig=" not in steps.said
    if mode == "window":
        return  # its files are other ones than the source's
    year = {name: digest for name, digest in originals(server).items() if name.startswith("S2_2018")}
    assert steps.hashes() == year
