"""Write an HTML page of searchable clips that play in a browser.

The page is one file that loads nothing: pictures are data URIs, and its content security policy
allows no other script or address. Prompts are escaped.
"""

import base64
import hashlib
from collections.abc import Sequence
from html import escape

import numpy as np

from t2vgan.media import to_data_uri

STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem;
       color: #262a33; background: #f6f7f9 }
input { font: inherit; width: 100%; padding: .5rem .75rem; border: 1px solid #cdd1d8;
        border-radius: .4rem; box-sizing: border-box }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: 1rem;
       margin-top: 1rem }
figure { margin: 0; background: #fff; border: 1px solid #cdd1d8; border-radius: .4rem;
         overflow: hidden }
img { width: 100%; display: block; image-rendering: pixelated }
figcaption { padding: .5rem; overflow-wrap: anywhere; unicode-bidi: isolate }
[hidden] { display: none }
""".strip()
SCRIPT = """
const search = document.querySelector("input"), count = document.querySelector("output");
const figures = [...document.querySelectorAll("figure")];
search.addEventListener("input", () => {
  const words = search.value.toLowerCase().split(/\\s+/);
  let shown = 0;
  for (const figure of figures) {
    const text = figure.textContent.toLowerCase();
    figure.hidden = !words.every(word => text.includes(word));
    shown += !figure.hidden;
  }
  count.textContent = shown + " of " + figures.length + " clips";
});
""".strip()


def clip_page(
    title: str, clips: Sequence[tuple[str, np.ndarray]], summary: Sequence[str], *, fps: float
) -> str:
    """Return the page as HTML.

    clips: (prompt, frames (T, H, W, 3)) of each clip; summary: lines about the data.
    """
    figures = "\n".join(_figure(prompt, frames, fps) for prompt, frames in clips)
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{_digest(STYLE)}'; "
        f"script-src 'sha256-{_digest(SCRIPT)}'"
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<pre>{escape(chr(10).join(summary))}</pre>
<input type="search" placeholder="Search prompts" aria-label="Search prompts">
<p><output>{len(clips)} of {len(clips)} clips</output></p>
<main>
{figures}
</main>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _figure(prompt: str, frames: np.ndarray, fps: float) -> str:
    source = to_data_uri(frames, format="webp", fps=fps)
    return (
        f'<figure><img src="{source}" alt="{escape(prompt)}" loading="lazy">'
        f"<figcaption>{escape(prompt)}</figcaption></figure>"
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
