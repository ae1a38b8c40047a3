"""Specs made of several parts: nested in Python, flat in files, keyword arguments and options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from pydantic import ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails

from geoseg.spec.base import Spec


class CombinedSpec(Spec):
    """A spec whose fields are specs, all of whose settings have distinct names.

    It is made from settings by their own names, `PredictSpec(tile=512)`, from whole parts,
    `PredictSpec(classify=ClassifySpec(tile=512))`, or from both.
    """

    @classmethod
    def parts(cls) -> dict[str, type[Spec]]:
        """The classes of its parts, by field."""
        kinds = {name: field.annotation for name, field in cls.model_fields.items()}
        return {name: kind for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, Spec)}

    @classmethod
    def settings(cls) -> dict[str, FieldInfo]:
        """All settings, by their names in files and keyword arguments."""
        return {name: field for kind in cls.parts().values() for name, field in kind.settings().items()}

    @classmethod
    def written_place(cls, place: Sequence[int | str]) -> tuple[int | str, ...]:
        """Location of a value in the written settings, which do not name the part."""
        return tuple(place[1:] if place and place[0] in cls.parts() else place)

    @model_validator(mode="before")
    @classmethod
    def _sort_into_parts(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        parts = {name: dict(values[name]) for name in cls.parts() if isinstance(values.get(name), Spec)}
        homes = {setting: name for name, kind in cls.parts().items() for setting in kind.settings()}
        for name in values:
            if name in homes:
                parts.setdefault(homes[name], {})[name] = values[name]
            elif name not in parts:
                problem = InitErrorDetails(type="extra_forbidden", loc=(name,), input=values[name])
                raise ValidationError.from_exception_data(cls.__name__, [problem])
        return parts

    def flat(self) -> dict[str, Any]:
        """All settings by name."""
        return {name: value for part in self.parts() for name, value in getattr(self, part)}

    def with_settings(self, **settings: Any) -> Self:
        """A copy with other values of some settings, which are validated."""
        return type(self).model_validate(self.flat() | settings)
