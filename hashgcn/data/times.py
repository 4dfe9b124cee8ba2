"""Times that are written as text."""

from __future__ import annotations

import re

import polars as pl

# A calendar date and, after T or a space, a time of day with a fraction of its last part, and the
# offset from UTC; each with or without its separators.
_ISO = (
    r"^(?<date>\d{4}-\d\d-\d\d|\d{8}|\d{4}-\d\d$)"
    r"(?:[Tt ](?<hour>\d\d)(?::?(?<minute>\d\d)(?::?(?<second>\d\d))?)?(?:[.,](?<fraction>\d+))?"
    r"(?:[Zz]|(?<sign>[+-])(?<hours>\d\d)(?::?(?<minutes>\d\d))?)?)?$"
)
_PARTS = {"hour": 3600, "minute": 60, "second": 1}
_BATCH = 1 << 20
_NANOSECONDS = 9_200_000_000  # as many seconds fit in nanoseconds
_WITH_DATE = set("YyFDcxsGv+")


def parse(text: pl.Series, format: str | None = None) -> pl.Series:
    """Reads times, which are in UTC where they have no offset.

    Args:
        text: strings, none missing.
        format: in the notation of strptime; None for calendar dates and times of ISO 8601, in its
            extended or basic form, with any offset: 2024-01-02, 2024-01-02 10:00:00,
            20240102T100000.5Z, 2024-01-02T10:00+01:00.

    Returns:
        Int64, null for text that is no such time: nanoseconds since 1970, or microseconds if a time
        is outside the years 1678 to 2261.

    Raises:
        ValueError: a format that is none.

    Examples:
        >>> import polars as pl
        >>> parse(pl.Series(["1970-01-01T01:00:01+01:00", "01/02/1970"])).to_list()
        [1000000000, None]
        >>> parse(pl.Series(["01/02/1970"]), "%d/%m/%Y").to_list()
        [2678400000000000]
    """
    if format is None:
        parts = [_iso(text.slice(at, _BATCH)) for at in range(0, len(text), _BATCH)]
    else:
        parts = [_formatted(text, format)]
    seconds, nanoseconds = (pl.concat([part[at] for part in parts]) for at in (0, 1))
    if seconds.is_between(-_NANOSECONDS, _NANOSECONDS).all():
        return seconds * 10**9 + nanoseconds
    return seconds * 10**6 + nanoseconds // 1000


def _iso(text: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Seconds and nanoseconds since 1970."""
    names = [*_PARTS, "hours", "minutes"]
    parts = text.str.extract_groups(_ISO).struct.unnest()
    number = {name: pl.col(name).cast(pl.Int64).fill_null(0) for name in names}
    day = (
        pl.col("date")
        .str.replace_all("-", "", literal=True)
        .str.pad_end(7, "0")
        .str.pad_end(8, "1")
    )
    days = day.str.to_date("%Y%m%d", strict=False).cast(pl.Int64)
    # Of the last part that is given, in nanoseconds, cut where it is finer.
    by_minute = pl.when(pl.col("minute").is_not_null()).then(60).otherwise(3600)
    unit = pl.when(pl.col("second").is_not_null()).then(1).otherwise(by_minute)
    digits = pl.col("fraction").str.slice(0, 9).fill_null("0").str.pad_end(9, "0")
    fraction = digits.cast(pl.Int64) * unit
    second = sum(number[name] * seconds for name, seconds in _PARTS.items())
    offset = number["hours"] * 3600 + number["minutes"] * 60
    ahead = pl.when(pl.col("sign") == "-").then(-offset).otherwise(offset)
    valid = (number["hour"] < 24) | ((second == 24 * 3600) & (fraction == 0))  # 24:00 is midnight
    valid &= (number["minute"] < 60) & (number["second"] <= 60)  # 60 is a leap second
    valid &= (number["hours"] < 24) & (number["minutes"] < 60)
    total = days * 86400 + second - ahead + fraction // 10**9
    found = parts.select(
        pl.when(valid).then(total).alias("seconds"), (fraction % 10**9).alias("nanoseconds")
    )
    return found["seconds"], found["nanoseconds"]


def _formatted(text: pl.Series, format: str) -> tuple[pl.Series, pl.Series]:
    """Likewise, to the microsecond."""
    # In the notation of polars, `.%f` would count nanoseconds, not the digits of a fraction.
    own = format.replace(".%f", "%.f")
    if "%f" in own or not set(re.findall(r"%-?([a-zA-Z+])", own)) & _WITH_DATE:
        raise ValueError(
            "time_format: expected a date in the notation of strptime, such as "
            f"'%d/%m/%Y %H:%M:%S.%f', got {format!r}"
        )
    try:
        found = text.str.to_datetime(own, time_unit="us", strict=False).cast(pl.Int64)
    except pl.exceptions.PolarsError as error:
        raise ValueError(
            f"time_format: expected the notation of strptime, got {format!r}"
        ) from error
    return found // 10**6, found % 10**6 * 1000
