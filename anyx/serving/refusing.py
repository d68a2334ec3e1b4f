"""What is said of something sent that is not taken."""

from __future__ import annotations

import re

ADDRESS = re.compile(r" ?<[^<>]* at 0x[0-9a-f]+>")


class Refused(ValueError):
    """Something sent that is not taken; `status` is what HTTP says of it: 400, 413 too large, 415 of no known kind.

    429 and 503 are of what cannot be read now.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(ADDRESS.sub("", message))
        self.status = status
