"""The page of an evaluation: one static file that refers to nothing outside its own folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from train.evaluation.results import Evaluation, Figure
from train.evaluation.rows import (
    LEGACY,
    NONE,
    STRICT,
    Group,
    about,
    duration,
    groups,
    number,
    plain,
    rate_digits,
    unjudged,
)

_POLICY = "default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'"


@dataclass(frozen=True, slots=True)
class EventRow:
    """An abnormal stretch of a video. `delay_s` is None without an alarm, `detected` without a threshold."""

    video: str
    begin_s: float
    end_s: float
    detected: bool | None
    delay_s: float | None


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One frame that went wrong. Paths are relative to the page."""

    video: str
    frame: int
    stream_s: float
    score: float
    picture: str
    heat: str | None


@dataclass(frozen=True, slots=True)
class Timeline:
    video: str
    picture: str


@dataclass(frozen=True, slots=True)
class Report:
    """All that the page shows."""

    evaluation: Evaluation
    roc: str
    pr: str
    events: tuple[EventRow, ...]
    misses: tuple[Exhibit, ...]
    false_alarms: tuple[Exhibit, ...]
    timelines: tuple[Timeline, ...]


def text(value: object) -> str:
    """Safe between tags and inside a quoted attribute, whatever a file was named."""
    return escape(plain(str(value)), quote=True)


def page(report: Report) -> str:
    """The whole document. It needs no script and no network."""
    evaluation = report.evaluation
    title = f"{text(evaluation.bundle)} on {text(evaluation.data_set)}"
    style = Path(__file__).with_name("page.css").read_text("utf-8")
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}: evaluation</title>\n<style>\n{style}</style></head>\n<body>",
            f"<h1>{title}</h1>",
            *_introduction(evaluation),
            *_tiles(evaluation),
            *_warnings(evaluation),
            *_figures(groups(evaluation.judgement)),
            *_curves(report),
            *_events(report.events),
            *_exhibits("misses", "Worst misses", "abnormal frames that raised no alarm", report.misses),
            *_exhibits(
                "false", "Worst false alarms", "frames away from events that raised one", report.false_alarms
            ),
            *_timelines(report.timelines),
            *_colophon(evaluation),
            "</body></html>\n",
        ]
    )


def _introduction(evaluation: Evaluation) -> Iterator[str]:
    found = evaluation.judgement
    yield (
        f'<p class="soft">{found.frames} frames of {found.videos} videos looked at, {evaluation.fps:g} a '
        f"second; {found.abnormal_frames} of them abnormal{unjudged(found)}. {text(evaluation.note)}</p>"
    )
    links = (
        ("figures", "All figures"), ("curves", "Curves"), ("events", "Events"), ("misses", "Misses"),
        ("false", "False alarms"), ("videos", "Videos"),
    )  # fmt: skip
    yield "<nav>" + "".join(f'<a href="#{name}">{label}</a>' for name, label in links) + "</nav>"


def _tiles(evaluation: Evaluation) -> Iterator[str]:
    strict = evaluation.judgement.strict
    missed = (
        "" if strict.missed_events is None else f"{strict.missed_events} of {strict.events} events missed"
    )
    ninth = "" if strict.delay_p90_s is None else f"90 % within {strict.delay_p90_s:.1f} s"
    digits = rate_digits(strict.false_alarms_per_hour.value)
    yield '<div class="tiles">'
    yield _tile(
        "Strict AUC",
        _value(strict.auc_micro, 3),
        _between(strict.auc_micro, 3),
        "how often an abnormal frame scores above a normal one; 0.5 is a coin",
    )
    yield _tile(
        "Events found",
        _value(strict.event_recall),
        _between(strict.event_recall),
        f"at the calibrated threshold; {missed}".removesuffix("; "),
    )
    yield _tile(
        "False alarms per hour",
        _value(strict.false_alarms_per_hour, digits),
        _between(strict.false_alarms_per_hour, digits),
        f"calibrated for {evaluation.false_alarms_per_hour_wanted:g}; measured on "
        f"{duration(strict.hours_outside_events)} outside events",
    )
    yield _tile(
        "Median delay",
        number(strict.delay_median_s, " s"),
        ninth,
        "from the beginning of an event to its first alarm, over the events found",
    )
    yield "</div>"


def _tile(label: str, value: str, between: str, meaning: str) -> str:
    return f'<div class="tile"><span>{label}</span><b>{value}</b><i>{between}</i><p>{meaning}</p></div>'


def _value(figure: Figure, digits: int = 2) -> str:
    return number(figure.value, digits=digits)


def _between(figure: Figure, digits: int = 2) -> str:
    if figure.low is None or figure.high is None:
        return ""
    return f"{figure.low:.{digits}f} to {figure.high:.{digits}f} (95 %)"


def _warnings(evaluation: Evaluation) -> Iterator[str]:
    strict = evaluation.judgement.strict
    if strict.hours_outside_events * evaluation.false_alarms_per_hour_wanted < 3:
        yield (
            f'<p class="note">Only {duration(strict.hours_outside_events)} of this footage lie outside '
            "events: too little to tell whether the calibrated rate of "
            f"{evaluation.false_alarms_per_hour_wanted:g} false alarms per hour is kept.</p>"
        )
    if evaluation.judgement.videos < 10:
        yield (
            f'<p class="note">The intervals come from {evaluation.judgement.videos} videos only: they are '
            "rough.</p>"
        )


def _figures(found: Iterable[Group]) -> Iterator[str]:
    yield '<h2 id="figures">All figures</h2>'
    yield f"<p><b>{STRICT.partition(':')[0]}</b>:{STRICT.partition(':')[2]}</p>"
    yield f'<p class="soft"><b>{LEGACY.partition(":")[0]}</b>:{LEGACY.partition(":")[2]}</p>'
    yield '<div class="wide"><table><thead><tr><th></th><th>strict</th><th>legacy</th></tr></thead><tbody>'
    for group in found:
        yield f'<tr class="group"><th colspan="3">{text(group.title)}</th></tr>'
        for row in group.rows:
            yield (
                f"<tr><th>{text(row.label)}</th><td>{text(row.strict)}</td>"
                f'<td class="soft">{text(row.legacy)}</td></tr>'
            )
    yield "</tbody></table></div>"
    yield '<p class="soft">In brackets: the 95 % interval, by bootstrap over videos.</p>'


def _curves(report: Report) -> Iterator[str]:
    yield '<h2 id="curves">Curves</h2><p class="soft">Strict scores of all frames; the dot is the calibrated '
    yield 'threshold, the dotted line a coin.</p><div class="curves">'
    for label, picture in (
        ("Receiver operating characteristic", report.roc),
        ("Precision and recall", report.pr),
    ):
        yield f'<figure><figcaption>{label}</figcaption><img src="{text(picture)}" alt="{label}"></figure>'
    yield "</div>"


def _events(events: Sequence[EventRow]) -> Iterator[str]:
    yield '<h2 id="events">Events</h2>'
    if not events:
        yield "<p>None.</p>"
        return
    yield '<div class="wide"><table><thead><tr><th>video</th><th>begins</th><th>ends</th><th>found</th>'
    yield "<th>delay</th></tr></thead><tbody>"
    for event in events:
        kind, word = {None: ("soft", NONE), True: ("good", "yes"), False: ("bad", "missed")}[event.detected]
        yield (
            f"<tr><th>{text(event.video)}</th><td>{event.begin_s:.1f} s</td><td>{event.end_s:.1f} s</td>"
            f'<td class="{kind}">{word}</td><td>{number(event.delay_s, " s")}</td></tr>'
        )
    yield "</tbody></table></div>"


def _exhibits(anchor: str, title: str, meaning: str, exhibits: Sequence[Exhibit]) -> Iterator[str]:
    yield f'<h2 id="{anchor}">{title}</h2>'
    if not exhibits:
        yield f"<p>No {meaning}.</p>"
        return
    yield (
        f'<p class="soft">{meaning.capitalize()}, worst first.'
        '<span class="key" style="background:#5adc5a"></span>truth'
        '<span class="key" style="background:#ffb000"></span>boxes of the detector'
        '<span class="key turbo"></span>'
        "heat, from ordinary to hotter than normal footage gets; the same scale in every picture</p>"
    )
    for exhibit in exhibits:
        when = f"frame {exhibit.frame}, {exhibit.stream_s:.1f} s, score {exhibit.score:.4g}"
        words = f"{text(exhibit.video)}, {when}"
        yield f'<figure><figcaption>{words}</figcaption><div class="pair">'
        yield f'<figure><img loading="lazy" src="{text(exhibit.picture)}" alt="The frame: {words}"></figure>'
        if exhibit.heat:
            yield f'<figure><img loading="lazy" src="{text(exhibit.heat)}" alt="Heat map: {words}"></figure>'
        yield "</div></figure>"


def _timelines(timelines: Sequence[Timeline]) -> Iterator[str]:
    yield '<h2 id="videos">Videos</h2><p class="soft">Strict score over time.'
    yield '<span class="key" style="background:#e5534b66"></span>abnormal'
    yield '<span class="key" style="background:#9aa0a666"></span>left out'
    yield '<span class="key" style="background:#d9a400"></span>calibrated threshold</p>'
    for timeline in timelines:
        name = text(timeline.video)
        yield (
            f'<figure class="timeline"><figcaption>{name}</figcaption><img loading="lazy" '
            f'src="{text(timeline.picture)}" alt="Score over time: {name}"></figure>'
        )


def _colophon(evaluation: Evaluation) -> Iterator[str]:
    yield '<h2>What was measured</h2><div class="wide"><table><tbody>'
    for what, value in about(evaluation):
        yield f"<tr><th>{text(what)}</th><td>{text(value)}</td></tr>"
    yield '</tbody></table></div><p>The same as data: <a href="evaluation.json">evaluation.json</a></p>'
