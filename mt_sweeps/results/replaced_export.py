"""Whether an export may take the place of the file that is there: of an export before it, which nobody edited."""

from pathlib import Path

from mt_sweeps.errors import InputError
from mt_sweeps.results.best_file import BestFile, load_request, to_yaml


def why_not_replaced(path: Path, best: BestFile) -> str | None:
    """Return what is at a path that the export of a best file must not replace; None: an earlier one, or nothing.

    Args:
        path: of the export; what is there and no ordinary file is not replaced anyway.
        best: the content of the new file.
    """
    if not path.is_file():
        return None
    try:
        request = load_request(path)
    except InputError:
        return "is no best file that `export` wrote"
    earlier = request.best
    if (earlier.sweep, earlier.sweep_id, earlier.arm) != (best.sweep, best.sweep_id, best.arm):
        return f"is {earlier.title}"
    if earlier.digest is None or request.cautions or not _is_as_written(path, earlier):
        return "was edited since it was exported"
    return None


def _is_as_written(path: Path, best: BestFile) -> bool:
    """Return True if a file has no comments of somebody: what it says is known to be unedited.

    The first lines name the command as it was typed, so that they may differ.
    """
    lines, written = path.read_text(encoding="utf-8").splitlines(), to_yaml(best).splitlines()
    head = sum(line.startswith("#") for line in written)
    return lines[head:] == written[head:]
