"""The kinds of a group of settings, by name: those of this package, and those that plugins register."""

import hashlib
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
from pydantic_core import core_schema, to_json

from trainers.config.base import Settings

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # it becomes part of the names of files


@dataclass(frozen=True)
class Plugin:
    """A network or a data set that was registered.

    Attributes:
        settings: the class of its settings, whose field `name` has its names.
        function: makes the network, or returns the images.
        key: of a data set: returns a text that changes when the images change for a reason that neither the settings
            nor the file of the function show.
    """

    settings: type[Settings]
    function: Callable[..., Any]
    key: Callable[[Any], str] = lambda _: ""

    @property
    def module(self) -> str:
        """The name of the module that registers it."""
        return self.function.__module__

    @cached_property
    def code(self) -> str:
        """The beginning of a SHA-256 over the file that the function is written in; empty if it is in none.

        It is read when the plugin is registered, so that it is that of the code that runs.
        """
        try:
            file = inspect.getsourcefile(self.function)
            return "" if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]
        except (TypeError, OSError):  # of a notebook, or typed
            return ""

    def __str__(self) -> str:
        return f"{self.module}.{self.function.__qualname__}"


class Registry:
    """The kinds of one group of settings. In the annotation of a field, it lets the field take registered kinds too.

    Args:
        group: what the kinds are, in an error.
        base: the class from which the settings of a plugin derive.
        kinds: the union of the settings that this package has.
    """

    def __init__(self, group: str, base: type[Settings], kinds: Any) -> None:
        self._group = group
        self._base = base
        self._kinds: tuple[type[Settings], ...] = get_args(kinds)
        self._own = {name for kind in self._kinds for name in _names(kind)}
        self._plugins: dict[str, Plugin] = {}
        self._adapter: TypeAdapter[Any] | None = None  # validates all kinds; None while there are no plugins

    def add(self, plugin: Plugin) -> None:
        """Register a plugin. The same function may be registered again, as a notebook does that runs a cell twice.

        Raises:
            TypeError: the settings are no class that derives from the base, or their name is no literal.
            ValueError: the name is taken, or is no plain name.
        """
        settings = plugin.settings
        if not (isinstance(settings, type) and issubclass(settings, self._base)) or settings is self._base:
            raise TypeError(
                f"{plugin}: a {self._group} is registered with a class of settings that derives from "
                f"trainers.{self._base.__name__}, not with {settings!r}"
            )
        names = _names(settings)
        if not names:
            raise TypeError(f'{settings.__name__}: write the name as a field: name: Literal["my_{self._group}"]')
        if not hasattr(plugin.function, "__qualname__"):
            raise TypeError(f"{settings.__name__}: register a function, not {plugin.function!r}")
        for name in names:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{settings.__name__}: {name!r} is no plain name; use letters, digits, '.', '_', '-'")
            known = self._plugins.get(name)
            if name in self._own or (known is not None and str(known) != str(plugin)):
                owner = "mt-sweeps itself" if known is None else known
                raise ValueError(
                    f"{plugin}: there is a {self._group} {name!r} already, of {owner}; choose another name"
                )
        _ = plugin.code  # read now: the file may change while this process runs
        self._plugins |= dict.fromkeys(names, plugin)
        self._rebuild()

    def remove(self, name: str) -> None:
        """Forget a plugin, for tests."""
        del self._plugins[name]
        self._rebuild()

    def get(self, name: str) -> Plugin | None:
        """Return the plugin of this name, or None if the kind is of this package, or unknown."""
        return self._plugins.get(name)

    @property
    def plugins(self) -> dict[str, Plugin]:
        """The plugins by name."""
        return dict(self._plugins)

    @property
    def names(self) -> list[str]:
        """All names that are known."""
        return sorted(self._own | self._plugins.keys())

    def _rebuild(self) -> None:
        added = dict.fromkeys(plugin.settings for plugin in self._plugins.values())
        union: Any = reduce(or_, (*self._kinds, *added))
        self._adapter = TypeAdapter(Annotated[union, Field(discriminator="name")]) if added else None

    def _validate(self, value: Any, handler: core_schema.ValidatorFunctionWrapHandler, info: Any) -> Any:
        if self._adapter is None:
            return handler(value)
        # A strict tuple is a list in JSON, so what comes from JSON is validated as JSON.
        is_json = info.mode == "json"
        return self._adapter.validate_json(to_json(value)) if is_json else self._adapter.validate_python(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.with_info_wrap_validator_function(
            self._validate,
            handler(source),
            serialization=core_schema.wrap_serializer_function_ser_schema(
                lambda value, serialize: serialize(value), schema=core_schema.any_schema()
            ),
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return handler(schema if self._adapter is None else self._adapter.core_schema)


def _names(settings: type[Settings]) -> tuple[str, ...]:
    """Return the names of a kind: the values of the literal that annotates `name`."""
    field = settings.model_fields.get("name")
    return get_args(field.annotation) if field is not None and get_origin(field.annotation) is Literal else ()
