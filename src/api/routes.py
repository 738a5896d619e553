"""What can be asked: the routes, by what they are about."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from fastapi import APIRouter, Depends
from pydantic_core import to_json

from api.metrics import Metrics
from api.predicting import Keeper, Predictor, Recent
from api.schemas import (
    BatchPrediction,
    Category,
    Feedback,
    ModelInfo,
    Prediction,
    Product,
    Products,
    Received,
    TopK,
)
from api.straight import PredictionRoute
from catalog.names import CATEGORIES
from web.auth import Auth

__all__ = ["feedback", "model", "predictions"]


def predictions(predictor: Predictor) -> APIRouter:
    """Predicting: one product, or many."""
    routes = APIRouter(tags=["predictions"], route_class=PredictionRoute)

    # Answers are made by hand: they are valid as they are made, and to have them checked takes longer than to predict.
    @routes.post("/predict", response_model=Prediction)
    async def predict(product: Product, top_k: TopK = 3) -> bytes:
        """The likeliest categories of a product."""
        model = predictor.model()
        answer = predictor.one(product, top_k, model)
        return to_json({**answer, "model": model.name})

    @routes.post("/predict/batch", response_model=BatchPrediction)
    async def predict_batch(batch: Products, top_k: TopK = 3) -> bytes:
        """The likeliest categories of up to 1,000 products, by one version of the model."""
        model = predictor.model()
        answers = await predictor.batch(batch.products, top_k, model)
        return to_json({"predictions": answers, "model": model.name})

    return routes


def feedback(auth: Auth, keeper: Keeper, recent: Recent, metrics: Metrics) -> APIRouter:
    """Who knows better says so."""
    routes = APIRouter(tags=["feedback"], route_class=auth.first())

    @routes.post("/feedback", status_code=202)
    async def give_feedback(given: Feedback, user: str = Depends(auth.user)) -> Received:
        """Say which category a prediction should have named. It may be the one that it named."""
        made, prediction = uuid.uuid4().hex, given.prediction_id.replace("-", "")
        keeper.put(
            "feedback",
            {
                "_id": made,
                "prediction_id": prediction,
                "code": given.code,
                "comment": given.comment,
                "user": user,
                "at": datetime.now(UTC),
            },
        )
        metrics.feedback[recent.agrees(prediction, given.code)].inc()
        return Received(id=made)

    return routes


def model(predictor: Predictor) -> APIRouter:
    """Which model it is, and what it knows."""
    routes = APIRouter(tags=["model"])

    @routes.get("/model")
    async def model_in_service() -> ModelInfo:
        """The model that answers now."""
        model = predictor.model()
        return ModelInfo(
            **model.name, run_id=model.version.run_id, created_at=model.version.created, loaded_at=model.loaded
        )

    @routes.get("/categories")
    async def categories() -> list[Category]:
        """All categories, and the names that people know them by."""
        return [Category(code=code, name=name) for code, name in CATEGORIES.items()]

    return routes
