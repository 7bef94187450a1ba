import pytest

from t2vgan.demo.server import MAX_BODY, find_error_status


def refusal(path, method="GET", kind="http", **headers):
    pairs = [(k.replace("_", "-").encode(), str(v).encode()) for k, v in headers.items()]
    return find_error_status({"type": kind, "path": path, "method": method, "headers": pairs})


@pytest.mark.parametrize("path", ["/", "/assets/index.js", "/static/fonts/a.woff2", "/theme.css"])
def test_the_pages_own_files_are_served(path):
    assert refusal(path) is None


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/upload",
        "/gradio_api/proxy=http://example.com",
        "/gradio_api/info",
        "/assets/../../etc/passwd",
        "/docs",
        "/config",
        "/login",
        "",
    ],
)
def test_other_paths_are_not_there(path):
    assert refusal(path) == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content_length": MAX_BODY}, None),
        ({"content_length": MAX_BODY + 1}, 413),
        ({"content_length": "-1"}, 411),
        ({"content_length": "1e3"}, 411),
        ({"transfer_encoding": "chunked"}, 411),
        ({}, 411),
    ],
)
def test_bodies_are_small_and_of_known_length(headers, status):
    assert refusal("/gradio_api/queue/join", "POST", **headers) == status


def test_websockets_are_refused():
    assert refusal("/", kind="websocket") == 403
