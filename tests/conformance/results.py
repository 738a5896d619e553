"""What the judge saw of each behaviour, and what each way made of it: recorded in `results.json`.

A test compares what it sees with the record, so that nothing changes unseen; `python -m tests.conformance.report`
makes the record and its page anew.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from tests.conformance.behaviour import Behaviour, Observation
from tests.conformance.ways import Seen

__all__ = ["RECORD", "Outcome", "Record", "Verdict", "circumstances", "judged"]

RECORD = Path(__file__).parent / "results.json"


class Verdict(StrEnum):
    """How one way compares with the judge."""

    SAME = "same"
    TOLD = "told"  # another observation, and a note of the run said so before anything started
    REFUSED = "refused"  # by name, before anything started
    DIFFERENT = "different"  # and silently so


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one way made of one behaviour; `why` is the note, or the refusal."""

    verdict: Verdict
    why: str = ""


def judged(behaviour: Behaviour, way: str, expected: Observation, seen: Seen) -> Outcome:
    """How what one way did compares with what the judge saw."""
    if seen.observation is None:
        if expected.code is None:
            return Outcome(Verdict.SAME)
        return Outcome(Verdict.REFUSED, seen.refusal) if seen.refusal else Outcome(Verdict.DIFFERENT, "nothing started")
    if seen.observation == expected:
        return Outcome(Verdict.SAME)
    words = behaviour.told.get(way)
    note = next((note for note in seen.notes if words and words in note), "")
    return Outcome(Verdict.TOLD, note) if note else Outcome(Verdict.DIFFERENT, str(seen.observation))


def circumstances() -> dict[str, str]:
    """What the outcomes depend on beside the code: an ordinary user may less, and another system differs."""
    ordinary = hasattr(os, "geteuid") and os.geteuid() != 0
    return {"system": platform.system(), "user": "ordinary" if ordinary else "root"}


@dataclass(frozen=True, slots=True)
class Record:
    """All results: who judged, where, what was observed, and each way's outcome by behaviour."""

    judge: Mapping[str, str]
    circumstances: Mapping[str, str]
    observed: Mapping[str, Observation]
    outcomes: Mapping[str, Mapping[str, Outcome]]

    @classmethod
    def read(cls) -> Record:
        """The record of this repository; an empty one where there is none yet."""
        if not RECORD.is_file():
            return cls({}, {}, {}, {})
        facts = json.loads(RECORD.read_text(encoding="utf-8"))
        behaviours = facts["behaviours"]
        return cls(
            facts["judge"],
            facts["circumstances"],
            {name: Observation.of_dict(each["observed"]) for name, each in behaviours.items()},
            {name: {way: _outcome(o) for way, o in each["ways"].items()} for name, each in behaviours.items()},
        )

    def write(self) -> None:
        """Write the record of this repository."""
        behaviours = {
            name: {
                "observed": observation.as_dict(),
                "ways": {way: asdict(outcome) for way, outcome in self.outcomes.get(name, {}).items()},
            }
            for name, observation in self.observed.items()
        }
        facts = {"judge": dict(self.judge), "circumstances": dict(self.circumstances), "behaviours": behaviours}
        RECORD.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _outcome(facts: Mapping[str, Any]) -> Outcome:
    return Outcome(Verdict(facts["verdict"]), facts["why"])
