"""What every server answers, as it is documented: how it is, and why it refuses."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Live", "Mistake", "Problem", "Ready"]


class Live(BaseModel):
    """The process answers."""

    status: str


class Ready(BaseModel):
    """It can be asked for what it is there for."""

    status: str
    model_version: int


class Problem(BaseModel):
    """Why a request was refused, as RFC 9457 has it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"type": "about:blank", "title": "Too Many Requests", "status": 429, "detail": "Ask again in 1 s."}
            ]
        }
    )

    type: str
    title: str
    status: int
    detail: str
    errors: Annotated[list[Mistake], Field(description="Of a 422: what is wrong, and where.")] = []
    reasons: Annotated[list[str], Field(description="Of /health/ready: why not.")] = []


class Mistake(BaseModel):
    """What is wrong with a part of a request."""

    where: str
    what: str
