"""What people read of a model: pictures of its mistakes, and its card."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.dataset import Manifest, Split
from ml.evaluation import Evaluation
from ml.fitting import PARAMETERS, CrossValidation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["write_report"]


def write_report(
    folder: Path, manifest: Manifest, split: Split, validation: CrossValidation, evaluation: Evaluation
) -> None:
    """Write the data manifest, the model card, the figures of each class and two pictures into a folder."""
    (folder / "data_manifest.json").write_text(json.dumps(manifest.raw, indent=2), encoding="utf-8")
    (folder / "model_card.md").write_text(model_card(manifest, split, validation, evaluation), encoding="utf-8")
    classes = [asdict(each) for each in evaluation.classes]
    (folder / "per_class.json").write_text(json.dumps(classes, indent=2), encoding="utf-8")
    _confusion(evaluation).savefig(folder / "confusion_matrix.png", dpi=100)
    _per_class(evaluation).savefig(folder / "per_class_f1.png", dpi=100)


def _figure(width: float, height: float) -> Figure:
    """A figure that is drawn into memory: no window, no state of pyplot."""
    os.environ.setdefault("FONTCONFIG_FILE", str(Path(__file__).with_name("fonts.conf")))
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _confusion(evaluation: Evaluation) -> Figure:
    """True codes down, guessed codes across; colours are shares of the row, so that rare classes are seen."""
    figure = _figure(11, 10)
    axes = figure.add_subplot()
    counts = evaluation.confusion
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    codes = [str(each.code) for each in evaluation.classes]
    axes.set(xlabel="guessed", ylabel="true", title="Held-out listings: true and guessed categories")
    axes.set_xticks(range(len(codes)), codes, rotation=90, fontsize=8)
    axes.set_yticks(range(len(codes)), codes, fontsize=8)
    for row, column in zip(*counts.nonzero(), strict=True):
        color = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=7, color=color)
    figure.colorbar(image, ax=axes, shrink=0.7, label="share of the true category")
    return figure


def _per_class(evaluation: Evaluation) -> Figure:
    """A bar a class, the worst on top, with how many held-out listings it stands for."""
    figure = _figure(8, 8)
    axes = figure.add_subplot()
    worst_last = sorted(evaluation.classes, key=lambda each: (-each.f1, each.code))
    bars = axes.barh([f"{each.code} ({each.examples})" for each in worst_last], [each.f1 for each in worst_last])
    axes.bar_label(bars, fmt="%.2f", fontsize=8, padding=2)
    whole = evaluation.metrics["held_out_f1_weighted"]
    axes.axvline(whole, color="black", linestyle="--", label=f"weighted: {whole:.3f}")
    axes.set(xlim=(0, 1.08), xlabel="F1", title="Held-out F1 of each category (listings)")
    axes.tick_params(axis="y", labelsize=8)
    axes.legend(loc="lower right")
    return figure


def model_card(manifest: Manifest, split: Split, validation: CrossValidation, evaluation: Evaluation) -> str:
    """The model card, in Markdown."""
    mean, spread = validation.mean, validation.spread
    weakest = sorted(evaluation.classes, key=lambda each: (each.f1, each.code))[:5]
    left_out = ", ".join(f"{code} ({number})" for code, number in split.left_out.items()) or "none"
    return "\n".join(
        [
            "# catalog-classifier",
            "",
            "Tells the category (`prdtypecode`) of a product listing from its title and its description.",
            "Input: `designation` and `description`, cleaned as the component `cleaning` does; output: a probability",
            "of each category. For sorting listings and for suggestions to people; not for decisions that nobody sees.",
            "",
            "## Data",
            *_table(
                {
                    "object": manifest.object,
                    "SHA-256": manifest.sha256,
                    "listings": f"{manifest.rows:,}",
                    "trained on": f"{len(split.training):,} in {len(set(split.training.codes))} categories",
                    "held out": f"{len(split.held_out):,}: one in five by a hash of productid, for every model",
                    "unlabelled, not used": f"{split.unlabelled:,}",
                    "not trained on: the same title is held out": f"{split.same_title:,}",
                    "categories with too few listings to learn": left_out,
                }
            ),
            "",
            "## Figures",
            *_table(
                {
                    "weighted F1 by cross-validation": f"{mean:.3f} ± {spread:.3f} ({len(validation.f1)} folds)",
                    **{name.replace("_", " "): f"{value:.3f}" for name, value in evaluation.metrics.items()},
                }
            ),
            "",
            "## Method",
            *_table(PARAMETERS),
            "",
            "## Limits",
            "- The weakest categories here: "
            + ", ".join(f"{each.code} (F1 {each.f1:.2f} of {each.examples})" for each in weakest)
            + ".",
            f"- On {len(split.held_out):,} held-out listings, a point of F1 more or less may be chance.",
            "- It knows the words that it was trained on: listings of other shops, other languages or a new season are",
            "  worse than these figures. It has no category for what belongs to none.",
            "- Pictures of products are not looked at.",
            "",
        ]
    )


def _table(rows: Mapping[str, Any]) -> list[str]:
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
