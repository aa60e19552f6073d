"""Instants in words, for people who look at a schedule."""

from datetime import datetime, timedelta, tzinfo

_UNITS = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))


def spoken(instant: datetime | None, now: datetime, zone: tzinfo) -> str:
    """An instant in a zone and how far away it is: "tomorrow 03:00 CET, in 9 hours"; "never" for None."""
    if instant is None:
        return "never"
    local, today = instant.astimezone(zone), now.astimezone(zone).date()
    days = (local.date() - today).days
    day = {-1: "yesterday", 0: "today", 1: "tomorrow"}.get(days) or local.date().isoformat()
    time = local.strftime("%H:%M" if not local.second else "%H:%M:%S")
    return f"{day} {time} {local.tzname() or 'UTC'}, {distance(instant - now)}"


def distance(away: timedelta) -> str:
    """ "in 3 minutes", "2 hours ago", "now"."""
    seconds = round(abs(away.total_seconds()))
    for name, unit in _UNITS:
        count = round(seconds / unit)
        if count and seconds >= unit:
            amount = f"{count} {name}{'' if count == 1 else 's'}"
            return f"in {amount}" if away > timedelta() else f"{amount} ago"
    return "now"
