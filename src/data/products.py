"""A product: what a listing must be to become one, and why it does not."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

__all__ = ["CATEGORIES", "RULES", "Product", "RejectedError", "product"]

RULES = 1
"""Raised when a rule below changes: products that were made by other rules are then made anew."""

CATEGORIES = frozenset(
    {10, 40, 50, 60, 1140, 1160, 1180, 1280, 1281, 1300, 1301, 1302, 1320, 1560, 1920, 1940, 2060, 2220, 2280, 2403,
     2462, 2522, 2582, 2583, 2585, 2705, 2905}
)  # fmt: skip
"""The codes of the 27 categories."""

BIGINT_MAX = 2**63 - 1
# Exports of data frames write whole numbers as 1263597046.0 where a column has gaps.
WHOLE = re.compile(r"([0-9]{1,19})(?:\.0*)?")


class RejectedError(ValueError):
    """A listing that is no product, with all reasons."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


def _whole(value: Any) -> int:
    if value is None or not str(value).strip():
        raise ValueError("missing")
    match = WHOLE.fullmatch(str(value).strip())
    if not match or int(match[1]) > BIGINT_MAX:
        raise ValueError(f"{_shown(value)} is not a whole number")
    return int(match[1])


def _category(value: Any) -> int | None:
    if value is None or not str(value).strip():
        return None
    code = _whole(value)
    if code not in CATEGORIES:
        raise ValueError(f"{_shown(value)} is not one of the {len(CATEGORIES)} categories")
    return code


def _title(value: str) -> str:
    if not value.strip():
        raise ValueError("missing")
    return value


Whole = Annotated[int, BeforeValidator(_whole)]
Code = Annotated[int | None, BeforeValidator(_category)]


def _present(value: Any) -> str:
    return "" if value is None else value


class Product(BaseModel):
    """One document of ``products``."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    id: str = Field(alias="_id")
    productid: Whole
    imageid: Whole
    designation: Annotated[str, BeforeValidator(_present), AfterValidator(_title)]
    description: Annotated[str, BeforeValidator(_present)]
    prdtypecode: Code
    surplus: Annotated[list[str], Field(max_length=0, exclude=True)] = []


def product(listing: dict[str, Any]) -> dict[str, Any]:
    """A document of ``raw_products`` as one of ``products``.

    Raises:
        RejectedError: It is none.
    """
    try:
        return Product.model_validate(listing).model_dump(by_alias=True)
    except ValidationError as error:
        raise RejectedError([_reason(each) for each in error.errors(include_url=False)]) from None


def _reason(error: Any) -> str:
    where = str(error["loc"][0])
    if where == "surplus":
        return "the row has more values than there are columns"
    return f"{where}: {error.get('ctx', {}).get('error') or error['msg']}"


def _shown(value: Any) -> str:
    """A value for a message: short, whatever it is."""
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
