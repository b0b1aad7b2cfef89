"""Tables and the figure of the experiments' results."""

import matplotlib as mpl

mpl.use("agg")

import matplotlib.pyplot as plt
import numpy as np

BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#9a9a9a"


def with_interval(found):
    """Write a mean and its 95 % interval; a dash where there is none."""
    if found["low"] is None:
        return "-"
    return f"{found['mean']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def part(found, name):
    """Write a measure beside its chance; a dash where it could not be measured."""
    return "-" if found is None else f"{found[name]:.2f} ({found['chance']:.2f})"


def markdown(head, rows):
    """Return a table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def virtual_table(result):
    """Return what every kind of profile reaches, before and after sphering."""
    rows = []
    for name, found in result["profiles"].items():
        for state in ("not corrected", "sphered"):
            if state not in found:
                continue
            one = found[state]
            rows.append(
                [
                    name,
                    state,
                    with_interval(one["replicates"]),
                    with_interval(one["mechanisms"]),
                    part(one["plate from controls"], "balanced_accuracy"),
                    part(one["controls by plate"], "mean_average_precision"),
                ]
            )
    head = ["profiles", "correction", "replicates", "mechanisms"]
    return markdown([*head, "plate read from controls", "controls by plate"], rows)


def real_table(result):
    """Return what every kind of profile reaches on the real wells, by correction."""
    found = result["mean average precision"]
    rows = [[name, *map(with_interval, one.values())] for name, one in found.items()]
    return markdown(["profiles", *next(iter(found.values()))], rows)


def draw_real(result, path, color):
    """Draw what every kind of profile reaches on the real wells, a panel for each correction."""
    found = result["mean average precision"]
    corrections = list(next(iter(found.values())))
    places = np.arange(len(found))[::-1]
    figure, axes = plt.subplots(
        1, len(corrections), figsize=(11, 3.2), sharey=True, layout="constrained"
    )
    for axis, correction in zip(axes, corrections, strict=True):
        for place, one in zip(places, found.values(), strict=True):
            value = one[correction]
            axis.plot([value["low"], value["high"]], [place] * 2, color=color, lw=2)
            axis.plot(value["mean"], place, "o", color=color, ms=6)
        axis.axvline(result["chance"], color=ORANGE, lw=1)
        axis.set_xlabel(f"mean average precision, {correction}")
        axis.set_xlim(0, 1)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="x", color="#e5e5e5")
    axes[0].set_yticks(places, list(found))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_virtual(result, path):
    """Draw retrieval and what is told of plates, for every kind of profile."""
    names = list(result["profiles"])
    places = np.arange(len(names))[::-1]
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), sharey=True, layout="constrained")
    for axis, measure in zip(axes[:2], ("replicates", "mechanisms"), strict=True):
        for state, color, shift in (("not corrected", GREY, 0.18), ("sphered", BLUE, -0.18)):
            for place, name in zip(places, names, strict=True):
                found = result["profiles"][name].get(state)
                if found is not None and found[measure]["low"] is not None:
                    one = found[measure]
                    axis.plot([one["low"], one["high"]], [place + shift] * 2, color=color, lw=2)
                    axis.plot(one["mean"], place + shift, "o", color=color, ms=6)
        axis.set_xlabel(f"{measure}, mean average precision")
        axis.set_xlim(0, 1)
    for state, color, shift in (("not corrected", GREY, 0.18), ("sphered", BLUE, -0.18)):
        values = [
            result["profiles"][name].get(state, {}).get("controls by plate") for name in names
        ]
        for place, value in zip(places, values, strict=True):
            if value is not None:
                axes[2].plot(value["mean_average_precision"], place + shift, "s", color=color, ms=6)
                axes[2].axvline(value["chance"], color=ORANGE, lw=1)
        axes[0].plot([], [], "o-", color=color, label=state)
    axes[2].set_xlabel("controls find their plate (orange: chance)")
    axes[2].set_xlim(0, 1)
    axes[0].set_yticks(places, names)
    axes[0].legend(loc="lower right", frameon=False)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="x", color="#e5e5e5")
    figure.savefig(path, dpi=110)
    plt.close(figure)
