from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from standby.service.calls import origin_of, spelled
from standby.service.client import ContentUnderstandingClient
from standby.service.errors import ServiceError
from standby.service.retries import HttpRetries

if TYPE_CHECKING:
    import ssl

    from tests.standby.conftest import MakeResource
    from tests.standby.service.conftest import FastTime

OURS = "west.services.ai.azure.com"


@pytest.mark.parametrize(
    ("url", "origin", "told"),
    [
        ("https://A.example", ("https", "a.example", 443), "https://a.example"),
        ("HTTPS://a.example:443/x?y#z", ("https", "a.example", 443), "https://a.example"),
        ("https://a.example:8443", ("https", "a.example", 8443), "https://a.example:8443"),
        ("http://a.example:80", ("http", "a.example", 80), "http://a.example"),
        ("http://a.example:443", ("http", "a.example", 443), "http://a.example:443"),
        ("https://user:password@a.example", ("https", "a.example", 443), "https://a.example"),
        ("http://[::1]:9", ("http", "::1", 9), "http://[::1]:9"),
        ("https://bücher.example", ("https", "xn--bcher-kva.example", 443), "https://xn--bcher-kva.example"),
        (
            "https://xn--bcher-kva.example",
            ("https", "xn--bcher-kva.example", 443),
            "https://xn--bcher-kva.example",
        ),
        ("https://a.example.", ("https", "a.example.", 443), "https://a.example."),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: tuple[str, str, int], told: str) -> None:
    assert origin_of(httpx.URL(url)) == origin
    assert spelled(origin) == told


@given(
    st.text(st.sampled_from("/\\:@?#.[]%\t\n \u2100\u3002ehtps1x"), max_size=12),
    st.sampled_from(["https://", "//", "http://", "HTTPS:\\\\", "https:", "///", "/", ""]),
    st.sampled_from(["elsewhere.example", OURS, f"{OURS}@elsewhere.example", f"elsewhere.example\\.{OURS}"]),
    st.text(st.sampled_from("/\\:@?#.[]%\t\n \u2100\u3002ehtps1x"), max_size=12),
)
@example("", f"https://{OURS}\\@", "elsewhere.example", "/")
@example("", "https:\\\\", "elsewhere.example", "")
def test_wherever_a_link_points_requests_go_to_our_host_only(
    fast_time: FastTime,
    make_resource: MakeResource,
    tls: ssl.SSLContext,
    before: str,
    start: str,
    host: str,
    after: str,
) -> None:
    seen: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url)
        link = {"nextLink": before + start + host + after} if len(seen) == 1 else {}
        return httpx.Response(200, json={"value": [{"analyzerId": "a"}], **link})

    async def listed() -> None:
        client = ContentUnderstandingClient(
            make_resource("west"),
            tls=tls,
            retries=HttpRetries(attempts=1),
            transport=httpx.MockTransport(answer),
        )
        async with client:
            try:
                await client.list_analyzers()
            except ServiceError:
                assert len(seen) == 1

    fast_time(listed())
    assert {(url.scheme, url.raw_host, url.port) for url in seen} == {("https", OURS.encode(), None)}
