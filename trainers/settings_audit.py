"""Which settings a run has read: one that never reaches the trainer would make trials equal that should differ."""

from typing import Any, cast

from trainers.config import Settings, TrainerConfig
from trainers.config.compatibility import idle_settings, is_idle
from trainers.errors import UnreadSetting


class Watched:
    """Stands for a configuration, and remembers the dotted keys that are read through it.

    Args:
        config: what is read.
    """

    def __init__(self, config: TrainerConfig) -> None:
        self._config = config
        self._read: set[str] = set()

    @property
    def config(self) -> TrainerConfig:
        """To be read in place of the configuration."""
        return cast(TrainerConfig, _Group(self._config, self._read, ""))

    def check(self) -> None:
        """To be called when the run has had the time to read everything.

        Raises:
            UnreadSetting: nothing has read a setting that concerns this run.
        """
        idle = idle_settings(self._config)
        for key in _keys(self._config, ""):
            if key.startswith("dataset."):  # handed on whole: the prepared images are kept under all of them
                continue
            if key not in self._read and not is_idle(key, idle):
                raise UnreadSetting(
                    f"{key} is a setting of this run, and nothing has read it: a mistake in the trainer"
                )


class _Group:
    def __init__(self, settings: Settings, read: set[str], prefix: str) -> None:
        self._watched = settings, read, prefix

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # so that isinstance tells what it stands for, as its name would
        settings, read, prefix = self._watched
        read.add(f"{prefix}name")
        return type(settings)

    def __getattr__(self, name: str) -> Any:
        settings, read, prefix = self._watched
        if name not in type(settings).model_fields:
            attribute = getattr(type(settings), name)
            # What a property is made of is read through it.
            return attribute.__get__(self) if isinstance(attribute, property) else getattr(settings, name)
        value = getattr(settings, name)
        if isinstance(value, Settings):
            return _Group(value, read, f"{prefix}{name}.")
        read.add(prefix + name)
        return value


def _keys(settings: Settings, prefix: str) -> list[str]:
    keys = []
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        keys += _keys(value, f"{prefix}{name}.") if isinstance(value, Settings) else [prefix + name]
    return keys
