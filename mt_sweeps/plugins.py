"""Import the modules that register networks and data sets: those that the user named on this machine, and no others.

A module is named by `--plugin`, in `MT_SWEEP_PLUGINS`, or by an entry point of an installed package. No file can name
one: not a search-space file, nor what is kept of a sweep, nor a model file. A driver tells its workers which it has
imported.
"""

import importlib
import importlib.metadata
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from mt_sweeps.errors import InputError
from mt_sweeps.terminal import print
from mt_sweeps.versions import versions
from trainers.config import TrainerConfig
from trainers.config.plugins import missing_plugins, plugins_of, registered_plugins

GROUP = "mt_sweeps.plugins"  # of entry points
VARIABLE = "MT_SWEEP_PLUGINS"
_VERSION = "plugin "  # begins the names of plugins among versions


def load_plugins(options: Sequence[str]) -> None:
    """Import what the user named, and what installed packages bring.

    Args:
        options: modules, as typed.

    Raises:
        InputError: a module cannot be imported, or registers nothing.
    """
    import_plugins(options, "--plugin")
    import_plugins(_by_variable(), VARIABLE)
    for module, package in _by_entry_point().items():
        try:
            import_plugins([module], f"{package}: the entry point {GROUP}", from_here=False)
        except InputError as error:  # of a package that this command may not need
            print(f"note: {error}", file=sys.stderr)


def import_plugins(modules: Iterable[str], source: str, from_here: bool = True) -> None:
    """Import modules.

    Args:
        modules: their names.
        source: what named them, for an error.
        from_here: also from the working directory.

    Raises:
        InputError: a module cannot be imported, or registers nothing.
    """
    for module in modules:
        if not all(part.isidentifier() for part in module.split(".")):
            example = module.removesuffix(".py").strip("./").replace("/", ".")
            raise InputError(f"{source} {module}: is no name of a module; write it as `import` does, like {example}")
        if module in sys.modules:
            continue
        if from_here and str(Path.cwd()) not in sys.path:
            sys.path.append(str(Path.cwd()))  # last, so that no other import changes
        before = registered_plugins()
        try:
            importlib.import_module(module)
        except (Exception, SystemExit) as error:  # a script that ends itself
            cause = f"{type(error).__name__}: {' '.join(str(error).split())}"
            is_absent = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
            advice = "install it, start in the folder that holds it, or set PYTHONPATH" if is_absent else "correct it"
            raise InputError(f"{source} {module}: cannot be imported on this machine ({cause}); {advice}") from error
        if registered_plugins() == before:
            file = getattr(sys.modules[module], "__file__", None) or "a folder"
            raise InputError(
                f"{source} {module}: registers nothing ({file}); decorate a function with trainers.register_model or "
                "trainers.register_dataset"
            )


def plugin_code(config: TrainerConfig) -> dict[str, str]:
    """Return the plugins that a run uses: by module, the hash of the code that this process imported."""
    return {plugin.module: plugin.code for plugin in plugins_of(config)}


def run_versions(configs: Iterable[TrainerConfig]) -> dict[str, str]:
    """Return the versions of everything that decides the result of some runs: `versions`, and the code of plugins."""
    plugins = {plugin.module: plugin.code for config in configs for plugin in plugins_of(config)}
    return versions() | {f"{_VERSION}{module}": plugins[module] for module in sorted(plugins)}


def modules_in(recorded: dict[str, str]) -> list[str]:
    """Return the modules of plugins among versions that `run_versions` returned."""
    return [key.removeprefix(_VERSION) for key in recorded if str(key).startswith(_VERSION)]


def check_plugins(subject: str, recorded: dict[str, str]) -> None:
    """Make sure that the plugins of a sweep are imported. They are not imported because a file of the sweep says so.

    Args:
        subject: what needs them, for an error.
        recorded: versions that `run_versions` returned.

    Raises:
        InputError: one is not; which, and what to type.
    """
    missing = missing_plugins(modules_in(recorded))
    if missing:
        options = " ".join(f"--plugin {module}" for module in missing)
        raise InputError(
            f"{subject}: needs {', '.join(missing)}, and no file can make that be imported; name it yourself: {options}"
            f", or {VARIABLE}={','.join(missing)} in the environment"
        )


def changed_plugins(recorded: dict[str, str], current: dict[str, str]) -> list[str]:
    """Return the modules of plugins whose code is another than it was.

    Args:
        recorded: versions that `run_versions` returned then.
        current: versions that it returns now.
    """
    return [module for module in modules_in(recorded) if current.get(_VERSION + module) != recorded[_VERSION + module]]


def plugin_options(recorded: dict[str, str]) -> list[str]:
    """Return the options of a command for a sweep: one per plugin that neither the variable nor a package names."""
    named = {*_by_variable(), *_by_entry_point()}
    return [f"--plugin={module}" for module in modules_in(recorded) if module not in named]


def named_plugins(options: Sequence[str]) -> list[str]:
    """Return the modules that the user named, by options and by the variable, each once."""
    return list(dict.fromkeys([*options, *_by_variable()]))


def _by_variable() -> list[str]:
    return [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]


def _by_entry_point() -> dict[str, str]:
    """Return the modules of entry points, each with the name of its package."""
    points = importlib.metadata.entry_points(group=GROUP)
    return {point.module: point.dist.name if point.dist is not None else "a package" for point in points}
