"""Parameters that several commands share, described once."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from cyclopts import Parameter
from cyclopts.validators import Number

Json: TypeAlias = Annotated[bool, Parameter(name="--json", help="Print JSON lines for scripts.", negative=())]
Seconds: TypeAlias = Annotated[float, Parameter(validator=Number(gt=0))]
