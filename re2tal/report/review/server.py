"""The page of a review over HTTP, for this machine alone.

Everything lies below a path that begins with a secret token, which no other page and no other user knows: without it
nothing is answered. The name in the address must be this machine's, so that no page elsewhere can reach the server by
a name of its own that it points here (DNS rebinding). Videos are asked for by their place in the list, so that no
request can name a file.
"""

import asyncio
import hmac
import socket
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from re2tal.common.untrusted import JsonError, parse_json
from re2tal.report.review.errors import ReviewError
from re2tal.report.review.page import review_page
from re2tal.report.review.session import ReviewSession

__all__ = ["HOST", "PageSettings", "listen", "review_app", "serve"]

HOST = "127.0.0.1"
_LARGEST_BODY = 2**24
_MOST_NAME = 200


def listen(port: int) -> socket.socket:
    """A socket of this machine alone; port 0 takes any that is free.

    Raises:
        ReviewError: the port is in use or not allowed.
    """
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise ReviewError(f"port {port} cannot be used ({error.strerror}); give another --port, or none") from None


def serve(app: ASGIApp, listening: socket.socket) -> None:
    """Answer until Ctrl-C or SIGTERM."""
    config = uvicorn.Config(
        app, http="h11", ws="none", lifespan="off", log_level="critical", access_log=False, timeout_graceful_shutdown=1
    )
    uvicorn.Server(config).run(sockets=[listening])


@dataclass(frozen=True, kw_only=True)
class PageSettings:
    """What the page begins with."""

    title: str
    annotator: str
    is_default_name: bool = False
    """Nobody has chosen `annotator`, so that a name of an earlier review comes first."""


def review_app(session: ReviewSession, *, token: str, port: int, settings: PageSettings) -> ASGIApp:
    """The application.

    Args:
        session: what is reviewed.
        token: first part of every path.
        port: that the application is reached at.
        settings: of the page.
    """
    answers = _Answers(session, settings)
    routes = [
        Route("/", answers.page),
        Route("/rows", answers.rows),
        Route("/video/{place:int}", answers.video),
        Route("/media/{place:int}", answers.media),
        Route("/changes", answers.changes),
        Route("/edits", answers.edits, methods=["POST"]),
    ]
    return _Guard(Starlette(routes=[Mount(f"/{token}", routes=routes)]), token=token, port=port)


class _Answers:
    """To each kind of request; those that are not `async` run in threads."""

    def __init__(self, session: ReviewSession, settings: PageSettings) -> None:
        self._session, self._settings = session, settings

    def page(self, request: Request) -> Response:
        settings = self._settings
        text = review_page(
            self._session,
            title=settings.title,
            annotator=settings.annotator,
            is_default_name=settings.is_default_name,
        )
        # Paths may hold what is no text; browsers show it as an unknown character.
        return HTMLResponse(text.encode("utf-8", errors="xmlcharrefreplace"))

    def rows(self, request: Request) -> Response:
        try:
            least = float(request.query_params.get("score", ""))
        except ValueError:
            return PlainTextResponse("score must be a number", 400)
        return JSONResponse([self._session.row_of(name, least_score=least) for name in self._session.videos])

    def video(self, request: Request) -> Response:
        name = self._named(request)
        return _nothing() if name is None else JSONResponse(self._session.detail_of(name))

    def media(self, request: Request) -> Response:
        name = self._named(request)
        path = None if name is None else self._session.copies.get(name, self._session.material.files[name])
        if path is None or not path.is_file():
            return _nothing()
        return FileResponse(path, headers={"cache-control": "private, no-cache"})

    def changes(self, request: Request) -> Response:
        return JSONResponse(_news(self._session, request.query_params.get("after")))

    async def edits(self, request: Request) -> Response:
        try:
            body = parse_json(await _body_of(request))
            given, who = body["edits"], body["annotator"]
            if not isinstance(given, list) or not isinstance(who, str) or not 0 < len(who.strip()) <= _MOST_NAME:
                raise TypeError
        except (JsonError, KeyError, TypeError):
            return PlainTextResponse('the body must be JSON, {"edits": [...], "annotator": name, "after": number}', 400)
        try:
            results = await run_in_threadpool(self._session.edit, given, annotator=who.strip())
        except OSError as error:
            return JSONResponse({"error": f"the journal cannot be written ({error.strerror})"}, 507)
        return JSONResponse({"results": results, **_news(self._session, body.get("after"))})

    def _named(self, request: Request) -> str | None:
        place, videos = request.path_params["place"], self._session.videos
        return videos[place] if 0 <= place < len(videos) else None


def _news(session: ReviewSession, after: Any) -> dict[str, Any]:
    number = int(after) if str(after).isdecimal() else 0
    changes = session.changes_after(number)
    return {
        "journal": session.journal_id,
        "n": number + len(changes),
        "changes": changes,
        "problem": session.save_error,
        "classes": session.classes,
        "annotators": session.annotators,
    }


async def _body_of(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > _LARGEST_BODY:
            raise JsonError("too large")
        parts.append(part)
    return b"".join(parts)


def _nothing() -> Response:
    return PlainTextResponse("there is nothing here", 404)


class _Guard:
    """Refuses every request that is not of the page, and tells browsers to keep others out."""

    def __init__(self, app: ASGIApp, *, token: str, port: int) -> None:
        self._app = app
        self._path = f"/{token}/".encode()
        self._hosts = {f"{name}:{port}".encode() for name in (HOST, "localhost")}
        if port == 80:
            self._hosts |= {HOST.encode(), b"localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        refusal = self._refusal(scope)
        app: Callable[[Scope, Receive, Send], Awaitable[None]]
        app = self._app if refusal is None else PlainTextResponse(refusal, 403)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name for name, _ in message["headers"]}
                extra = [pair for pair in _HEADERS if pair[0] not in names]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        try:
            await app(scope, receive, send_guarded)
        except asyncio.CancelledError:  # the review ends while a page still holds a video open
            return
        except Exception:
            traceback.print_exc()
            raise

    def _refusal(self, scope: Scope) -> str | None:
        headers = [(name.lower(), value) for name, value in scope["headers"]]
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return "this server answers to its own address alone"
        if not hmac.compare_digest(scope["path"].encode(errors="replace")[: len(self._path)], self._path):
            return (
                "this is not the address of the review that runs now; open the whole one that it has printed (edits "
                "that are not saved stay in this browser)"
            )
        origins = [value for name, value in headers if name == b"origin"]
        if any(origin.removeprefix(b"http://").lower() not in self._hosts for origin in origins):
            return "pages of other origins are not answered"
        kinds = [value for name, value in headers if name == b"content-type"]
        if scope["method"] == "POST" and not all(kind.startswith(b"application/json") for kind in kinds or [b""]):
            return "edits are sent as application/json"
        return None


_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"content-security-policy", b"frame-ancestors 'none'"),
]
