"""Figures as text: rounded numbers, percentages, counts."""

TOO_FEW_ERRORS = "too few errors for an interval"


def number(value: float | None, digits: int = 3) -> str:
    """Fixed digits, or powers of ten where those would show zeros only; a dash for None."""
    if value is None:
        return "–"
    return f"{value:.{digits}f}" if value == 0 or abs(value) >= 10.0**-digits else f"{value:.1e}"


def percent(value: float | None, digits: int) -> str:
    """0.9585 → "95.85 %"; a dash for None."""
    return "–" if value is None else f"{value * 100:.{digits}f} %"


def has_width(interval: list[float] | None) -> bool:
    """Whether an interval says something: if all resamples agree, resampling can't tell how certain that is."""
    return interval is not None and interval[0] < interval[1]


def counted(count: int, thing: str) -> str:
    """ "1 epoch", "3,000 pairs"."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
