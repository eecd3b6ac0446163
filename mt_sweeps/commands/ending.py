"""How a command that was interrupted or failed ends: the status of its MLflow run, and the error that people see."""

from mt_sweeps.errors import Unfinished, disk_full_text, is_disk_full
from mt_sweeps.storage.file_store import StorageUnavailable


def ending(error: BaseException, how_to_resume: str) -> tuple[str, BaseException]:
    """Tell what the machine did from what the work itself did.

    Args:
        error: that ended the command.
        how_to_resume: how to go on, for the message.

    Returns:
        The status for MLflow, and the error to raise: KILLED for what can be resumed (an interrupt, a full disk, a
        storage that is away), FAILED and the error itself for everything else.
    """
    if isinstance(error, KeyboardInterrupt | Unfinished):
        return "KILLED", error
    if isinstance(error, StorageUnavailable):
        return "KILLED", Unfinished(f"the storage is away ({error}); {how_to_resume}")
    if is_disk_full(error):
        return "KILLED", Unfinished(disk_full_text(str(error).splitlines()[0], how_to_resume))
    return "FAILED", error
