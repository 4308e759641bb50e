"""Room `tests.support`: the table of what retention keeps, and how its short notation is read.

A run is written as its start in UTC: `11-23` is 02:00 on that day of 2026, `11-23T14:30` and `2025-12-31` are other
times and years, `11-01..11-23` is a run every day. `?` behind it: never verified. `=` before it: held.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from backup_operator.rules.retention import RetentionRules, StoredRun

_NAMES = {
    "last": "keep_last",
    "daily": "keep_daily",
    "weekly": "keep_weekly",
    "monthly": "keep_monthly",
    "yearly": "keep_yearly",
    "min": "minimum",
}
_UNITS = {"d": "days", "h": "hours"}


@dataclass(frozen=True)
class Case:
    """What is in a store, and what of it stays."""

    says: str
    rules: str
    runs: str
    kept: str
    now: str = "11-23T02:05"


def rules_of(words: str) -> RetentionRules:
    """The rules written as `age=30d daily=7 min=1 zone=Asia/Tokyo`."""
    pairs = dict(word.split("=") for word in words.split())
    zone = ZoneInfo(pairs.pop("zone", "Etc/UTC"))
    age = pairs.pop("age", None)
    max_age = timedelta(**{_UNITS[age[-1]]: int(age[:-1])}) if age else None
    return RetentionRules(max_age=max_age, zone=zone, **{_NAMES[name]: int(count) for name, count in pairs.items()})


def time_of(words: str) -> datetime:
    """The time written as above."""
    day, _, clock = words.partition("T")
    day = day if day.count("-") == 2 else f"2026-{day}"
    clock = clock or "02:00"
    return datetime.fromisoformat(f"{day}T{clock if ':' in clock else clock + ':00'}").replace(tzinfo=UTC)


def runs_of(words: str) -> tuple[StoredRun, ...]:
    """The runs written as above, in that order."""
    return tuple(run for word in words.split() for run in _runs(word.strip("=")))


def held_of(words: str) -> dict[str, str]:
    """Those of them that are held."""
    return {run.name: "a test holds it" for word in words.split() if word.startswith("=") for run in _runs(word[1:])}


def _runs(word: str) -> list[StoredRun]:
    first, _, last = word.rstrip("?").partition("..")
    begin, end = time_of(first), time_of(last or first)
    starts = [begin + timedelta(days=number) for number in range((end - begin).days + 1)]
    return [StoredRun(f"backup_{at:%Y%m%d_%H%M%S}", at, verified=not word.endswith("?")) for at in starts]


CASES = (
    # nothing stated, nothing there
    Case("an empty store has nothing to keep", "age=30d", "", ""),
    Case("without a stated rule everything stays", "min=1", "2019-01-01 11-01 11-23", "2019-01-01 11-01 11-23"),
    Case("a single old run is the floor", "age=30d min=1", "2020-01-01", "2020-01-01"),
    # maxAge
    Case("what is younger than maxAge stays", "age=30d min=1", "10-25..11-23", "10-25..11-23"),
    Case("what is exactly as old as maxAge goes", "age=30d min=1", "10-24 10-25 11-22 11-23", "10-25 11-22 11-23",
         "11-23"),
    Case("a second short of maxAge it stays", "age=30d min=1", "10-24 11-22 11-23T01", "10-24 11-22 11-23T01",
         "11-23T01:59:59"),
    Case("maxAge may be hours", "age=25h min=1", "11-21T12 11-22T02 11-22T12 11-22T22 11-23",
         "11-22T02 11-22T12 11-22T22 11-23"),
    Case("weekly runs go by maxAge too", "age=30d min=1", "10-19 10-26 11-02 11-09 11-16 11-23",
         "10-26 11-02 11-09 11-16 11-23"),
    Case("a gap of a quarter of maxAge is believed", "age=40d min=1", "10-10 10-14 10-15 11-13 11-23",
         "10-15 11-13 11-23", "11-23"),
    Case("of a longer gap only that quarter is believed", "age=40d min=1", "10-01 10-10 10-20 11-01 11-23",
         "10-10 10-20 11-01 11-23", "11-23"),
    Case("one run a year ahead lets no more go than a quarter of maxAge", "age=30d min=1",
         "10-25..11-23 2027-11-23", "11-01..11-23 2027-11-23", "2027-11-23T02:05"),
    Case("two runs that agree on the date are believed", "age=30d min=1",
         "10-25..11-23 2027-11-22 2027-11-23", "2027-11-22 2027-11-23", "2027-11-23T02:05"),
    Case("a run and its repeat on the same wrong clock vouch for nothing", "age=30d min=1",
         "10-25..11-23 2027-11-23T02:00 2027-11-23T02:00:20", "11-01..11-23 2027-11-23T02:00 2027-11-23T02:00:20",
         "2027-11-23T02:05"),
    Case("nor do a day's worth of hours of a wrong clock", "age=30d min=1",
         "10-25..11-23 2027-11-22T05 2027-11-22T17 2027-11-23", "11-01..11-23 2027-11-22T05 2027-11-22T17 2027-11-23",
         "2027-11-23T02:05"),
    Case("hourly runs that go by maxAge go on time", "age=32h min=1", "11-21T17 11-21T18 11-21T19 11-23T01 11-23",
         "11-21T19 11-23T01 11-23"),
    Case("runs all at once vouch for nothing", "age=30d min=1", "2020-01-01T01 2020-01-01T02 2020-01-01T03",
         "2020-01-01T01 2020-01-01T02 2020-01-01T03"),
    # keepLast
    Case("last keeps the newest", "last=3 min=1", "11-19..11-23", "11-21..11-23"),
    Case("last with fewer runs keeps them all", "last=9 min=1", "11-19..11-23", "11-19..11-23"),
    Case("last 1 keeps one", "last=1 min=1", "11-22 11-23", "11-23"),
    Case("last counts runs, not days", "last=2 min=1", "11-23T00 11-23T01 11-23T02", "11-23T01 11-23T02"),
    Case("last does not look at the time that passed", "last=3 min=1",
         "2020-01-01 2020-01-02 2020-01-03 11-23", "2020-01-02 2020-01-03 11-23"),
    # keepDaily
    Case("daily keeps one of each newest day", "daily=3 min=1", "11-18..11-23", "11-21..11-23"),
    Case("of a day the newest stays", "daily=2 min=1", "11-22 11-22T14 11-23T01 11-23", "11-22T14 11-23"),
    Case("a day without a run takes no place", "daily=3 min=1", "11-01 11-10 11-22 11-23", "11-10 11-22 11-23"),
    Case("a day ends at midnight", "daily=2 min=1", "11-21T23:59:59 11-22T00 11-23T00", "11-22T00 11-23T00"),
    Case("in UTC these two are of one day", "daily=2 min=1", "11-22T14 11-22T16", "11-22T16"),
    Case("in Tokyo they are of two", "daily=2 min=1 zone=Asia/Tokyo", "11-22T14 11-22T16", "11-22T14 11-22T16"),
    Case("in Los Angeles a day ends at 08:00 UTC", "daily=2 min=1 zone=America/Los_Angeles",
         "11-22T07:59 11-22T08", "11-22T07:59 11-22T08"),
    Case("in India a day ends at a half hour", "daily=2 min=1 zone=Asia/Kolkata",
         "11-22T18:29 11-22T18:30", "11-22T18:29 11-22T18:30"),
    Case("on Kiritimati a day ends at 10:00 UTC", "daily=2 min=1 zone=Pacific/Kiritimati",
         "11-22T09:59 11-22T10", "11-22T09:59 11-22T10"),
    Case("a day of 25 hours is one day", "daily=2 min=1 zone=Europe/Berlin",
         "10-24T21:59 10-24T22 10-25T22:59", "10-24T21:59 10-25T22:59"),
    Case("an hour that comes twice is of one day", "daily=2 min=1 zone=Europe/Berlin",
         "10-25T00:30 10-25T01:30", "10-25T01:30"),
    Case("a day of 23 hours is a whole day", "daily=2 min=1 zone=Europe/Berlin",
         "03-28T23 03-29T21:59 03-29T22", "03-29T21:59 03-29T22"),
    Case("a day that the zone skipped is no day", "daily=2 min=1 zone=Pacific/Apia",
         "2011-12-29T10 2011-12-30T09:59 2011-12-30T10", "2011-12-30T09:59 2011-12-30T10"),
    # keepWeekly
    Case("weekly keeps the newest of each week", "weekly=2 min=1", "11-09..11-23", "11-22 11-23"),
    Case("a week begins on Monday", "weekly=2 min=1", "11-22 11-23", "11-22 11-23"),
    Case("Saturday and Sunday are of one week", "weekly=2 min=1", "11-21 11-22", "11-22"),
    Case("a week goes on over New Year", "weekly=2 min=1", "2026-12-31 2027-01-01 2027-01-03", "2027-01-03",
         "2027-01-04T02:05"),
    Case("week 53 is before week 1", "weekly=1 min=1", "2027-01-03 2027-01-04", "2027-01-04", "2027-01-04T02:05"),
    Case("the last days of December may be of week 1", "weekly=2 min=1", "2024-12-29 2024-12-30 2025-01-05",
         "2024-12-29 2025-01-05"),
    Case("a week begins in the policy's zone", "weekly=2 min=1 zone=Asia/Tokyo", "11-22T14 11-22T16",
         "11-22T14 11-22T16"),
    # keepMonthly, keepYearly
    Case("monthly keeps the newest of each month", "monthly=3 min=1", "08-31 09-15 09-30 10-31 11-23",
         "09-30 10-31 11-23"),
    Case("February may have 29 days", "monthly=2 min=1", "2024-02-28 2024-02-29 2024-03-01", "2024-02-29 2024-03-01"),
    Case("months go on over New Year", "monthly=2 min=1", "2025-11-30 2025-12-31 2026-01-31",
         "2025-12-31 2026-01-31"),
    Case("the same month of another year is another one", "monthly=2 min=1", "2025-11-23 11-22 11-23",
         "2025-11-23 11-23"),
    Case("a month without a run takes no place", "monthly=2 min=1", "05-31 06-30 11-23", "06-30 11-23"),
    Case("in New York these two are of two months", "monthly=2 min=1 zone=America/New_York",
         "11-01T03:59 11-01T04", "11-01T03:59 11-01T04"),
    Case("in UTC they are of one", "monthly=2 min=1", "11-01T03:59 11-01T04", "11-01T04"),
    Case("yearly keeps the newest of each year", "yearly=2 min=1", "2023-12-31 2024-12-31 2025-12-31 11-22 11-23",
         "2025-12-31 11-23"),
    Case("in Auckland the year begins early", "yearly=2 min=1 zone=Pacific/Auckland",
         "2025-12-31T10 2025-12-31T12", "2025-12-31T10 2025-12-31T12"),
    # several rules
    Case("what one rule keeps stays", "daily=2 monthly=2 min=1", "10-30 10-31 11-20..11-23", "10-31 11-22 11-23"),
    Case("all calendar rules together", "daily=3 weekly=2 monthly=2 yearly=2 min=1",
         "2025-12-31 10-31 11-15 11-20..11-23", "2025-12-31 10-31 11-21..11-23"),
    Case("maxAge and last together", "age=2d last=3 min=1", "11-17..11-19 11-22T18 11-23", "11-19 11-22T18 11-23"),
    # the floor
    Case("the floor stays against all rules", "daily=1 min=3", "11-20..11-23", "11-21..11-23"),
    Case("the floor stays however old it is", "age=30d min=3", "2020-01-01..2020-01-03 11-22 11-23",
         "2020-01-03 11-22 11-23"),
    Case("a floor larger than the store keeps it whole", "last=1 min=9", "11-20..11-23", "11-20..11-23"),
    Case("a floor that nobody stated is three", "last=1", "11-20..11-23", "11-21..11-23"),
    # clocks
    Case("a run of the future stays and takes no place", "last=2 min=1", "11-21..11-23 2031-01-01",
         "11-22 11-23 2031-01-01"),
    Case("runs of the future are not the floor", "last=1 min=2", "11-21..11-23 2031-01-01 2031-01-02",
         "11-22 11-23 2031-01-01 2031-01-02"),
    Case("a run of later today is not today's newest", "daily=1 min=1", "11-22 11-23 11-23T23", "11-23 11-23T23"),
    Case("when its time has come it counts", "last=2 min=1", "11-23 2031-01-01 2031-01-02", "2031-01-01 2031-01-02",
         "2031-01-02T02:05"),
    Case("a clock that is behind lets go by what it knows", "last=2 min=1", "11-08..11-10 11-20..11-23",
         "11-09 11-10 11-20..11-23", "11-10T02:05"),
    Case("now is not the future", "last=1 min=1", "11-22 11-23", "11-23", "11-23"),
    # not verified
    Case("what was never verified goes and takes no place", "last=2 min=1", "11-20 11-21 11-22? 11-23", "11-21 11-23"),
    Case("what was never verified is not the floor", "last=1 min=2", "11-20 11-21 11-22? 11-23", "11-21 11-23"),
    Case("it goes, however young", "age=30d min=1", "11-21 11-22? 11-23", "11-21 11-23"),
    Case("it stays while nothing verified is newer", "last=1 min=1", "11-21 11-22 11-23?", "11-22 11-23?"),
    Case("it stays where nothing is verified", "last=1 min=1", "11-22? 11-23?", "11-22? 11-23?"),
    Case("it stays while it is of the future", "last=1 min=1", "11-22 11-23 2031-01-01?", "11-23 2031-01-01?"),
    # held
    Case("what is held stays", "last=1 min=1", "=11-01 11-22 11-23", "11-01 11-23"),
    Case("what is held takes its place all the same", "last=2 min=1", "11-21 =11-22 11-23", "11-22 11-23"),
    Case("what is held stays, verified or not", "last=1 min=1", "=11-01? 11-22 11-23", "11-01? 11-23"),
)  # fmt: skip
