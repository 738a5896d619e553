from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Text(BaseModel):
    text: str


@app.get("/health")
def health():
    return {"status": "ok"}


@app.post("/predict")
def predict(body: Text):
    return {"label": "question" if body.text.endswith("?") else "statement", "length": len(body.text)}
