"""Render this package's templates, with every value escaped."""

from inspect import getmembers, isfunction
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from t2vgan import __version__
from t2vgan.report import formatting
from t2vgan.utils.urls import redact


def _hide_passwords(value: Any) -> Any:
    """Hide passwords in the URLs of a text; leave markup."""
    return redact(value) if type(value) is str else value


_environment = Environment(
    loader=PackageLoader("t2vgan.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    finalize=_hide_passwords,
)
_environment.filters |= getmembers(formatting, isfunction)
_environment.globals["version"] = __version__


def render(template: str, **values: Any) -> str:
    """Return a template filled with values."""
    return _environment.get_template(template).render(values)
