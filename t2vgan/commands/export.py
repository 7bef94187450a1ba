"""Export weights: `t2vgan export WEIGHTS --to onnx --out FILE`.

The file generates clips in any program that runs its format, without t2vgan; see docs/export.md.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from t2vgan.errors import UserError
from t2vgan.utils import cli
from t2vgan.utils.console import print_stderr, print_stdout
from t2vgan.utils.files import check_writable

SUFFIXES = {"onnx": ".onnx", "torch.export": ".pt2"}


@dataclass(frozen=True)
class ExportOptions:
    """Write a generator as a file that runs without t2vgan.

    The file includes the text encoder. A JSON file beside it holds the vocabulary and describes the
    inputs.
    """

    weights: Positional[Path]
    """Shipped weights (circles, shapes, shapes-two, actions), a run folder, weights file, model
    folder or Hugging Face id (owner/name)."""
    out: Path
    """Output file (.onnx or .pt2), or a folder for generator.onnx or generator.pt2."""
    to: Literal["onnx", "torch.export"] = "onnx"
    """Output format; torch.export writes a .pt2 archive for PyTorch."""


def main() -> None:
    """Export the weights that the command line names."""
    options = cli.parse(ExportOptions)
    path = choose_path(options)
    check_writable(path.parent)
    print_stderr(f"loading {options.weights}")
    from t2vgan.pipeline import TextToVideo, export

    if options.to == "onnx":
        export.check_packages()
    pipeline = TextToVideo.from_pretrained(options.weights)
    print_stderr("tracing (up to a minute)")
    graph = export.trace(pipeline)
    write = export.write_onnx if options.to == "onnx" else export.write_program
    write(graph, path)
    export.write_description(graph, name_description(path))
    print_stdout(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    print_stdout(str(name_description(path)))


def choose_path(options: ExportOptions) -> Path:
    """Return the file to write.

    Raises:
        UserError: the file exists, or its suffix is that of another format.
    """
    suffix = SUFFIXES[options.to]
    is_file = options.out.suffix.lower() in SUFFIXES.values()
    path = options.out if is_file else options.out / f"generator{suffix}"
    if path.suffix != suffix:
        raise UserError(f"--out {path}: must end in {suffix} with --to {options.to}")
    for file in (path, name_description(path)):
        if file.exists() or file.is_symlink():
            raise UserError(f"--out {options.out}: {file} exists; remove it or choose another name")
    return path


def name_description(path: Path) -> Path:
    """Return the path of the JSON file beside an exported file."""
    return path.with_name(f"{path.name}.json")
