"""What all settings have in common."""

from pydantic import BaseModel, BeforeValidator, ConfigDict


class Settings(BaseModel):
    """A group of settings: immutable, unknown keys refused, no silent conversion, no infinities."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def by_default(name: str) -> BeforeValidator:
    """Settings of a union that do not say their name are those of the default."""
    return BeforeValidator(lambda value: {"name": name} | value if isinstance(value, dict) else value)
