"""The demo page in a real browser, served by the real command with hostile weights."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from t2vgan.checkpoint.weights import load_weights, save_weights
from tests.support.browsing import CHROMIUM, Browser, browser
from tests.support.commands import ROOT, environment, python

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, which .ci/run installs"),
]
HOSTILE = "<img src=x onerror=alert(1)> ${alert(1)} {{constructor}} circle **expanding**"
# The server's own connections are printed: it has none.
PROGRAM = """
import sys
sys.addaudithook(lambda event, values: event == "socket.connect" and print(values, flush=True))
sys.argv = ["t2vgan", "demo", "--port", "0", "--weights", sys.argv[1]]
from t2vgan.__main__ import main
main()
"""
WAIT = """
new Promise((done, fail) => {
  setTimeout(() => fail('not within a minute'), 60000)
  const look = () => { const found = %s; found ? done(found) : setTimeout(look, 20) }
  look()
})
"""
TYPE = """
(text => {
  const box = document.querySelector('%s textarea')
  box.focus()
  box.value = text
  box.dispatchEvent(new Event('input', {bubbles: true}))
})(%s)
"""
CHOOSE = "[...document.querySelectorAll('.gallery-item')].find(e => e.textContent.trim() == %s)"


class Demo:
    """A page that a visitor uses."""

    def __init__(self, chromium: Browser, url: str) -> None:
        self.chromium, self.url = chromium, url

    def open(self, **screen) -> None:
        self.chromium.open(self.url, **screen)
        self.wait("document.querySelector('#draw')")

    def wait(self, expression: str):
        return self.chromium.evaluate(WAIT % f"({expression})")

    def type(self, text: str, box: str = "#prompt") -> None:
        self.chromium.evaluate(TYPE % (box, json.dumps(text)))

    def draw(self) -> None:
        self.chromium.evaluate("document.querySelector('#draw').click()")

    def titles(self) -> list[str]:
        return self.chromium.evaluate(
            "[...document.querySelectorAll('#films h3')].map(title => title.textContent)"
        )


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[subprocess.Popen[str]]:
    """Serve the shipped circles, with hostile texts in place of a word and two prompts."""
    weights = tmp_path_factory.mktemp("weights") / "w.safetensors"
    tensors, info = load_weights("circles")
    words = tuple("<b>zig</b>" if known == "zigzagging" else known for known in info.words)
    changes = {"held_out_prompts": (HOSTILE,), "prompts": (*info.prompts, HOSTILE), "words": words}
    save_weights(weights, tensors, info.model_copy(update=changes))
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, weights],
        cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    yield process
    process.kill()
    process.communicate()


@pytest.fixture(scope="module")
def url(served) -> str:
    line = served.stdout.readline()
    match = re.match(r"(http://127\.0\.0\.1:\d+)  ", line)
    assert match, line + served.stderr.read()
    return match[1]


@pytest.fixture(scope="module")
def demo(url, tmp_path_factory) -> Iterator[Demo]:
    with browser(tmp_path_factory.mktemp("profile")) as chromium:
        yield Demo(chromium, url)


def check_silence(demo: Demo) -> None:
    """Check that the console is empty and that nothing was asked of another host."""
    assert demo.chromium.complaints() == []
    assert {re.match("[a-z]+://[^/]*", url)[0] for url in demo.chromium.requests()} == {demo.url}


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_two_prompts_are_typed_and_drawn_side_by_side(demo, width, scheme):
    demo.open(width=width, prefers_color_scheme=scheme)
    demo.type("circle moving left")
    demo.type("circle expanding", "#other-prompt")
    demo.draw()
    demo.wait("document.querySelectorAll('#films video').length == 4")
    assert demo.titles() == ["circle moving left", "circle expanding"]
    seen = demo.chromium.evaluate(
        "[...document.querySelectorAll('#films .t2v-hit')].map(e => e.textContent)"
    )
    assert seen == ["✓ motion: left"] * 2 + ["✓ motion: expanding"] * 2
    is_playing = "document.querySelector('#films video').currentTime > 0.2"
    assert demo.wait(is_playing)
    assert demo.chromium.evaluate("document.querySelector('#films video').videoWidth") == 256
    room = demo.chromium.evaluate("document.documentElement.clientWidth")
    assert width - 20 < room <= width
    assert demo.chromium.evaluate("document.documentElement.scrollWidth") == room
    colour = demo.chromium.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    )
    assert (max(colour[:3]) < 64) == (scheme == "dark")
    check_silence(demo)


def test_a_click_pauses_a_film(demo):
    demo.open()
    demo.draw()
    demo.wait("document.querySelector('#films video')?.currentTime > 0")
    demo.chromium.evaluate("document.querySelector('#films video').click()")
    states = "[...document.querySelectorAll('#films video')].map(film => film.paused)"
    assert demo.chromium.evaluate(states) == [True, False]


def test_words_and_examples_go_into_the_prompt_in_use(demo):
    demo.open()
    demo.type("circle")
    demo.chromium.evaluate(f"{CHOOSE % json.dumps('shrinking')}.click()")
    demo.wait("document.querySelector('#prompt textarea').value == 'circle shrinking'")
    demo.type("x", "#other-prompt")
    demo.chromium.evaluate(f"{CHOOSE % json.dumps('circle moving down')}.click()")
    demo.wait("document.querySelector('#other-prompt textarea').value == 'circle moving down'")
    assert demo.chromium.evaluate("document.querySelector('#prompt textarea').value") == (
        "circle shrinking"
    )
    check_silence(demo)


def test_hostile_prompts_and_weights_are_text(demo):
    demo.open()
    items = "[...document.querySelectorAll('.gallery-item')].map(item => item.textContent.trim())"
    demo.wait(f"{items}.some(text => text)")  # a moment after the form
    offered = demo.chromium.evaluate(items)
    assert "<b>zig</b>" in offered
    assert any(text.startswith(HOSTILE[:40]) for text in offered)
    num_elements = "document.querySelectorAll('img[src=x], #films b, #films strong').length"
    demo.type(f"{HOSTILE} zoom")
    demo.draw()
    demo.wait("document.querySelectorAll('#films video').length == 2")
    assert demo.titles() == [f"{HOSTILE} zoom"]
    shown = demo.chromium.evaluate("document.querySelector('#films').textContent")
    assert f'is read as "{HOSTILE[:30]}' in shown
    assert demo.chromium.evaluate(num_elements) == 0
    check_silence(demo)


def test_a_prompt_without_a_known_word_is_one_line(demo):
    demo.open()
    demo.type("<i>zebra</i>")
    demo.draw()
    message = demo.wait("document.querySelector('#films [role=alert]')?.textContent")
    assert message.startswith('prompt "<i>zebra</i>" has no word that the model knows; known')
    check_silence(demo)


def test_twenty_clicks_at_once_are_queued_and_the_last_is_shown(demo):
    demo.open()
    for number in range(20):
        demo.type(f"circle expanding {number}")
        demo.draw()
    demo.wait("document.querySelector('#films h3')?.textContent == 'circle expanding 19'")
    joined = [url for url in demo.chromium.requests() if "/queue/join" in url]
    assert len(joined) == 20
    check_silence(demo)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/", b"", 200),
        ("GET", "/gradio_api/file=/etc/hostname", b"", 404),
        ("GET", "/gradio_api/file%3D/etc/hostname", b"", 404),
        ("GET", "/static/../../../../etc/hostname", b"", 404),
        ("GET", "/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/hostname", b"", 404),
        ("GET", "/assets//etc/hostname", b"", 403),
        ("POST", "/gradio_api/upload", b"x", 404),
        ("POST", "/gradio_api/queue/join", b"x" * 100_000, 413),
    ],
)
def test_only_the_page_is_served(demo, method, path, body, status):
    connection = http.client.HTTPConnection(demo.url.removeprefix("http://"))
    connection.request(method, path, body)
    response = connection.getresponse()
    assert response.status == status
    if status == 200:
        assert response.getheader("content-security-policy").startswith("default-src 'self'")
    connection.close()


def test_draws_wait_in_the_queue_only(demo):
    """A direct call would be drawn beside others."""
    call = {"data": ["circle", "", "videos", 1, 5, 0, 1, 1, "nearest"], "session_hash": "a"}
    statuses = []
    for number in range(8):
        connection = http.client.HTTPConnection(demo.url.removeprefix("http://"))
        body = json.dumps(call | {"fn_index": number})
        headers = {"content-type": "application/json"}
        connection.request("POST", "/gradio_api/run/predict", body, headers)
        response = connection.getresponse()
        statuses.append((response.status, b"figure" in response.read()))
        connection.close()
    assert not any(is_film for _, is_film in statuses)
    assert 404 in [status for status, _ in statuses]


def test_ctrl_c_ends_the_server_which_asked_nothing_of_any_host(demo, served):
    served.send_signal(signal.SIGINT)
    output, errors = served.communicate(timeout=300)
    assert served.returncode == 130
    assert output == ""
    assert errors.splitlines()[-1] == "interrupted"


def test_a_port_that_is_taken_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = python("-m", "t2vgan", "demo", "--port", port)
    assert result.returncode == 2
    assert result.stderr == (
        f"error: --host 127.0.0.1 --port {port}: Address already in use; choose another\n"
    )


def test_a_missing_extra_is_one_line():
    hidden = "import importlib.util as u, sys; u.find_spec = lambda name: None; "
    command = "from t2vgan.commands.demo import main; from t2vgan.utils import cli; cli.run(main)"
    result = python("-c", hidden + command)
    assert result.returncode == 2
    assert result.stderr == "error: the demo needs Gradio: pip install 't2vgan[demo]'\n"
