"""Upload to and load from a server on loopback that speaks the Hub's calls."""

import base64
import hashlib
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import pytest
from huggingface_hub import constants

from t2vgan.errors import UserError
from t2vgan.pipeline import find_pretrained
from t2vgan.pipeline.hub import MAX_DOWNLOAD_BYTES
from tests.support.web_server import send, web_server

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Keeps the files of one repository, as the Hub does."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.claimed_size: int | None = None
        self.tokens: list[str | None] = []

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length", 0))
        body, path = handler.rfile.read(length), handler.path
        self.tokens.append(handler.headers.get("Authorization"))
        if path == "/api/repos/create":
            name = json.loads(body)
            url = f"{name['organization']}/{name['name']}"
            self.send_json(handler, {"url": f"http://{handler.headers['Host']}/{url}"})
        elif "/preupload/" in path:
            files = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": f, "uploadMode": "regular", "shouldIgnore": False} for f in files]
            self.send_json(handler, {"files": modes})
        elif path == "/api/validate-yaml":
            self.send_json(handler, {"errors": [], "warnings": []})
        elif "/commit/" in path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.files[line["value"]["path"]] = content
            url = f"http://{handler.headers['Host']}/me/circles/commit/{COMMIT}"
            self.send_json(handler, {"commitUrl": url, "commitOid": COMMIT, "success": True})
        elif (
            path.startswith("/me/circles/resolve/") and (name := path.split("/")[-1]) in self.files
        ):
            content = self.files[name]
            etag = f'"{hashlib.sha256(content).hexdigest()}"'
            headers = {"ETag": etag, "X-Repo-Commit": COMMIT}
            if self.claimed_size is not None:
                headers["X-Linked-Size"] = str(self.claimed_size)
            send(handler, 200, content, **headers)
        else:
            send(handler, 404, b"{}", X_Error_Code="RepoNotFound")

    def send_json(self, handler: BaseHTTPRequestHandler, value: object) -> None:
        send(handler, 200, json.dumps(value).encode(), Content_Type="application/json")


@contextmanager
def hub_server(hub: Hub):
    with web_server(hub.answer) as server:
        server.RequestHandlerClass.do_POST = server.RequestHandlerClass.do_GET
        yield server


def run_python(code, tmp_path, url):
    """Run code in a process whose Hub is at the URL, with an empty cache."""
    environment = os.environ | {
        "HF_ENDPOINT": url,
        "HF_HOME": str(tmp_path / "cache"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


ROUND_TRIP = """
import numpy as np
from t2vgan import TextToVideo
from t2vgan.errors import UserError
pipe = TextToVideo.from_pretrained("circles")
print(pipe.push_to_hub("me/circles", token="hf_secret", license="apache-2.0"))
again = TextToVideo.from_pretrained("me/circles")
prompt = "circle moving up-right"
np.testing.assert_array_equal(again(prompt).videos, pipe(prompt).videos)
try:
    pipe.push_to_hub("me/circles/more")
except UserError as error:
    print(error)
try:
    TextToVideo.from_pretrained("me/squares")
except UserError as error:
    print(error)
"""


@pytest.mark.system  # starts a server
def test_a_model_is_uploaded_and_loaded_from_the_hub(tmp_path):
    hub = Hub()
    with hub_server(hub) as server:
        result = run_python(ROUND_TRIP, tmp_path, server.url)
        assert result.returncode == 0, result.stderr
        url, refused, missing = result.stdout.splitlines()
        assert url == f"{server.url}/me/circles"
    assert {*hub.files} == {"README.md", "config.json", "model.safetensors", "sample.gif"}
    assert b"pipeline_tag: text-to-video" in hub.files["README.md"]
    assert "Bearer hf_secret" in hub.tokens
    assert refused.startswith("repo_id='me/circles/more': must be owner/name")
    assert missing.startswith("weights=me/squares: the Hugging Face Hub cannot be used (")


def use_hub(monkeypatch, url):
    template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def test_weights_that_claim_to_be_huge_are_not_downloaded(monkeypatch):
    hub = Hub()
    hub.files["model.safetensors"], hub.claimed_size = b"x", MAX_DOWNLOAD_BYTES + 1
    with hub_server(hub) as server:
        use_hub(monkeypatch, server.url)
        with pytest.raises(UserError, match="at most 8,589,934,592 are downloaded"):
            find_pretrained("me/circles")


def test_downloaded_weights_are_used_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    hub = Hub()
    hub.files["model.safetensors"] = b"weights"
    with hub_server(hub) as server:
        use_hub(monkeypatch, server.url)
        path = find_pretrained("me/circles")
    assert path.read_bytes() == b"weights"
    use_hub(monkeypatch, "http://127.0.0.1:1")
    assert find_pretrained("me/circles") == path


def test_without_a_network_there_is_one_line(monkeypatch):
    use_hub(monkeypatch, "http://127.0.0.1:1")
    with pytest.raises(
        UserError, match=r"weights=me/circles: .*cannot be used .*the network"
    ) as error:
        find_pretrained("me/circles")
    assert "\n" not in str(error.value)
    assert "refused" in str(error.value)


@pytest.mark.parametrize(
    "name", ["cirles", "runs/mine", "no where/x", "../x/y", "a/b/c", "https://x/y"]
)
def test_names_that_are_no_ids_are_never_looked_up(tmp_path, monkeypatch, name):
    """The folder `runs` is here, so that a mistyped run is not asked of the Hub."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(UserError, match="no such file"):
        find_pretrained(name)
