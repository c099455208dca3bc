"""Worked examples for the model: years, anniversaries, leap days, time zones and summer time."""

from tests.tiers.oracles.facts import order
from tests.tiers.oracles.written import ANNIVERSARY, CALENDAR, LIFETIME, at_end, line, program, t, told


def gold(at: str):
    return order(t(at), "300")


def test_365_days_over_a_leap_day():
    # The 365th day after 1 March 2027 is 29 February 2028: V = 1 March 2028.
    rules = program(period={"kind": "rolling_days", "days": 365})
    assert at_end(rules, [gold("2027-03-01")], "2027-03-01").valid_until == t("2028-03-01")


def test_calendar_years_hold_to_the_end_of_the_next_year_and_are_kept_by_it():
    # Reached in 2026, held to the end of 2027, kept by what happens in 2027, then one year on (T4).
    rules = program(period=CALENDAR)
    outcome = at_end(rules, [gold("2026-06-01"), gold("2027-12-31 23:59")], "2028-01-01")
    assert told(outcome) == [
        line("promoted", "gold", "2026-06-01", "spend", "2028-01-01"),
        line("retained", "gold", "2028-01-01", "period_end", "2029-01-01"),
    ]


def test_calendar_years_do_not_count_the_year_of_the_promotion_again():
    outcome = at_end(program(period=CALENDAR), [gold("2026-06-01"), gold("2026-12-31 23:59")], "2029-01-01")
    assert told(outcome)[1:] == [
        line("demoted", "silver", "2028-01-01", "period_end", "2029-01-01"),
        line("demoted", "member", "2029-01-01", "period_end"),
    ]


def test_a_calendar_year_begins_with_nothing():
    # 200 in December and 100 in January are in two years: silver only.
    orders = [order(t("2026-12-31 23:59"), "200"), order(t("2027-01-01"), "100")]
    assert at_end(program(period=CALENDAR), orders, "2027-01-01").tier == "silver"


def test_grace_in_a_calendar_year_looks_at_the_year_that_runs():
    # V 1 January 2028, grace to 11 January; 300 on the 5th keep gold, to the end of 2029 as if reached then.
    outcome = at_end(program(period=CALENDAR, grace_days=10), [gold("2026-06-01"), gold("2028-01-05")], "2028-02-01")
    assert told(outcome)[1:] == [line("retained", "gold", "2028-01-05", "spend", "2030-01-01")]


def test_an_anniversary_on_a_leap_day():
    # First event 29 February 2024. The year that runs on 5 March 2024 ends with 28 February 2025, the next with 2026's.
    outcome = at_end(program(period=ANNIVERSARY), [order(t("2024-02-29"), "1"), gold("2024-03-05")], "2024-03-05")
    assert outcome.valid_until == t("2026-02-28")
    # In 2027 the year runs from 28 February 2027 to 29 February 2028, the next to 28 February 2029.
    outcome = at_end(program(period=ANNIVERSARY), [order(t("2024-02-29"), "1"), gold("2027-06-01")], "2027-06-01")
    assert outcome.valid_until == t("2029-02-28")


def test_an_anniversary_does_not_move_when_its_event_is_taken_back():
    orders = [order(t("2026-03-10"), "5", (t("2026-03-11"), "5")), gold("2026-07-01")]
    assert at_end(program(period=ANNIVERSARY), orders, "2026-07-01").valid_until == t("2028-03-10")


def test_anniversary_years_are_windows():
    # Years begin on 10 March: 200 on 9 March 2027 belong to the first, 100 on 10 March to the second.
    orders = [order(t("2026-03-10"), "1"), order(t("2027-03-09 23:59"), "200"), order(t("2027-03-10"), "100")]
    outcome = at_end(program(period=ANNIVERSARY), orders, "2027-03-10")
    assert (outcome.tier, outcome.metrics["spend"]) == ("silver", 100)


def test_lifetime_counts_everything_and_ends_never():
    orders = [order(t("2020-01-01"), "200"), order(t("2026-01-01"), "100", (t("2026-01-02"), "100"))]
    outcome = at_end(program(period=LIFETIME), orders, "2030-01-01")
    assert told(outcome) == [
        line("promoted", "silver", "2020-01-01", "spend"),
        line("promoted", "gold", "2026-01-01", "spend"),
    ]


def test_days_are_of_the_zone():
    # 1 March 21:30 UTC is 2 March in Riyadh: held to the end of 12 March there, 21:00 UTC.
    rules = program(time_zone="Asia/Riyadh")
    assert at_end(rules, [gold("03-01 21:30")], "03-02").valid_until == t("03-12 21:00")
    assert at_end(rules, [gold("03-01 20:59")], "03-02").valid_until == t("03-11 21:00")


def test_a_day_without_midnight_begins_with_its_first_instant():
    # Cairo, 24 April 2026: 00:00 is 01:00 at once, 22:00 UTC of the 23rd. Reached on the 13th: to the end of the 23rd.
    rules = program(time_zone="Africa/Cairo")
    assert at_end(rules, [gold("04-13 12:00")], "04-13 12:00").valid_until == t("04-23 22:00")


def test_a_day_with_two_midnights_begins_with_the_first():
    # Havana, 1 November 2026: at 01:00 clocks go back to 00:00. The first 00:00 is 04:00 UTC.
    rules = program(time_zone="America/Havana")
    assert at_end(rules, [gold("10-21 12:00")], "10-21 12:00").valid_until == t("11-01 04:00")


def test_days_of_23_and_25_hours_are_days():
    # New York, 8 March 2026 has 23 hours: 2 March + 11 days is 13 March 00:00, 04:00 UTC (05:00 before).
    rules = program(time_zone="America/New_York")
    assert at_end(rules, [gold("03-02 12:00")], "03-02 12:00").valid_until == t("03-13 04:00")
    assert at_end(rules, [gold("02-20 12:00")], "02-20 12:00").valid_until == t("03-03 05:00")


def test_the_last_instant_of_a_day_is_of_that_day():
    # With days of one day, 1 March counts up to its last microsecond, and nothing of it on the 2nd.
    rules = program(period={"kind": "rolling_days", "days": 1}, when="at_once", on_publish="full")
    assert at_end(rules, [gold("03-01")], "03-01 23:59:59.999999").metrics["spend"] == 300
    assert at_end(rules, [gold("03-01")], "03-02").metrics["spend"] == 0
