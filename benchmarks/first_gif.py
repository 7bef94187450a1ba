"""Time generating one GIF, with and without the sentence encoder.

Run `python -m benchmarks.first_gif`. It alternates between a known prompt, a prompt with a word
outside the synonym table, and the latter with the table's words embedded at the start instead of
read from their file.
"""

import tempfile
from functools import partial

from benchmarks.measure import benchmark, print_summary, run_python, run_turns, summarise
from benchmarks.record import write_record

KNOWN, UNKNOWN = "a small red star expanding", "a gargantuan red star expanding"
COMMAND = """
from t2vgan.commands.generate import main
from t2vgan.pipeline import word_vectors
if "{way}" == "embed":
    word_vectors.load_vectors = dict
main()
"""


def run(turns: int = 5) -> None:
    """Time first GIFs of the weights `shapes`, from process start to end.

    Args:
        turns: Turns of each way.
    """
    ways = {
        "known prompt": partial(draw, KNOWN, "keep"),
        "another word": partial(draw, UNKNOWN, "keep"),
        "another word, all words embedded": partial(draw, UNKNOWN, "embed"),
    }
    for way in ways.values():
        way()  # loads files into memory
    summary = summarise(run_turns(ways, turns), 1)
    print_summary("GIFs/s", summary)
    print(f"wrote {write_record('first_gif', {'turns': turns, 'gifs_per_second': summary})}")


def draw(prompt: str, way: str) -> None:
    """Start the command, and wait for its GIF."""
    with tempfile.TemporaryDirectory() as folder:
        options = "--weights", "shapes", "--prompt", prompt, "--out", folder
        run_python("-c", COMMAND.format(way=way), *options, capture_output=True)


if __name__ == "__main__":
    benchmark(run)
