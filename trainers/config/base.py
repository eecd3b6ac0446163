"""The base class of all settings."""

from pydantic import BaseModel, BeforeValidator, ConfigDict

MAX_STEPS = 100_000_000
MAX_IMAGES = 1_000_000_000
MAX_SEED = 2**53  # exact in JSON, too


class Settings(BaseModel):
    """A group of settings: immutable, without unknown keys, silent conversions or infinities."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def __hash__(self) -> int:  # also where a setting of a plugin is a list
        return hash(self.model_dump_json())


def by_default(name: str) -> BeforeValidator:
    """Return a validator for a union of settings that takes settings without a name as those of this name."""
    return BeforeValidator(lambda value: {"name": name} | value if isinstance(value, dict) else value)
