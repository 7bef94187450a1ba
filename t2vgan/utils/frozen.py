"""Frozen pydantic models: base classes, flat view and error text."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from t2vgan.errors import UserError

MAX_FAULTS = 8  # listed in a message
MAX_SHOWN = 200  # characters of a value in a message

Fraction = Annotated[float, Field(ge=0, le=1)]


class Frozen(BaseModel):
    """A model that forbids unknown fields and changes after validation."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Versioned(Frozen):
    """A model that ignores retired fields if their value had no effect.

    Files of earlier versions therefore still load.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    RETIRED: ClassVar[Mapping[str, Any]] = {}
    """Retired field -> the value that had no effect."""

    @model_validator(mode="before")
    @classmethod
    def drop_retired(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        retired = cls.RETIRED
        return {k: v for k, v in fields.items() if k not in retired or v != retired[k]}


def flatten(model: Frozen, prefix: str = "") -> dict[str, Any]:
    """Return {"section.field": value} of every field, named as on the command line."""
    flat: dict[str, Any] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, Frozen):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


@contextlib.contextmanager
def naming_faults(where: str = "", remedy: str = "") -> Iterator[None]:
    """Raise invalid fields of a model as a UserError."""
    try:
        yield
    except ValidationError as error:
        parts = [f"{where}: " if where else "", format_faults(error), remedy and f"; {remedy}"]
        raise UserError("".join(parts)) from None


def format_faults(error: ValidationError, section: str = "") -> str:
    """Format the first invalid fields, their values and rules as one line."""
    faults = []
    every = error.errors(include_url=False, include_context=False)
    for fault in every[:MAX_FAULTS]:
        names = [section, *fault["loc"]] if section and fault["loc"] else fault["loc"]
        field = ".".join(map(str, names))
        message = fault["msg"].removeprefix("Value error, ").replace("Input should", "must")
        if fault["type"] == "extra_forbidden":
            message = "this version has no such field"
        given = (
            ""
            if isinstance(fault["input"], dict) or not field
            else f"={repr(fault['input'])[:MAX_SHOWN]}"
        )
        faults.append(f"{field}{given}: {message}" if field else message)
    if len(every) > MAX_FAULTS:
        faults.append(f"and {len(every) - MAX_FAULTS} more")
    return "; ".join(faults)
