"""Numbers as people read them while they wait."""


def count(number: int) -> str:
    """A number with its thousands apart: "5,000"."""
    return f"{number:,}"


def amount(megapixels: float) -> str:
    """Megapixels, in a unit that suits them: "38 MP", "1.25 TP"."""
    for unit, size in (("TP", 1e6), ("GP", 1e3)):
        if megapixels >= 10 * size:
            return f"{megapixels / size:,.1f} {unit}"
    return f"{megapixels:,.1f} MP" if megapixels < 100 else f"{megapixels:,.0f} MP"


def clock(seconds: float) -> str:
    """A time that has gone: "12 s", "3:05 min", "2:15 h", "3 d 4 h"."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    if whole < 86400:
        return f"{whole // 3600}:{whole % 3600 // 60:02} h"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def seconds_left(seconds: float | None) -> str:
    """A time to come, no more exactly than it is known: "about 25 min left"."""
    if seconds is None:
        return "time left not known yet"
    if seconds < 60:
        return f"about {max(5, round(seconds / 5) * 5)} s left"
    if seconds < 100 * 60:
        return f"about {round(seconds / 60)} min left"
    if seconds < 48 * 3600:
        return f"about {round(seconds / 1800) / 2:g} h left"
    return f"about {seconds / 86400:.1f} days left"
