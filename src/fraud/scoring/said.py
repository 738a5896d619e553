"""What was said of a transaction: as logger_sql reads it, and as it is answered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from json.encoder import encode_basestring_ascii as quoted

from fraud.features import Transaction
from fraud.transactions import COLUMN_TYPES, COLUMNS, parse_transaction

__all__ = ["Said", "read", "transaction"]

PLACE = {name: place for place, name in enumerate(COLUMNS)}
AMOUNT = PLACE["amt"]
# How a line has each column: a number as it is, anything else in quotes.
KINDS = ("text", "timestamp", "date")
COLUMNS_OF_A_LINE = tuple((f'"{name}":', kind.startswith(KINDS)) for name, kind in COLUMN_TYPES.items())


@dataclass(frozen=True, slots=True)
class Said:
    """A transaction, and what was said of it when it happened.

    Attributes:
        values: Its columns, in PostgreSQL's spelling.
        is_fraud: What was said.
        score: How likely that was; None where no model said it.
        model_version: Which version of the model said it.
    """

    values: tuple[str, ...]
    is_fraud: bool
    score: float | None
    model_version: int | None

    def line(self) -> bytes:
        """Itself, as a line of a batch."""
        columns = [
            name + (quoted(value) if is_text else value)
            for (name, is_text), value in zip(COLUMNS_OF_A_LINE, self.values, strict=True)
        ]
        said = f'"is_fraud":{json.dumps(self.is_fraud)},"score":{self.score!r},"model_version":{self.model_version}'
        return f"{{{','.join(columns)},{said}}}\n".encode()

    @classmethod
    def of_line(cls, line: bytes) -> Said:
        """What a line of a batch of ours says.

        Raises:
            ValueError: It is no such line.
        """
        record = json.loads(line, parse_int=str, parse_float=str)
        values = tuple(record[name] for name in COLUMNS)
        return cls(values, record["is_fraud"], float(record["score"]), int(record["model_version"]))


def read(body: bytes) -> tuple[str, ...]:
    """The columns of a transaction, in PostgreSQL's one spelling of each.

    Raises:
        RejectedError: It is none, for the reason that logger_sql would have.
    """
    values = parse_transaction(body)
    # 3.5, 3.50 and 003.5 are one amount.
    return *values[:AMOUNT], f"{Decimal(values[AMOUNT]):.2f}", *values[AMOUNT + 1 :]


def transaction(values: Sequence[str]) -> Transaction:
    """What the features are made of."""
    return Transaction(
        trans_num=values[PLACE["trans_num"]],
        cc_num=int(values[PLACE["cc_num"]]),
        at=datetime.fromisoformat(values[PLACE["trans_date_trans_time"]]),
        merchant=values[PLACE["merchant"]],
        category=values[PLACE["category"]],
        amt=float(values[AMOUNT]),
        lat=float(values[PLACE["lat"]]),
        long=float(values[PLACE["long"]]),
        merch_lat=float(values[PLACE["merch_lat"]]),
        merch_long=float(values[PLACE["merch_long"]]),
        city_pop=int(values[PLACE["city_pop"]]),
    )
