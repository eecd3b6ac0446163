"""The check of a node, and commands that show something, start in fresh processes and load no more than they need."""

import subprocess
import sys

import pytest

HEAVY = ["rich", "optuna", "sqlalchemy", "ray", "mlflow", "torch", "scipy", "sklearn", "pandas"]

NODES = """
mt_sweeps
mt_sweeps.addresses
mt_sweeps.errors
mt_sweeps.execution
mt_sweeps.execution.nodes
mt_sweeps.execution.precision
mt_sweeps.execution.preflight
mt_sweeps.execution.resources
mt_sweeps.formatting
mt_sweeps.plugins
mt_sweeps.program
mt_sweeps.retry
mt_sweeps.search_space
mt_sweeps.search_space.distributions
mt_sweeps.search_space.filters
mt_sweeps.search_space.grid
mt_sweeps.search_space.space
mt_sweeps.spec
mt_sweeps.spec.arms
mt_sweeps.spec.dotted
mt_sweeps.spec.hints
mt_sweeps.spec.sections
mt_sweeps.spec.sweep_spec
mt_sweeps.spec.validation_errors
mt_sweeps.storage
mt_sweeps.storage.environment
mt_sweeps.storage.file_store
mt_sweeps.storage.folder
mt_sweeps.storage.home
mt_sweeps.storage.reading
mt_sweeps.storage.records
mt_sweeps.storage.requests
mt_sweeps.storage.trial_files
mt_sweeps.terminal
mt_sweeps.versions
"""


def loaded_modules(module):
    """Return the names of all modules that a fresh process has after importing one."""
    # tenacity imports tornado where there is one, and only notebooks bring it.
    script = f"import sys; sys.modules['tornado'] = None; import {module}; print(*sorted(sys.modules), sep='\\n')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_the_check_of_a_node_loads_these_modules_and_no_heavy_library():
    loaded = loaded_modules("mt_sweeps.execution.nodes")
    assert [name for name in HEAVY if name in loaded] == []
    assert [name for name in loaded if name.split(".")[0] == "mt_sweeps"] == NODES.split()


@pytest.mark.parametrize("module", ["status", "best_file", "best_text", "trials", "comparison"])
def test_a_command_that_only_shows_something_loads_no_heavy_library(module):
    loaded = loaded_modules(f"mt_sweeps.results.{module}, mt_sweeps.storage.open, mt_sweeps.cli")
    assert [name for name in [*HEAVY, "asyncio", "filelock"] if name in loaded] == []


def test_the_python_interface_is_imported_when_it_is_used():
    assert [name for name in loaded_modules("mt_sweeps") if name.startswith(("mt_sweeps.", "trainers"))] == []
    loaded = loaded_modules("mt_sweeps.api")
    assert [name for name in HEAVY if name in loaded] == []


def test_completion_of_names_and_files_imports_next_to_nothing():
    loaded = loaded_modules("mt_sweeps.cli, mt_sweeps.storage.folder")
    assert [name for name in [*HEAVY, "pydantic", "ruamel", "numpy"] if name in loaded] == []
