"""What people look at after a comparison: one HTML file that needs no network."""

import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

from pipelines.experiments.comparison.comparison import Comparison
from pipelines.experiments.comparison.conditions import PLAIN, EvalCondition
from pipelines.experiments.comparison.plots import data_url, mean_fd, robustness, scatter
from pipelines.experiments.comparison.systems import COMPARED_SYSTEMS, score_path
from pipelines.experiments.comparison.tables import (
    HELD,
    caption_of,
    cells_of,
    headings_of,
    robustness_figures,
)

_SHOWN_CONCEPTS, _SHOWN = 4, 8
_SCALE = 1.5
_STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 22%, transparent); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .86rem; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; white-space: nowrap; }
td small { opacity: .7; white-space: nowrap; }
tr.own td { font-weight: 600; }
img { max-width: 100%; } .strip { display: block; height: 96px; image-rendering: auto; }
figure { margin: 0; background: white; }
"""


def write_comparison(
    comparison: Comparison, conditions: Sequence[EvalCondition], folder: Path, out: Path
) -> None:
    """Write `compare.json` and `compare.html` into `out`; pictures come from the run's folder."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "compare.json").write_text(comparison.model_dump_json(indent=2) + "\n")
    (out / "compare.html").write_text(_page(comparison, conditions, folder))


def _page(comparison: Comparison, conditions: Sequence[EvalCondition], folder: Path) -> str:
    floors = ", ".join(
        f"{escape(name)} {systems['base'].floor:.3f}"
        for name, systems in comparison.fairness.items()
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>FairGen and its rivals, {escape(comparison.recipe)}</title>
<style>{_STYLE}</style></head><body>
<h1>FairGen and its rivals on one base model</h1>
<p>{escape(caption_of(comparison))}. Brackets are 95 % bootstrap intervals over prompts. A perfect
independent sampler of this N still gets an FD of {floors}: only quotas come under it.</p>
<h2>Figures</h2>
<div class="scroll">{_table(comparison)}</div>
<p>Coin: each picture's category is drawn by lot; coin a call: once for four pictures, as the
official code does. Recognised: the judge still names the concept. A system that changes who is in
the picture changes the picture, so no fair system has an SSIM of 1; SSIM, PSNR (dB) and CLIP-I are
with the base model's picture of the same seed. Diversity: the spread within a category, and within
a joint cell of all attributes, against the base model's. Drift: how far an attribute that nobody
asked for moved from the base model's distribution. FID and KID (times 1,000): to real pictures of
the target distribution, in the judge's own features. Training: rows through the denoiser. Cost:
denoiser rows a picture, against the base model's. Categories are a presentation that a judge
perceives in drawn pictures, not people.</p>
<h2>Fairness against preservation</h2>
<figure><img alt="Mean FD against same-seed SSIM, one point a system"
src="{scatter(comparison)}"></figure>
<h2>Does it hold?</h2>
<p>{_conditions_note(comparison)}</p>
<figure><img alt="FD over guidance scales and steps, delivered against asked shares"
src="{robustness(comparison, conditions)}"></figure>
<div class="scroll">{_robustness_rows(comparison, conditions)}</div>
<p>The words of the prompt changed: loaded ones, ones that add something, ones that name a category
(the gate then leaves that attribute alone; obeyed: the picture shows what the prompt names), and
prompts without people (same pixels: the share of pictures that equal the base model's).</p>
<div class="scroll">{_phrases(comparison, conditions)}</div>
<h2>One attribute alone, and all at once</h2>
<p>Adapters are trained apart. Hit rate: the share of pictures asked for a category in which it is
seen, when only its attribute is asked for and beside all others.</p>
<div class="scroll">{_interference(comparison, conditions)}</div>
<p>When one attribute is asked for alone, how far the others move from the base model's
distribution. Two samples of an unchanged model would differ by {_drift_floors(comparison)}.</p>
<div class="scroll">{_entanglement(comparison, conditions)}</div>
<h2>The same seeds by every system</h2>
{_grids(comparison, folder)}
<h2>How each knob was set</h2>
<p>Each rival's main knob was swept on concepts that it was trained on; the setting with the most
"recognised minus FD" paints above.</p>
<div class="scroll">{_sweeps(comparison)}</div>
</body></html>
"""


def _table(comparison: Comparison) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings_of(comparison))
    rows = []
    for name in comparison.systems:
        cells = "".join(
            f"<td>{escape(text)}{interval and f'<br><small>{interval}</small>'}</td>"
            for text, interval in cells_of(comparison, name)
        )
        rows.append(f"<tr{' class=own' if name == 'fairgen' else ''}>{cells}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _conditions_note(comparison: Comparison) -> str:
    first = next(iter(comparison.fairness))
    return (
        "The same seeds of four concepts, one thing changed at a time: guidance scale, number of "
        f"steps, the share asked of {escape(first)}'s first category, the words of the prompt."
    )


def _robustness_rows(comparison: Comparison, conditions: Sequence[EvalCondition]) -> str:
    rows = [
        [
            comparison.systems[name].title,
            *("-" if figure is None else f"{figure:.3f}" for figure in figures.values()),
        ]
        for name, figures in robustness_figures(comparison, conditions).items()
    ]
    return _plain_table(["system", *HELD], rows)


def _phrases(comparison: Comparison, conditions: Sequence[EvalCondition]) -> str:
    rows = []
    for condition in conditions:
        if condition.group in ("phrase", "explicit", "no people"):
            for name, held in comparison.conditions[condition.slug].items():
                rows.append(
                    [
                        condition.label,
                        comparison.systems[name].title,
                        f"{mean_fd(held.fd):.3f}" if held.fd else "-",
                        "-" if held.obeyed is None else f"{held.obeyed:.3f}",
                        f"{held.recognised:.3f}",
                        f"{held.ssim:.3f}",
                        f"{held.unchanged:.3f}",
                        ", ".join(f"{n} {moved:.3f}" for n, moved in held.drift.items()) or "-",
                    ]
                )
    return _plain_table(
        ["prompt", "system", "mean FD", "obeyed", "recognised", "SSIM", "same pixels", "drift"],
        rows,
    )


def _interference(comparison: Comparison, conditions: Sequence[EvalCondition]) -> str:
    """Return hit rates of each category alone and beside the other attributes'."""
    together = comparison.conditions[PLAIN.slug]
    rows = []
    for condition in conditions:
        if condition.group == "alone":
            alone = comparison.conditions[condition.slug]
            asking = [name for name in alone if alone[name].hit_rates]
            for category in alone[asking[0]].hit_rates[condition.label]:
                rows.append(
                    [
                        f"{condition.label} {category}",
                        *(
                            f"{held[name].hit_rates[condition.label][category]:.3f}"
                            for name in asking
                            for held in (alone, together)
                        ),
                    ]
                )
    head = [
        f"{comparison.systems[name].title}, {how}"
        for name in asking
        for how in ("alone", "together")
    ]
    return _plain_table(["hit rate", *head], rows)


def _entanglement(comparison: Comparison, conditions: Sequence[EvalCondition]) -> str:
    """Return how far the other attributes move when one is asked for alone."""
    rows = []
    alone = [condition for condition in conditions if condition.group == "alone"]
    moved = sorted(
        {name for c in alone for h in comparison.conditions[c.slug].values() for name in h.drift}
    )
    for condition in alone:
        for name, held in comparison.conditions[condition.slug].items():
            if name != "base":
                drifts = [f"{held.drift[m]:.3f}" if m in held.drift else "" for m in moved]
                rows.append([condition.label, comparison.systems[name].title, *drifts])
    return _plain_table(["asked alone", "system", *(f"drift of {name}" for name in moved)], rows)


def _drift_floors(comparison: Comparison) -> str:
    found = comparison.drift_floor
    return ", ".join(f"{floor:.3f} ({escape(name)})" for name, floor in found.items())


def _plain_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"


def _sweeps(comparison: Comparison) -> str:
    rows = []
    for card in {card.source + card.knob: card for card in comparison.systems.values()}.values():
        for trial in card.sweep:
            chosen = " (taken)" if trial.setting == card.setting else ""
            rows.append(
                [
                    card.title.split(",")[0],
                    card.knob,
                    f"{trial.setting:g}{chosen}",
                    f"{trial.fd:.3f}",
                    f"{trial.recognised:.3f}",
                ]
            )
    return _plain_table(["system", "knob", "setting", "mean FD", "recognised"], rows)


def _grids(comparison: Comparison, folder: Path) -> str:
    concepts = [*comparison.held_out[: _SHOWN_CONCEPTS // 2], *comparison.trained]
    return "".join(_grid(comparison, folder, name) for name in concepts[:_SHOWN_CONCEPTS])


def _grid(comparison: Comparison, folder: Path, concept: str) -> str:
    rows = []
    for contender in COMPARED_SYSTEMS:
        strip = _strip(score_path(folder, PLAIN, contender.name, concept).with_suffix(".png"))
        title = escape(comparison.systems[contender.name].title)
        rows.append(
            f'<tr><td>{title}</td><td><img class="strip" alt="{escape(concept)}, {title}" '
            f'src="{strip}"></td></tr>'
        )
    body = "".join(rows)
    return f'<h3>{escape(concept)}</h3><div class="scroll"><table>{body}</table></div>'


def _strip(path: Path) -> str:
    """Return the first pictures of a strip of square ones as a data URL."""
    from PIL import Image

    with Image.open(path) as strip:
        side = strip.height
        shown = strip.convert("RGB").crop((0, 0, min(_SHOWN * side, strip.width), side))
        size = int(_SCALE * shown.width), int(_SCALE * side)
        shown = shown.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    shown.save(buffer, format="WEBP", quality=90)
    return data_url("image/webp", buffer.getvalue())
