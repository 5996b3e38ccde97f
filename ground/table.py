"""The view as tables for a terminal. All of it is `Text`, never markup: a drone's words cannot style ours."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from edge.events import Box, Event, Health, Phase, Severity
from ground.view import Drone, GroundView, Incident, Now, printable

SHOWN_BOXES = 3
MAX_NAME = 24
SILENT_S = 30.0  # three health messages
_SEVERITY = {Severity.LOW: "yellow", Severity.MEDIUM: "dark_orange", Severity.HIGH: "bold red"}
_STATE = {"online": "green", "offline": "bright_black", "lost": "bold red", "unknown": "yellow"}


def render(view: GroundView, now: Now, broker: str, rows: int = 20) -> Group:
    """Alerts, drones and the account; `broker` says how the connection is."""
    return Group(_alerts(view, rows), _drones(view, now, max(rows // 2, 3)), _account(view, broker))


def newest_first(view: GroundView) -> list[Incident]:
    """Open incidents first, then the ended, each newest first."""
    incidents = [incident for drone in view.drones.values() for incident in drone.incidents.values()]
    return sorted(
        incidents,
        key=lambda one: (one.event.phase is not Phase.END and not one.event.historical, one.event.begun.utc),
        reverse=True,
    )


def _alerts(view: GroundView, rows: int) -> Table:
    table = Table(title="Alerts", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("Drone", "Since UTC", "Severity", "Phase"):
        table.add_column(column, no_wrap=True)
    table.add_column("Score", justify="right", no_wrap=True)
    table.add_column("Boxes", min_width=6)  # not no_wrap: the one that gives way on a narrow terminal
    table.add_column("Latency", justify="right", no_wrap=True)
    table.add_column("Pics", no_wrap=True)
    for incident in newest_first(view)[:rows]:
        table.add_row(*_alert(incident), style="dim" if incident.event.phase is Phase.END else "")
    return table


def _alert(incident: Incident) -> list[Text]:
    event = incident.event
    phase = f"{event.phase.value} (late)" if event.historical else event.phase.value
    return [
        Text(_name(event.site, event.drone)),
        Text(f"{event.begun.utc:%H:%M:%S}"),
        Text(event.severity.value, _SEVERITY[event.severity]),
        Text(f"{phase}, {event.raised_by}" if event.raised_by else phase),
        Text(f"{event.score:.3g}/{event.threshold:.3g}"),
        Text(boxes_text(event), no_wrap=True, overflow="ellipsis"),
        Text(latency_text(incident.latency_s)),
        Text(str(len(incident.pictures) or "")),
    ]


def _name(site: str, drone: str) -> str:
    """Cut from the left: a site is shared, a drone's name is not."""
    name = f"{site}/{drone}"
    return name if len(name) <= MAX_NAME else "…" + name[-MAX_NAME + 1 :]


def boxes_text(event: Event) -> str:
    """'5: 120,44 32x18 200,60 16x16 ...': how many, then the first as left,top and size in native pixels."""
    if not event.boxes:
        return "-"
    more = " ..." if len(event.boxes) > SHOWN_BOXES else ""
    return f"{len(event.boxes)}: " + " ".join(_box(box) for box in event.boxes[:SHOWN_BOXES]) + more


def _box(box: Box) -> str:
    return f"{box.x},{box.y} {box.width}x{box.height}"


def latency_text(latency_s: float | None) -> str:
    if latency_s is None:
        return "-"
    return f"{latency_s * 1e3:.0f} ms" if latency_s < 10 else seconds_text(latency_s)


def seconds_text(seconds: float) -> str:
    """Short whatever a drone claims."""
    return f"{seconds:.0f} s" if seconds < 100_000 else f"{seconds:.1e} s"


def _drones(view: GroundView, now: Now, rows: int) -> Table:
    table = Table(title="Drones", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("Drone", "State", "Camera"):
        table.add_column(column, no_wrap=True)
    for column in ("Scored", "Skipped", "Blind", "Outbox", "Missing", "Heard"):
        table.add_column(column, justify="right", no_wrap=True)
    heard_most = sorted(view.drones.values(), key=lambda drone: -drone.heard)[:rows]
    for drone in sorted(heard_most, key=lambda drone: (drone.site, drone.name)):
        table.add_row(*_drone(drone, now))
    if len(view.drones) > rows:
        table.add_row(Text(f"and {len(view.drones) - rows} more", "dim"))
    return table


def _drone(drone: Drone, now: Now) -> list[Text]:
    silent_s = (now.mono_ns - drone.heard_ns) / 1e9
    overdue = drone.state == "online" and silent_s > SILENT_S
    return [
        Text(_name(drone.site, drone.name)),
        Text(drone.state, _STATE[drone.state]),
        *_health(drone),
        Text(str(drone.gaps), "red" if drone.gaps else ""),
        Text(f"{seconds_text(silent_s)} ago", "yellow" if overdue else ""),
    ]


def _health(drone: Drone) -> list[Text]:
    health = drone.health
    if health is None:
        return [Text("-")] * 5
    return [
        _camera(health),
        Text(str(health.frames_scored)),
        Text(str(health.frames_skipped)),
        Text(seconds_text(health.blind_s), "yellow" if health.blind_s >= 1 else ""),
        Text(f"{health.outbox_depth} ({seconds_text(health.outbox_age_s)})" if health.outbox_depth else "0"),
    ]


def _camera(health: Health) -> Text:
    """Its state, and how much of what it shows can be judged, where that is not all."""
    text = Text(health.camera, "" if health.camera in ("watching", "ended") else "red")
    if health.judged is not None and health.judged < 1:
        text.append(f" {int(100 * health.judged)}%", "yellow")  # rounded down: not all is not 100%
    return text


def _account(view: GroundView, broker: str) -> Text:
    account = Text(
        f"{view.received} messages, {view.duplicates} repeated, "
        f"{view.gaps} missing, {view.malformed} malformed"
    )
    if view.last_malformed:
        account.append(f" (last: {view.last_malformed})", "yellow")
    if view.crowded_out:
        account.append(f", {view.crowded_out} drones crowded out", "yellow")
    return account.append(f"\n{printable(broker)}", "dim")
