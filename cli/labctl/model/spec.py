"""What the models of a lab file have in common: frozen, no unknown keys but `x-…`, unions told apart by shape."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Discriminator, Strict, Tag, model_validator

from labctl.model.scalars import Text


class Spec(BaseModel):
    """A mapping of a lab file. Keys that begin with ``x-`` are the writer's own and are left alone."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        populate_by_name=False,
        allow_inf_nan=False,
        json_schema_extra={"patternProperties": {"^x-": {}}},
        defer_build=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _without_extensions(cls, data: Any) -> Any:
        if isinstance(data, dict) and any(isinstance(key, str) and key.startswith("x-") for key in data):
            return {key: value for key, value in data.items() if not (isinstance(key, str) and key.startswith("x-"))}
        return data


def shape(value: Any) -> str:
    """The tag of a union's branch: what kind of YAML value this is."""
    if isinstance(value, bool):
        return "<flag>"
    if isinstance(value, str):
        return "<text>"
    if isinstance(value, list):
        return "<list>"
    if isinstance(value, dict):
        return "<map>"
    if isinstance(value, int | float):
        return "<number>"
    return "<spec>" if isinstance(value, BaseModel) else "<nothing>"


def one_of(expected: str) -> Discriminator:
    """Tells the branches of a union apart by `shape`; `expected` completes the sentence "expected …"."""
    return Discriminator(shape, custom_error_type="shape", custom_error_message=f"expected {expected}")


Flag = Annotated[bool, Strict()]
CommandSpec = Annotated[
    Annotated[Text, Tag("<text>")] | Annotated[list[Text], Tag("<list>")],
    one_of("a command: a string, or a list of strings"),
]
"""A string is run by `sh -c`, a list as it is."""
