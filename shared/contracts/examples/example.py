"""An example of an event, as data and as the CloudEvent around it."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Example:
    """An event as on its topic; `cause` names its direct cause, `root` the first event of the chain."""

    type: str
    id: str
    source: str
    time: str
    data: dict[str, Any]
    cause: str | None = None
    root: str | None = None

    def envelope(self) -> dict[str, Any]:
        """The whole CloudEvent, in structured mode."""
        attributes: dict[str, Any] = {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "time": self.time,
            "subject": self.data["customer_id"],
            "datacontenttype": "application/json",
        }
        if self.cause is not None:
            attributes |= {"correlationid": self.root or self.cause, "causationid": self.cause}
        return attributes | {"data": deepcopy(self.data)}
