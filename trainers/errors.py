"""What can go wrong in one training run, named so that a sweep can record the reason."""


class DataError(Exception):
    """The images are not there, not readable, or too few for what was asked."""


class CheckpointError(Exception):
    """A checkpoint cannot be used: torn, foreign, of another format, or of another configuration."""


class UnreadableCheckpoint(CheckpointError):
    """It is torn or not ours, whatever run it belongs to, and there is no other."""


class TrainingError(Exception):
    """The run cannot give a result. `reason` is a short word for the ledger."""

    reason = "error"


class Diverged(TrainingError):
    """A loss exploded, or it or a weight is no longer a number."""

    reason = "diverged"


class Collapsed(TrainingError):
    """The teacher is at chance, and it was not before."""

    reason = "collapsed"


class ConsistencyMissing(TrainingError):
    """The consistency weight is above 0, but the term is 0 or moves nothing: a bug, never a result."""

    reason = "no_consistency"


class NoLabels(TrainingError):
    """A batch holds no labeled image, or takes one without a label for one."""

    reason = "no_labels"
