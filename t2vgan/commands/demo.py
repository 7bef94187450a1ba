"""Serve a web page that generates videos from prompts."""

import importlib.util
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from t2vgan.commands.generate import load_pipeline
from t2vgan.errors import UserError
from t2vgan.utils import cli


@dataclass(frozen=True)
class DemoOptions:
    """Serve a web page that generates videos from prompts.

    The server saves nothing: videos are part of the page. Everyone who can reach the address can
    generate videos.
    """

    weights: Path | None = None
    """Shipped weights (circles, shapes, shapes-two, actions), a run folder, weights file, model
    folder or Hugging Face id (owner/name); by default circles."""
    host: str = "127.0.0.1"
    """Address to serve on; 0.0.0.0 accepts connections from other machines."""
    port: int = 7860
    """Port to serve on; 0 selects any free port."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to compute on; auto uses a GPU if there is one."""


def main() -> None:
    """Load the weights, then serve the page until Ctrl-C."""
    options = cli.parse(DemoOptions)
    if importlib.util.find_spec("gradio") is None:
        raise UserError("the demo needs Gradio: pip install 't2vgan[demo]'")
    with bind(options.host, options.port) as bound:
        pipeline = load_pipeline(options.weights, options.device)
        from t2vgan.demo.page import build_page
        from t2vgan.demo.server import serve

        serve(build_page(pipeline), bound)


def bind(host: str, port: int) -> socket.socket:
    """Bind a listening socket; connections wait until the server starts.

    Raises:
        UserError: the address is in use, forbidden or not an address of this machine.
    """
    if not 0 <= port <= 65535:
        raise UserError(f"--port {port}: must be between 0 and 65535")
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        reason = error.strerror or "cannot be used"
        raise UserError(f"--host {host} --port {port}: {reason}; choose another") from None
    return bound
