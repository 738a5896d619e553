"""What is asked and answered: the bodies of requests and responses, as they are validated and documented."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from catalog.names import CATEGORIES, MODEL

__all__ = [
    "BatchPrediction",
    "Category",
    "Feedback",
    "Likely",
    "ModelInfo",
    "ModelName",
    "Options",
    "Predicted",
    "Prediction",
    "Product",
    "Products",
    "Received",
    "TopK",
]

MOST_PRODUCTS = 1000
PREDICTION_ID = "0e3c1f0b2a4d4e9f8a7b6c5d4e3f2a1b"
POOL: JsonValue = {"designation": "Piscine gonflable ronde 3 m", "description": "<p>Avec pompe et b&acirc;che.</p>"}
LIKELY: JsonValue = [
    {"code": 2583, "name": "Pools", "probability": 0.93},
    {"code": 1302, "name": "Outdoor play", "probability": 0.04},
]
SERVED: JsonValue = {"name": MODEL, "version": 3}


# What can be seen. Spelled out: Python, Rust and JavaScript do not agree on what white space is.
SEEN = r"[^\s\x00-\x1f\x85\ufeff]"
PREDICTION = r"^[0-9a-f]{32}$|^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"


def _is_not_blank(text: str) -> str:
    if not re.search(SEEN, text):
        raise ValueError("is blank: write the title of the product")
    return text


def _is_unicode(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("is not valid Unicode: half of a surrogate pair") from None
    return text


def _is_category(code: int) -> int:
    if code not in CATEGORIES:
        raise ValueError("is no category: GET /categories has their codes")
    return code


Code = Annotated[int, AfterValidator(_is_category), Field(json_schema_extra={"enum": list(CATEGORIES)})]


TopK = Annotated[int, Field(ge=1, le=len(CATEGORIES), description="How many categories, the likeliest first.")]


class Asked(BaseModel):
    """What a client sends: nothing is guessed, and a name that is not known is a mistake."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Product(Asked):
    """A listing, as its seller wrote it: HTML and all."""

    model_config = ConfigDict(json_schema_extra={"examples": [POOL]})

    designation: Annotated[
        str,
        Field(min_length=1, max_length=1000, description="The title.", json_schema_extra={"pattern": SEEN}),
        AfterValidator(_is_not_blank),
    ]
    description: Annotated[str, Field(max_length=50_000, description="The text below the title.")] = ""


class Products(Asked):
    """Several listings."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"products": [POOL]}]})

    products: Annotated[list[Product], Field(min_length=1, max_length=MOST_PRODUCTS)]


class Options(BaseModel):
    """What can be asked of a prediction, in the address."""

    top_k: TopK = 3


class Feedback(Asked):
    """What a prediction should have been."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"prediction_id": PREDICTION_ID, "code": 2583, "comment": "It is one."}]}
    )

    prediction_id: Annotated[str, Field(pattern=PREDICTION, description="The `id` of the prediction.")]
    code: Annotated[Code, Field(description="The category that is right.")]
    comment: Annotated[str, AfterValidator(_is_unicode), Field(max_length=500)] = ""


class Category(BaseModel):
    """A category of the marketplace."""

    code: int
    name: str


class Likely(Category):
    """A category, and how likely it is."""

    probability: float


class ModelName(BaseModel):
    """The version of the model that answered."""

    name: str
    version: int


class Predicted(BaseModel):
    """The likeliest categories of a product, best first."""

    id: str
    categories: list[Likely]


class Prediction(Predicted):
    """The likeliest categories of one product, best first."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"id": PREDICTION_ID, "categories": LIKELY, "model": SERVED}]}
    )

    model: ModelName


class BatchPrediction(BaseModel):
    """The likeliest categories of each product, in the order of the request."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"predictions": [{"id": PREDICTION_ID, "categories": LIKELY}], "model": SERVED}]
        }
    )

    predictions: list[Predicted]
    model: ModelName


class ModelInfo(ModelName):
    """The model in service."""

    run_id: str
    created_at: datetime
    loaded_at: datetime


class Received(BaseModel):
    """The feedback is kept."""

    id: str
