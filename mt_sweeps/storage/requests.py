"""What people ask of a sweep while it runs: to try a point, or to end a trial. Its driver does it.

Only the driver writes the ledger. So a command leaves a request with the sweep, whole or not at all, and the driver
takes it up within a second. A request stays until what it asks for is in the ledger, where doing it again changes
nothing: whoever is killed meanwhile, nothing is lost and nothing is done twice.
"""

import json
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from mt_sweeps.spec.arms import Arm, TrialId

REQUEST_ID = r"^[0-9]{20}-[0-9a-f]{8}$"


@dataclass(frozen=True)
class Request:
    """One request, in JSON as it is here.

    Attributes:
        id: of it; requests are taken up in the order of their ids.
        action: `add` a point, or `end` a trial.
        values: of the point, under the dotted keys of the file.
        arm: of the trial that is to end.
        number: of it, in its arm.
    """

    id: Annotated[str, Field(pattern=REQUEST_ID)]  # a part of the name of a file
    action: Literal["add", "end"]
    values: dict[str, Any] = field(default_factory=dict)
    arm: Arm = "search"
    number: Annotated[int, Field(ge=0)] = 0

    @property
    def trial(self) -> TrialId:
        """The trial that is to end."""
        return TrialId(self.arm, self.number)

    def as_json(self) -> str:
        """Return it as it is kept."""
        return json.dumps(asdict(self))


_request = TypeAdapter(Request)


def new_id() -> str:
    """Return the id of a new request, which comes after those that were made before."""
    return f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}"


def parse_requests(contents: list[str | bytes]) -> list[Request]:
    """Return requests in their order. What is none is left out: it stops no sweep.

    Args:
        contents: as `Request.as_json` returns them.
    """
    found: list[Request] = []
    for content in contents:
        with suppress(ValidationError):
            found.append(_request.validate_json(content))
    return sorted(found, key=lambda request: request.id)
