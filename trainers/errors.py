"""What can go wrong in one training run, with the reason that a sweep records."""


class DataError(Exception):
    """The images, or the first weights, are missing, unreadable, or do not fit the configuration."""


class ConflictingClasses(DataError):
    """Images with the same pixels have different classes."""


class CheckpointError(Exception):
    """A checkpoint cannot be used: it is damaged, or belongs to another format, configuration, data set or device."""


class MissingPlugin(CheckpointError):
    """A model file needs plugins that were not imported.

    Args:
        path: of the file.
        modules: the names of the modules that register them.
    """

    def __init__(self, path: object, modules: list[str]) -> None:
        options = " ".join(f"--plugin {module}" for module in modules)
        super().__init__(
            f"{path}: its network or its data set is of a plugin that was not imported: {', '.join(modules)}; name it "
            f"({options}), or in Python import it first"
        )


class UnreadableCheckpoint(CheckpointError):
    """A checkpoint file is damaged, or is no checkpoint, and there is no earlier one."""


class TrainingError(Exception):
    """The run cannot give a result. `reason` is the short word that the ledger records."""

    reason = "error"


class Diverged(TrainingError):
    """A loss exploded, or a loss or a weight is no longer a number."""

    reason = "diverged"


class Collapsed(TrainingError):
    """The teacher classifies no better than chance, and was better before."""

    reason = "collapsed"


class ConsistencyMissing(TrainingError):
    """The consistency weight is above 0, but the loss is 0 or has no gradient: a bug, never a result."""

    reason = "no_consistency"


class WrongNetwork(TrainingError):
    """The network of a plugin cannot be made, or its features have another shape than it says."""

    reason = "wrong_network"


class NotDeterministic(TrainingError):
    """`deterministic: true` is set, and an operation of the run has no deterministic form on its device."""


class NoLabels(TrainingError):
    """No image is labeled, or an image without a label is treated as a labeled one."""

    reason = "no_labels"


def escaped(text: object) -> str:
    """Return a text that is safe on a terminal: control characters, as a file's name may hold, become `\\x1b`."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
