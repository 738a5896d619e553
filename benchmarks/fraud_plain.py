"""What one writes first to score transactions: FastAPI, pandas, a pickled scikit-learn pipeline, a commit a row.

DATABASE=postgresql+psycopg://… MODEL=model.pickle uvicorn benchmarks.fraud_plain:app; fraud_scoring.py runs it.
"""

from __future__ import annotations

import os
import pickle
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import create_engine, text

COLUMNS = [
    "trans_num",
    "trans_date_trans_time",
    "merchant",
    "category",
    "amt",
    "lat",
    "long",
    "merch_lat",
    "merch_long",
]
PAST = text(
    f"SELECT {', '.join(COLUMNS)} FROM fraud_detection_2_table WHERE cc_num = :card"
    " AND trans_date_trans_time > :since AND trans_date_trans_time < :at ORDER BY trans_date_trans_time"
)
# How many features there are.
COUNT = 15


class Transaction(BaseModel):
    """A transaction."""

    trans_date_trans_time: datetime
    cc_num: int
    merchant: str
    category: str
    amt: float
    first: str
    last: str
    gender: str
    street: str
    city: str
    state: str
    zip: str
    lat: float
    long: float
    city_pop: int
    job: str
    dob: date
    trans_num: str
    unix_time: int
    merch_lat: float
    merch_long: float


INSERT = text(
    f"INSERT INTO fraud_detection_2_table ({', '.join(Transaction.model_fields)}, is_fraud, score, model_version)"
    f" VALUES ({', '.join(f':{name}' for name in Transaction.model_fields)}, :is_fraud, :score, 1)"
    " ON CONFLICT (trans_num) DO NOTHING"
)


def features(now: Transaction, past: pd.DataFrame) -> pd.DataFrame:
    """Fifteen features of a transaction, given its card's past: half as many as `fraud.features` has."""
    age = now.trans_date_trans_time - past["trans_date_trans_time"]
    recent = {hours: past[age < timedelta(hours=hours)] for hours in (1, 24, 168)}
    mean = past["amt"].mean()
    last = past.iloc[-1] if len(past) else None
    row: dict[str, Any] = {
        "amount": now.amt,
        "hour": now.trans_date_trans_time.hour,
        "city_population": now.city_pop,
        "home_km": kilometres(now.lat, now.long, now.merch_lat, now.merch_long),
        "last_seconds": age.iloc[-1].total_seconds() if last is not None else np.nan,
        "last_km": kilometres(last["merch_lat"], last["merch_long"], now.merch_lat, now.merch_long)
        if last is not None
        else np.nan,
        **{f"count_{hours}h": len(rows) for hours, rows in recent.items()},
        **{f"amount_{hours}h": rows["amt"].sum() for hours, rows in recent.items()},
        "amount_to_mean": now.amt / mean if mean else np.nan,
        "merchant_count": (past["merchant"] == now.merchant).sum(),
        "category_count": (past["category"] == now.category).sum(),
    }
    return pd.DataFrame([row], dtype=float)


def kilometres(lat: float, long: float, other_lat: float, other_long: float) -> float:
    """The great-circle distance."""
    one, other = np.radians(lat), np.radians(other_lat)
    up, across = np.sin((one - other) / 2), np.sin(np.radians(long - other_long) / 2)
    return float(12742 * np.arcsin(np.sqrt(up * up + np.cos(one) * np.cos(other) * across * across)))


def create_app() -> FastAPI:
    """The application."""
    app = FastAPI()
    engine = create_engine(os.environ["DATABASE"])
    model = pickle.loads(Path(os.environ["MODEL"]).read_bytes())

    @app.get("/health/ready")
    def ready() -> str:
        return "ready"

    @app.post("/transactions")
    def score(given: Transaction) -> dict[str, Any]:
        at = given.trans_date_trans_time
        window = {"card": given.cc_num, "since": at - timedelta(days=30), "at": at}
        with engine.begin() as connection:
            past = pd.read_sql(PAST, connection, params=window)
            past["amt"] = past["amt"].astype(float)
            chance = float(model.predict_proba(features(given, past))[0, 1])
            said = {"is_fraud": chance >= 0.5, "score": chance}
            connection.execute(INSERT, {**given.model_dump(), **said})
        return {"trans_num": given.trans_num, **said}

    return app
