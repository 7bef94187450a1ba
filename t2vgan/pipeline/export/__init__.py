"""Export a generator with its text encoder, to run without t2vgan."""

from t2vgan.pipeline.export.files import (
    check_packages,
    write_description,
    write_onnx,
    write_program,
)
from t2vgan.pipeline.export.graph import trace

__all__ = ["check_packages", "trace", "write_description", "write_onnx", "write_program"]
