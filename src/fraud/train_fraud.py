"""The trainer: `python -m fraud.train_fraud`, once. docker/fraud/train_fraud/README.md has its settings."""

from __future__ import annotations

import os

from fraud.training.settings import Settings
from job.program import run
from job.progress import log_progress

__all__ = ["main"]


def main() -> None:
    """Train with the settings of the environment, and say what became of it."""
    settings, progress = Settings.read(), log_progress()
    progress(f"training on {settings.data}")
    # One thread, as the fit has. Where nothing is said, scikit-learn looks for cores by programs that an image has not,
    # and complains.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # The libraries take a second or two to load: a wrong setting is known before.
    from fraud.training.training import train

    print(train(settings, progress=progress))


if __name__ == "__main__":
    run(main)
