"""What is asked and answered: the bodies of requests and responses, as they are documented."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from fraud.dates import within_reach
from fraud.fields import TRANS_NUM_LONGEST
from fraud.names import MODEL

__all__ = ["Confirmations", "Confirmed", "Given", "Outcome", "Scored", "Transaction"]

MOST_CONFIRMATIONS = 1000
NUMBER = "8cf5ff5e1a3b9e8e7e5c4f7f3d9a1b2c"
EXAMPLE: JsonValue = {
    "trans_date_trans_time": "2025-01-03 21:14:05",
    "cc_num": 2290000000000000,
    "merchant": "fraud_Kilback LLC",
    "category": "shopping_net",
    "amt": 814.5,
    "first": "Ada",
    "last": "Moreau",
    "gender": "F",
    "street": "12 Mill Lane",
    "city": "Springfield",
    "state": "VT",
    "zip": "05156",
    "lat": 43.3,
    "long": -72.48,
    "city_pop": 9062,
    "job": "Surveyor",
    "dob": "1979-04-02",
    "trans_num": NUMBER,
    "unix_time": 1735938845,
    "merch_lat": 43.9,
    "merch_long": -72.1,
}

# As JSON has them, and as a CSV does: what is no number is refused by `fraud.transactions`, which reads them.
Spelled = Annotated[str, Field(pattern=r"^\s*[+-]?[0-9.]+([eE][+-]?[0-9]+)?\s*$")]
Whole = Annotated[int | float | Spelled, Field(description="A whole number.")]
Fraction = Annotated[int | float | Spelled, Field(description="A number.")]
Text = Annotated[str, Field(min_length=1)]


class Transaction(BaseModel):
    """A card transaction: its 21 columns. It is read as logger_sql reads a line of a batch."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE]})

    trans_date_trans_time: Annotated[
        str, Field(min_length=1, description="`2025-01-03 21:14:05`, or day and month first where unix_time decides.")
    ]
    cc_num: Annotated[Whole, Field(description="The number of the card.")]
    merchant: Text
    category: Text
    amt: Annotated[Fraction, Field(description="The amount, in whole cents.")]
    first: Text
    last: Text
    gender: Text
    street: Text
    city: Text
    state: Text
    zip: Annotated[str, Field(pattern=r"^\s*[0-9]{3,5}(-[0-9]{4})?(\.0*)?\s*$")]
    lat: Annotated[Fraction, Field(description="Where the card's holder lives.")]
    long: Fraction
    city_pop: Whole
    job: Text
    dob: Annotated[str, Field(min_length=1, description="`1979-04-02`, or in the order of the transaction's date.")]
    trans_num: Annotated[
        str | Whole, Field(description="What it is known by: asked again, it has the answer that it had.")
    ]
    unix_time: Whole
    merch_lat: Annotated[Fraction, Field(description="Where it was made.")]
    merch_long: Fraction


class ModelName(BaseModel):
    """The version of the model that said it."""

    name: str
    version: int


class Scored(BaseModel):
    """What is said of a transaction, or was when it was asked for first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "trans_num": NUMBER,
                    "is_fraud": True,
                    "score": 0.83,
                    "threshold": 0.21,
                    "model": {"name": MODEL, "version": 3},
                }
            ]
        }
    )

    trans_num: str
    is_fraud: Annotated[bool, Field(description="Whether it is to be looked at.")]
    score: Annotated[
        float | None,
        Field(ge=0, le=1, description="How likely it is a fraud; null where no model said it."),
    ]
    threshold: Annotated[
        float | None, Field(description="From where on it is to be looked at; null where no model said it.")
    ]
    model: ModelName | None


def _is_wall_clock(moment: datetime) -> datetime:
    if moment.tzinfo is not None:
        raise ValueError("has a time zone: write the wall clock of the data, 2025-01-03T10:00:00 say")
    return within_reach(moment)


def _is_text(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise ValueError("is blank, or has a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("is not valid Unicode: half of a surrogate pair") from None
    return text.strip()


class Given(BaseModel):
    """That a transaction was a fraud, or was none."""

    model_config = ConfigDict(extra="forbid")

    trans_num: Annotated[
        str,
        Field(min_length=1, max_length=TRANS_NUM_LONGEST, json_schema_extra={"pattern": r"[^\s\x00-\x1f\x85\ufeff]"}),
        AfterValidator(_is_text),
    ]
    is_fraud: Annotated[bool, Field(strict=True)]
    confirmed_at: Annotated[
        datetime,
        Field(description="When it was known, by the clock of the data: without a time zone."),
        AfterValidator(_is_wall_clock),
    ]


class Confirmations(BaseModel):
    """What is known about some transactions."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "confirmations": [
                        {"trans_num": NUMBER, "is_fraud": True, "confirmed_at": "2025-01-05T10:00:00"},
                    ]
                }
            ]
        },
    )

    confirmations: Annotated[list[Given], Field(min_length=1, max_length=MOST_CONFIRMATIONS)]


class Outcome(BaseModel):
    """What became of a confirmation."""

    trans_num: str
    outcome: Annotated[
        Literal["confirmed", "waiting", "repeated", "contradicted", "rejected"],
        Field(
            description="It is the truth now, will be when its transaction is there, was known; or it was refused: what"
            " is known is the contrary, or it is of a time before its transaction."
        ),
    ]
    detail: Annotated[str, Field(description="Why it was refused.")] = ""


class Confirmed(BaseModel):
    """What became of each confirmation, in the order of the request."""

    confirmations: list[Outcome]
