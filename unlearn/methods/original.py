"""The reference that forgets nothing: the teacher itself."""

from typing import ClassVar

from pydantic.dataclasses import dataclass

from unlearn.config.schema import CLOSED
from unlearn.data.tensors import Access, Split
from unlearn.models.copies import copy_network
from unlearn.protocol import Request, State, Steps


@dataclass(config=CLOSED)
class Original:
    """Return a copy of the teacher."""

    access: ClassVar[Access] = "none"

    def unlearn(self, request: Request, data: Split | None) -> Steps:
        """Yield one state, with the teacher's weights; see `Method`."""
        yield State("copy", 1, 1, copy_network(request.teacher))
