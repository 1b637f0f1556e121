"""Who a request is from: `X-Forwarded-For` counts as far as it was written by proxies that are trusted."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request

from signaling.sockets.proxies import Networks, TrustedProxies, is_within, read_address
from tests.helpers.server import ProtocolClient, running_server

TRUSTED = TrustedProxies(["10.0.0.0/8", "127.0.0.1", "2001:db8::/32"])


@pytest.mark.parametrize(
    ("peer", "headers", "client"),
    [
        ("192.0.2.9", [], "192.0.2.9"),
        ("192.0.2.9", ["198.51.100.1"], "192.0.2.9"),  # anybody may write one
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["203.0.113.5, 198.51.100.1"], "198.51.100.1"),  # the first is the client's invention
        ("127.0.0.1", ["203.0.113.5", "198.51.100.1, 10.1.2.3"], "198.51.100.1"),  # two proxies of ours
        ("127.0.0.1", ["10.1.2.3"], "10.1.2.3"),
        ("127.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("127.0.0.1", ["[2001:db9::1]:4711"], "2001:db9::1"),
        ("127.0.0.1", ["2001:db9::1"], "2001:db9::1"),
        ("::ffff:127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["unknown"], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.1, unknown"], "127.0.0.1"),
        ("127.0.0.1", [""], "127.0.0.1"),
        ("127.0.0.1", [", ".join(["10.0.0.1"] * 10_000)], "10.0.0.1"),
    ],
)
def test_the_client(peer: str, headers: list[str], client: str) -> None:
    assert str(TRUSTED.client(read_address(peer), headers)) == client


@pytest.mark.parametrize(
    ("peer", "headers", "over_tls", "secure"),
    [
        ("192.0.2.9", [], False, False),
        ("192.0.2.9", ["https"], False, False),
        ("127.0.0.1", ["https"], False, True),
        ("127.0.0.1", ["http, HTTPS"], False, True),
        ("127.0.0.1", ["https, http"], True, False),
        ("127.0.0.1", [], True, True),
    ],
)
def test_whether_the_client_speaks_tls(peer: str, headers: list[str], over_tls: bool, secure: bool) -> None:  # noqa: FBT001  columns of the table
    assert TRUSTED.is_secure(read_address(peer), headers, over_tls=over_tls) is secure


@pytest.mark.parametrize(
    ("headers", "trusted", "networks", "within"),
    [
        ({}, [], [], True),  # this machine
        ({}, [], ["192.0.2.0/24"], False),
        ({"X-Forwarded-For": "192.0.2.1"}, [], [], False),  # nobody knows who asks through a proxy of this machine
        ({"Forwarded": "for=192.0.2.1"}, [], ["127.0.0.0/8"], False),
        ({"X-Forwarded-For": "192.0.2.1"}, ["127.0.0.1"], [], False),
        ({"X-Forwarded-For": "192.0.2.1"}, ["127.0.0.1"], ["192.0.2.0/24"], True),
        ({"X-Forwarded-For": "127.0.0.1"}, ["127.0.0.1"], [], True),
    ],
)
def test_from_where_a_request_is(
    headers: dict[str, str],
    trusted: list[str],
    networks: list[str],
    within: bool,  # noqa: FBT001  a column of the table
) -> None:
    request = make_mocked_request("GET", "/", headers).clone(remote="127.0.0.1")
    assert is_within(request, TrustedProxies(trusted), Networks(networks)) is within


async def test_clients_behind_a_trusted_proxy_are_counted_one_by_one() -> None:
    async def connect(http: aiohttp.ClientSession, url: str, address: str) -> str:
        async with http.ws_connect(url, headers={"X-Forwarded-For": address}) as ws:
            return str((await ws.receive_json())["event"])

    async with running_server(trusted_proxy=["127.0.0.1"], max_sockets_per_address=1) as server:
        async with aiohttp.ClientSession() as http, ProtocolClient(server.ws_url("WEB", 1)) as first:
            await first.expect("welcome")
            assert await connect(http, server.ws_url("WEB", 2), "198.51.100.1") == "welcome"
            assert await connect(http, server.ws_url("WEB", 3), "127.0.0.1") == "error"
