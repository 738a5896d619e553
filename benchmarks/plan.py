"""What `gigogne plan` takes beyond Compose's own reading of the files: 200 services.

    python benchmarks/plan.py --rounds 20

`compose config` is `docker-compose config --format json` of the same files; `gigogne plan` is the whole command.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.paired import Spread, command, measure  # noqa: E402
from benchmarks.scheduler import DOCKERFILE, compose_file  # noqa: E402

from gigogne.compose.binary import compose_binary  # noqa: E402


def main() -> None:
    """Measure, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--rounds", type=int, default=20)
    options.add_argument("--services", type=int, default=200)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "docker-compose.yml")
        file.write_text(compose_file(given.services), encoding="utf-8")
        Path(place, "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
        measured = measure(
            {
                "compose config": command([str(compose_binary()), "-f", str(file), "config", "--format", "json"]),
                "gigogne plan": command([sys.executable, "-m", "gigogne", "-f", str(file), "plan"]),
            },
            given.rounds,
        )
    print(f"\n{given.services} services\n\n{measured.table('compose config')}\n")
    pairs = zip(measured.seconds["gigogne plan"], measured.seconds["compose config"], strict=True)
    over = Spread.of([mine - theirs for mine, theirs in pairs])
    print(f"over compose config: {over.text(' s')}   (goal: at most 0.3 s)")


if __name__ == "__main__":
    main()
