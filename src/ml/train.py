"""The trainer: `python -m ml.train` trains once and ends. docker/ml/README.md has its settings."""

from __future__ import annotations

from job.program import run
from job.progress import log_progress
from ml.settings import Settings

__all__ = ["main"]


def main() -> None:
    """Train with the settings of the environment, and say what became of it."""
    settings = Settings.read()
    progress = log_progress()
    progress(f"training on {settings.training_data}")
    # The libraries take a second or two to load: a wrong setting is known before.
    from ml.training import train

    print(train(settings, progress=progress))


if __name__ == "__main__":
    run(main)
