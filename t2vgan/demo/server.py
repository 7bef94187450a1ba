"""Serve the page with limits on paths, request sizes and hosts."""

import socket
from collections.abc import Awaitable, Callable
from typing import Any

import fastapi
import gradio as gr
import uvicorn
from starlette.responses import PlainTextResponse

from t2vgan.demo.figures import STYLE
from t2vgan.utils.console import print_stdout

PATHS = {"/", "/theme.css", "/manifest.json", "/favicon.ico"}
FOLDERS = ("/assets/", "/static/", "/gradio_api/heartbeat/")
CALLS = {
    f"/gradio_api/{name}" for name in ("queue/join", "queue/data", "run/predict", "cancel", "reset")
}
"""Allowed calls; Gradio's paths for uploads, server files and proxied addresses are not."""
MAX_BODY = 2**16  # bytes per request
MAX_CONNECTIONS = 256
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
    "media-src data:; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
"""Content security policy: scripts as Gradio needs them, and no requests to other hosts."""

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class LimitedApp:
    """An ASGI application behind limits on paths and sizes."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"content-security-policy", POLICY.encode()))
            await send(message)

        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif status := find_error_status(scope):
            await PlainTextResponse("refused", status)(scope, receive, send)
        else:
            await self.app(scope, receive, send_with_policy)


def find_error_status(scope: Scope) -> int | None:
    """Return the HTTP status with which to refuse a request, or None."""
    if scope["type"] != "http":
        return 403
    path = scope["path"]
    if path not in PATHS | CALLS and (not path.startswith(FOLDERS) or ".." in path):
        return 404
    if scope["method"] == "POST":
        length = dict(scope["headers"]).get(b"content-length", b"")
        if not length.isdigit():
            return 411
        if int(length) > MAX_BODY:
            return 413
    return None


class Server(uvicorn.Server):
    """A server that prints the page's address once it is ready."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for bound in sockets or ():
            host, port = bound.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            print_stdout(f"http://{shown}:{port}  (Ctrl-C stops it)")


def create_app(page: gr.Blocks) -> LimitedApp:
    """Build the web application of a page."""
    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    gr.mount_gradio_app(
        app, page, "/", css=STYLE, footer_links=[], run_history=False, ssr_mode=False,
        pwa=False, mcp_server=False, enable_monitoring=False, allowed_paths=[], max_file_size=1,
        show_error=False,
    )  # fmt: skip
    return LimitedApp(app)


def serve(page: gr.Blocks, bound: socket.socket) -> None:
    """Serve a page on a bound socket until a signal."""
    config = uvicorn.Config(
        create_app(page),
        log_level="warning",
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=1,  # because browsers keep connections open
    )
    Server(config).run(sockets=[bound])
