# syntax=docker/dockerfile:1
FROM python:3.12-slim
WORKDIR /app
COPY pyproject.toml constraints.txt ./
COPY src/ src/
RUN pip install --no-cache-dir -c constraints.txt -e ".[etl]"
