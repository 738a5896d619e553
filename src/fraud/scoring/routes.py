"""What can be asked: to score a transaction, and to be told the truth about some."""

from __future__ import annotations

import anyio
from anyio import to_thread
from fastapi import APIRouter, Depends, Request, Response
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from fraud.confirmations import Confirmation, Contradiction, Fate, TooEarly, record_each
from fraud.database import Address, session
from fraud.scoring.metrics import Metrics
from fraud.scoring.schemas import Confirmations, Confirmed, Outcome, Scored, Transaction
from fraud.scoring.scorer import Scorer
from web.auth import Auth
from web.straight import StraightRoute, read_json

__all__ = ["confirmations", "transactions"]

# A transaction of the data has 600 bytes.
MOST_BYTES = 16 << 10
# The reader of batches reads it, so that no request is taken which a batch would not be, nor the other way round.
BODY = {"required": True, "content": {"application/json": {"schema": Transaction.model_json_schema()}}}


class RequestRoute(StraightRoute):
    """A route `(request) -> response`, which takes the body as it comes."""

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""
        scope["route"] = self
        response: Response = await self.endpoint(Request(scope, receive))
        await response(scope, receive, send)


def transactions(scorer: Scorer) -> APIRouter:
    """Scoring."""
    routes = APIRouter(tags=["transactions"], route_class=RequestRoute)

    # The answer is made by hand: it is valid as it is made.
    @routes.post("/transactions", response_model=Scored, openapi_extra={"requestBody": BODY})
    async def score(request: Request) -> Response:
        """Whether a transaction is to be looked at. It is recorded before it is answered, once for each `trans_num`."""
        body = await read_json(request.scope, request.receive)
        if len(body) > MOST_BYTES:
            raise HTTPException(413, f"The body is larger than {MOST_BYTES >> 10} KiB: no transaction is.")
        return Response(to_json(await scorer.score(body)), media_type="application/json")

    return routes


def confirmations(auth: Auth, address: Address, metrics: Metrics) -> APIRouter:
    """Who knows the truth says so."""
    routes = APIRouter(tags=["confirmations"], route_class=auth.first())
    # One at a time: they wait for each other in the database anyway.
    turns = anyio.CapacityLimiter(1)

    @routes.post("/confirmations")
    async def confirm(given: Confirmations, user: str = Depends(auth.user)) -> Confirmed:
        """Say which transactions were frauds and which were none. The first word about each stands."""
        told = [Confirmation(each.trans_num, each.is_fraud, user, each.confirmed_at) for each in given.confirmations]
        fates = await to_thread.run_sync(_record, address, told, limiter=turns)
        outcomes = [_outcome(each.trans_num, fate) for each, fate in zip(told, fates, strict=True)]
        for outcome in outcomes:
            metrics.confirmations[Fate(outcome.outcome)].inc()
        return Confirmed(confirmations=outcomes)

    return routes


def _record(address: Address, told: list[Confirmation]) -> list[Fate | Contradiction | TooEarly]:
    with session(address, "scorer") as connection:
        return record_each(connection, told, source="scorer")


def _outcome(trans_num: str, fate: Fate | Contradiction | TooEarly) -> Outcome:
    if isinstance(fate, Fate):
        return Outcome(trans_num=trans_num, outcome=fate.value)
    outcome = Fate.CONTRADICTED if isinstance(fate, Contradiction) else Fate.REJECTED
    return Outcome(trans_num=trans_num, outcome=outcome.value, detail=str(fate))
