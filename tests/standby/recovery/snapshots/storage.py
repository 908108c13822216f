"""A storage account on this machine, as far as listing a container goes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route


@dataclass
class Container:
    """A container, and how it behaves.

    Attributes:
        files: content hash (MD5 in base64) by name.
        page: files on a page of the list.
        status: instead of an answer.
        redirect: where it leads instead.
        hangs: whether it never answers.
        asked: queries that came.
    """

    files: dict[str, str] = field(default_factory=dict)
    page: int = 5000
    status: int = 200
    redirect: str = ""
    hangs: bool = False
    asked: list[Mapping[str, str]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: Request) -> Response:
        self.asked.append(dict(request.query_params))
        self.headers.append(dict(request.headers))
        if self.hangs:
            await asyncio.sleep(60)
        if self.redirect:
            return RedirectResponse(self.redirect)
        if self.status != 200:
            return Response(status_code=self.status)
        names = sorted(name for name in self.files if name.startswith(request.query_params.get("prefix", "")))
        start = int(request.query_params.get("marker", "0"))
        end = start + self.page
        blobs = "".join(self._blob(name) for name in names[start:end])
        marker = str(end) if end < len(names) else ""
        text = (
            '\ufeff<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="x">'
            f"<Blobs>{blobs}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>"
        )
        return Response(text.encode(), media_type="application/xml")

    def _blob(self, name: str) -> str:
        told = f"<Content-Length>{len(name)}</Content-Length><Etag>0x{self.files[name]}</Etag>"
        return (
            f"<Blob><Name>{escape(name)}</Name><Properties>{told}"
            f"<Content-MD5>{self.files[name]}</Content-MD5></Properties></Blob>"
        )


@asynccontextmanager
async def storage(container: Container) -> AsyncIterator[Container]:
    """Serve a container on a loopback port."""
    app = Starlette(routes=[Route("/{container:path}", container.answer)])
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        container.url = f"http://127.0.0.1:{listener.getsockname()[1]}/labels"
        try:
            yield container
        finally:
            server.should_exit = True
            with suppress(asyncio.CancelledError):
                await serving
