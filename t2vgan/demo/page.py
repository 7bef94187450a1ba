"""Build the page: its controls and their actions."""

import os
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported below

import gradio as gr
from pydantic import ValidationError

from t2vgan.demo.figures import format_error, format_rows
from t2vgan.demo.films import (
    MAX_FRAMES,
    MAX_PROMPT_LENGTH,
    MAX_SCALE,
    MAX_SEED,
    MAX_VIDEOS,
    DrawRequest,
    choose_scale,
    draw_rows,
)
from t2vgan.demo.prompt_notes import KnownPrompts
from t2vgan.errors import UserError
from t2vgan.pipeline import TextToVideo
from t2vgan.utils.frozen import format_faults
from t2vgan.utils.sequences import choose_examples

MAX_WAITING = 64  # requests in the queue; more are refused
NUM_EXAMPLES, NUM_HELD_OUT_EXAMPLES = 8, 2
WORDS_PER_PAGE = 40
DRAWN = {"videos of each prompt": "videos", "a walk from one to the other": "walk"}
STEPS = {"videos": 2, "walk": 5}
PAUSE_AT_CLICK = """
element.addEventListener('click', event => {
  const film = event.target.closest('video')
  if (film) film.paused ? film.play() : film.pause()
})
"""
SHOW_FILMS = """
() => { if (innerWidth < 700) document.querySelector('#films').scrollIntoView() }
"""
"""Scrolls to the films, which are below the settings on a phone."""


def build_page(pipe: TextToVideo) -> gr.Blocks:
    """Build the page of a model, which generates once to warm up."""
    known = KnownPrompts.from_info(pipe.info)

    def draw(*values: Any) -> str:
        return answer(pipe, known, dict(zip(DrawRequest.model_fields, values, strict=True)))

    with gr.Blocks(title="t2vgan demo", analytics_enabled=False) as page:
        gr.HTML(format_head(pipe))
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                prompts = add_prompts(pipe)
                mode = gr.Radio([*DRAWN.items()], value="videos", label="Generate")
                button = gr.Button("Generate", variant="primary", elem_id="draw")
                settings = add_settings(pipe)
            with gr.Column(scale=3, min_width=300):
                films = gr.HTML(elem_id="films", min_height=160, js_on_load=PAUSE_AT_CLICK)
        mode.change(STEPS.get, mode, settings[0], queue=False, api_visibility="private")
        inputs = [*prompts, mode, *settings]
        drawn = gr.on(
            [button.click, *(prompt.submit for prompt in prompts)],
            *(draw, inputs, films),
            trigger_mode="multiple",
            api_visibility="private",
        )
        drawn.then(None, js=SHOW_FILMS, api_visibility="private")
    draw(*(component.value for component in inputs))  # so that the first visitor does not wait
    return page.queue(max_size=MAX_WAITING, default_concurrency_limit=1, api_open=False)


def add_prompts(pipe: TextToVideo) -> list[gr.Textbox]:
    """Add the two prompts, with clickable words and examples."""
    info = pipe.info
    examples = choose_examples(
        info.prompts, info.held_out_prompts, NUM_EXAMPLES, NUM_HELD_OUT_EXAMPLES
    )
    prompts = [
        gr.Textbox(text, label=label, elem_id=name, max_length=MAX_PROMPT_LENGTH, max_lines=3)
        for text, label, name in (
            (next(iter(examples), ""), "Prompt", "prompt"),
            ("", "Second prompt (optional)", "other-prompt"),
        )
    ]
    in_use = gr.State(0)  # index of the prompt that was focused last
    for index, prompt in enumerate(prompts):
        prompt.focus(lambda index=index: index, None, in_use, queue=False, api_visibility="private")
    add_choices("Words that the model knows", info.words, add_to_prompt, [in_use, *prompts])
    add_choices("Example prompts", examples, replace_prompt, [in_use, *prompts])
    return prompts


def add_choices(
    label: str, texts: Sequence[str], change: Callable[..., list[str]], inputs: list[Any]
) -> None:
    """Add clickable texts that change the prompt in use."""
    choices = gr.Dataset(
        label=label,
        components=[gr.Textbox(visible=False)],
        samples=[[text] for text in texts],
        samples_per_page=WORDS_PER_PAGE,
        layout="gallery",
    )
    choices.click(
        change, [choices, *inputs], inputs[1:], queue=False, show_progress="hidden",
        api_visibility="private",
    )  # fmt: skip


def add_to_prompt(sample: list[str], in_use: int, *prompts: str) -> list[str]:
    """Append a known word to the prompt in use."""
    return replace_prompt([f"{prompts[in_use].rstrip()} {sample[0]}".lstrip()], in_use, *prompts)


def replace_prompt(sample: list[str], in_use: int, *prompts: str) -> list[str]:
    """Replace the prompt in use."""
    return [sample[0] if index == in_use else text for index, text in enumerate(prompts)]


def add_settings(pipe: TextToVideo) -> list[gr.Slider | gr.Number | gr.Radio]:
    """Add the settings besides the prompts, in the order of DrawRequest."""
    info = pipe.info
    with gr.Row():
        num_videos = gr.Slider(
            1, MAX_VIDEOS, STEPS["videos"], step=1, label="Videos or steps",
            min_width=200,
        )  # fmt: skip
        num_frames = gr.Slider(
            1, MAX_FRAMES, min(info.num_frames, MAX_FRAMES), step=1, label="Frames", min_width=200
        )
    with gr.Row():
        seed = gr.Number(0, precision=0, minimum=0, maximum=MAX_SEED, label="Seed", min_width=200)
        truncation = gr.Slider(0, 1, 1, step=0.05, label="Truncation", min_width=200)
    with gr.Row():
        scale = gr.Slider(
            1, MAX_SCALE, choose_scale(info.height), step=1, label="Enlarge", min_width=200
        )
        resample = gr.Radio(
            ["lanczos", "nearest"], value="lanczos", label="Resampling", min_width=200
        )
    return [num_videos, num_frames, seed, truncation, scale, resample]


def format_head(pipe: TextToVideo) -> str:
    """Format the description of the model as HTML."""
    info = pipe.info
    text = (
        f"This model knows {len(info.prompts):,} prompts and {len(info.words):,} words. It "
        f"generates videos of {info.num_frames} frames of {info.height}x{info.width} pixels."
    )
    return f'<h1 class="t2v-title">t2vgan</h1><p>{escape(text)}</p>'


def answer(pipe: TextToVideo, known: KnownPrompts, values: dict[str, Any]) -> str:
    """Return the HTML of the requested films, or of an error."""
    try:
        request = DrawRequest(**values)
        rows = draw_rows(pipe, known, request)
    except ValidationError as error:
        return format_error(format_faults(error))
    except UserError as error:
        return format_error(str(error))
    size = f"{pipe.info.height}x{pipe.info.width}"
    enlarged = (
        f", enlarged {request.scale} times with {request.resample}, which adds no detail"
        if request.scale > 1
        else ""
    )
    return format_rows(
        rows,
        f"Generated at {size}{enlarged}. ✓ and ✗ show what the meter of the evaluation reads "
        "from the pixels. Click a video to pause it.",
    )
