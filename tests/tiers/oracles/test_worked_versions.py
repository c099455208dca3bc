"""Worked examples for the model: new versions with `promote_only`, `full` and `moves` (T5, T13, T14, T18, T19, T31)."""

import pytest

from tests.tiers.oracles.facts import Assignment, order
from tests.tiers.oracles.written import (
    CALENDAR,
    GOLD,
    LIFETIME,
    MEMBER,
    SILVER,
    at_end,
    line,
    program,
    spend,
    t,
    tier,
    told,
)

GOLD_ON_MARCH_1 = line("promoted", "gold", "03-01", "spend", "03-12")
BOUGHT = order(t("03-01"), "300")
HARD = tier("gold", spend("1000"), points_multiplier="1.5")


def test_promote_only_leaves_everybody_until_their_valid_until():
    # Gold needs 1000 from the 5th on. V stays 12 March, and is judged by the new version, 300 in its period or not.
    version = program(MEMBER, SILVER, HARD)
    outcome = at_end(program(), [BOUGHT, order(t("03-03"), "300")], "03-12", later=[("03-05", version)])
    assert told(outcome) == [GOLD_ON_MARCH_1, line("demoted", "silver", "03-12", "period_end", "03-22")]


def test_promotion_by_the_new_conditions():
    version = program(MEMBER, SILVER, tier("gold", spend("200"), points_multiplier="1.5"))
    outcome = at_end(program(), [order(t("03-01"), "200")], "03-06", later=[("03-05", version)])
    assert told(outcome)[1:] == [line("promoted", "gold", "03-05", "program", "03-16")]


def test_a_version_at_valid_until_judges_it():
    # At 12 March the version comes first, then what falls due: gold needs 50 now, and 50 were spent.
    version = program(MEMBER, SILVER, tier("gold", spend("300"), keep=spend("50"), points_multiplier="1.5"))
    bought = [BOUGHT, order(t("03-03"), "50")]
    outcome = at_end(program(), bought, "03-12", later=[("03-12", version)])
    assert told(outcome)[1:] == [line("retained", "gold", "03-12", "period_end", "03-22")]


@pytest.mark.parametrize("spent, kind, landed", [("1000", "retained", "gold"), ("999.99", "demoted", "silver")])
def test_full_judges_everybody(spent: str, kind: str, landed: str):
    # Window of noon of 5 March. Who is kept and who falls get one period from E: to the end of the 15th.
    version = program(MEMBER, SILVER, HARD, on_publish="full")
    outcome = at_end(program(), [order(t("03-01"), spent)], "03-06", later=[("03-05 12:00", version)])
    assert told(outcome)[1:] == [line(kind, landed, "03-05 12:00", "program", "03-16")]


def test_full_at_midnight_gives_ten_whole_days_from_it():
    outcome = at_end(program(), [BOUGHT], "03-06", later=[("03-05", program(on_publish="full"))])
    assert told(outcome)[1:] == [line("retained", "gold", "03-05", "program", "03-15")]


def test_full_early_in_a_calendar_year_counts_the_year_before():
    # On 2 January 2027 nothing is spent yet; 2026 holds gold (T5). To the end of the year next after it, 2028.
    rules = program(period=CALENDAR)
    outcome = at_end(rules, [BOUGHT], "2027-01-03", later=[("2027-01-02", {**rules, "on_publish": "full"})])
    assert told(outcome)[1:] == [line("retained", "gold", "2027-01-02", "program", "2029-01-01")]


def test_full_takes_grace_and_assignments_but_not_locks():
    # Gold by hand, without a purchase: full takes it away, except where it is locked.
    version = program(on_publish="full")
    hand, locked = Assignment(t("03-01"), "gold", t("03-20")), Assignment(t("03-01"), "gold", t("03-20"), True)
    assert told(at_end(program(), [], "03-06", hand, later=[("03-05", version)]))[1:] == [
        line("demoted", "member", "03-05", "program")
    ]
    assert len(at_end(program(), [], "03-06", locked, later=[("03-05", version)]).entries) == 1
    # In grace since 12 March, at 13 March judged by 4-13 March: nothing, member.
    outcome = at_end(program(grace_days=5), [BOUGHT], "03-14", later=[("03-13", version)])
    assert told(outcome)[1:] == [line("demoted", "member", "03-13", "program")]


def test_never_and_permanent_win_over_full():
    for version in (
        program(MEMBER, SILVER, HARD, to="never", on_publish="full"),
        program(MEMBER, SILVER, {**HARD, "permanent": True}, on_publish="full"),
    ):
        # V is gone at E, since the version gives gold none: told, as valid_until changes (T31).
        outcome = at_end(program(), [BOUGHT], "03-31", later=[("03-05", version)])
        assert told(outcome)[1:] == [line("retained", "gold", "03-05", "program")]


def test_who_had_no_end_and_needs_one_gets_one_period_from_the_version():
    outcome = at_end(program(to="never"), [BOUGHT], "03-06", later=[("03-05 12:00", program())])
    assert told(outcome)[1:] == [line("retained", "gold", "03-05 12:00", "program", "03-16")]
    outcome = at_end(program(period=LIFETIME), [BOUGHT], "03-06", later=[("03-05", program())])
    assert told(outcome)[1:] == [line("retained", "gold", "03-05", "program", "03-15")]


def test_an_until_by_hand_stays_under_never():
    hand = Assignment(t("03-01"), "gold", t("03-20"))
    outcome = at_end(program(), [], "03-06", hand, later=[("03-05", program(to="never"))])
    assert (len(outcome.entries), outcome.valid_until) == (1, t("03-20"))


def test_grace_that_runs_stays_an_instant():
    # Grace to 17 March by the first version; the second has none for others. At the 17th it falls by the second.
    outcome = at_end(program(grace_days=5), [BOUGHT], "03-17", later=[("03-13", program(to="earned"))])
    assert told(outcome)[1:] == [line("demoted", "member", "03-17", "grace_end")]


def test_a_version_may_keep_in_grace():
    # In 4-13 March 50 were spent: `keep` of the new version holds at E, as if reached then.
    version = program(MEMBER, SILVER, tier("gold", spend("300"), keep=spend("50"), points_multiplier="1.5"))
    bought = [BOUGHT, order(t("03-05"), "50")]
    outcome = at_end(program(grace_days=5), bought, "03-14", later=[("03-13", version)])
    assert told(outcome)[1:] == [line("retained", "gold", "03-13", "program", "03-24")]


@pytest.mark.parametrize(
    "target, kind, multiplier",
    [("plus", "demoted", "1.1"), ("top", "retained", "3"), ("peak", "promoted", "4")],
)
def test_moves_go_by_the_position_in_each_list(target: str, kind: str, multiplier: str):
    # Gold is third of three; plus second, top third and peak fourth of four. V stays, since is E.
    tiers = [MEMBER, tier("plus", spend("900"), points_multiplier="1.1")]
    tiers += [tier("top", spend("2000"), points_multiplier="3"), tier("peak", spend("3000"), points_multiplier="4")]
    version = program(*tiers, moves={"gold": target, "silver": "plus"})
    outcome = at_end(program(), [BOUGHT], "03-06", later=[("03-05", version)])
    assert told(outcome)[1:] == [line(kind, target, "03-05", "program", "03-12")]
    assert (outcome.since, outcome.points_multiplier) == (t("03-05"), multiplier)


def test_a_move_to_the_first_tier_has_no_valid_until():
    version = program(MEMBER, SILVER, moves={"gold": "member"})
    outcome = at_end(program(), [BOUGHT], "03-06", later=[("03-05", version)])
    # Moved to member, and 300 promote to silver by its own conditions at once: second of two, was third of three.
    assert told(outcome)[1:] == [line("demoted", "silver", "03-05", "program", "03-16")]


def test_locked_ones_are_moved_with_their_lock():
    version = program(MEMBER, SILVER, moves={"gold": "silver"}, on_publish="full")
    hand = Assignment(t("03-01"), "gold", t("03-20"), True)
    outcome = at_end(program(), [], "03-06", hand, later=[("03-05", version)])
    assert told(outcome)[1:] == [line("demoted", "silver", "03-05", "program", "03-20")]
    assert outcome.locked_until == t("03-20")


def test_twice_in_a_row():
    # On the 4th gold becomes top, on the 5th `full` asks 1000 for top: silver by its 100, one period from the 5th.
    first = program(MEMBER, SILVER, tier("top", spend("300"), points_multiplier="1.5"), moves={"gold": "top"})
    second = program(MEMBER, SILVER, tier("top", spend("1000"), points_multiplier="1.5"), on_publish="full")
    outcome = at_end(program(), [BOUGHT], "03-06", later=[("03-04", first), ("03-05", second)])
    assert told(outcome)[1:] == [
        line("retained", "top", "03-04", "program", "03-12"),
        line("demoted", "silver", "03-05", "program", "03-15"),
    ]


def test_a_changed_multiplier_is_told_and_nothing_else():
    version = program(MEMBER, SILVER, {**GOLD, "points_multiplier": "2"})
    outcome = at_end(program(), [BOUGHT], "03-06", later=[("03-05", version), ("03-05 12:00", version)])
    assert told(outcome)[1:] == [line("retained", "gold", "03-05", "program", "03-12")]
    assert outcome.points_multiplier == "2"
    same = program(MEMBER, SILVER, {**GOLD, "points_multiplier": "1.50"})
    assert len(at_end(program(), [BOUGHT], "03-06", later=[("03-05", same)]).entries) == 1


def test_nothing_is_told_of_who_is_unknown():
    version = program(tier("basic"), SILVER, GOLD, moves={"member": "basic"})
    assert told(at_end(program(), [], "03-06", later=[("03-05", version)])) == []
    # Who is known and a member is moved; an order at E itself comes after the version: never a member.
    outcome = at_end(program(), [order(t("03-01"), "1")], "03-06", later=[("03-05", version)])
    assert told(outcome) == [line("retained", "basic", "03-05", "program")]
    assert told(at_end(program(), [order(t("03-05"), "1")], "03-06", later=[("03-05", version)])) == []


def test_at_once_judges_at_its_version_like_at_any_instant():
    # 11 March 00:00: the window 2-11 March lacks the order of the 1st, so gold falls to member at E.
    version = program(when="at_once", on_publish="full")
    outcome = at_end(program(), [BOUGHT], "03-12", later=[("03-11", version)])
    assert told(outcome)[1:] == [line("demoted", "member", "03-11", "program")]
    # At the 10th it is held, without a V from then on; at the 11th the day leaves.
    outcome = at_end(program(), [BOUGHT], "03-12", later=[("03-10", version)])
    assert told(outcome)[1:] == [
        line("retained", "gold", "03-10", "program"),
        line("demoted", "member", "03-11", "window"),
    ]


def test_days_currency_and_zone_are_of_the_version_that_judges():
    # 375 SAR were nothing; at E they are 100.0125 USD, and the order was on 2 March in Riyadh.
    version = program(rates={"SAR": "0.2667"}, time_zone="Asia/Riyadh")
    bought = order(t("03-01 21:30"), "375", currency="SAR")
    outcome = at_end(program(), [bought], "03-11 20:00", later=[("03-11 20:00", version)])
    assert told(outcome) == [line("promoted", "silver", "03-11 20:00", "program", "03-21 21:00")]
    assert at_end(program(), [bought], "03-11 21:00", later=[("03-11 21:00", version)]).tier == "member"


def test_who_is_unknown_is_in_the_first_tier_whatever_moves_says():
    version = program(tier("basic"), SILVER, GOLD, moves={"member": "silver"})
    assert at_end(program(), [], "03-06", later=[("03-05", version)]).tier == "basic"
    known = at_end(program(), [order(t("03-01"), "1")], "03-06", later=[("03-05", version)])
    assert told(known) == [line("promoted", "silver", "03-05", "program", "03-15")]
    # A member stays one where the new first tier comes below it, and has an end from E on.
    version = program(tier("basic"), tier("member", spend("50")), SILVER)
    known = at_end(program(), [order(t("03-01"), "1")], "03-06", later=[("03-05", version)])
    assert told(known) == [line("retained", "member", "03-05", "program", "03-15")]
    assert known.since is None


@pytest.mark.parametrize("fields", [{"to": "never"}, {"to": "one_step"}])
def test_full_leaves_an_until_of_never_and_of_a_permanent_tier(fields: dict[str, str]):
    permanent = {**GOLD, "permanent": fields["to"] != "never"}
    version = program(MEMBER, SILVER, permanent, on_publish="full", **fields)
    hand = Assignment(t("03-01"), "gold", t("03-20"))
    outcome = at_end(program(), [], "03-06", hand, later=[("03-05", version)])
    assert (outcome.tier, outcome.valid_until, len(outcome.entries)) == ("gold", t("03-20"), 1)


def test_full_does_not_end_below_the_floor():
    # Permanent gold by right, silver lent: `full` takes the assignment away, and gold is the floor.
    rules = program(MEMBER, SILVER, {**GOLD, "permanent": True})
    hand = Assignment(t("03-02"), "silver", t("03-20"))
    outcome = at_end(rules, [BOUGHT], "03-16", hand, later=[("03-15", {**rules, "on_publish": "full"})])
    assert told(outcome)[1:] == [
        line("demoted", "silver", "03-02", "assigned", "03-20"),
        line("promoted", "gold", "03-15", "program"),
    ]


def test_what_a_fall_lost_is_no_floor_of_a_later_never():
    # Gold falls to silver on 12 March. Under `never` since the 13th, member until the 15th leads back to silver.
    hand = Assignment(t("03-14"), "member", t("03-15"), True)
    outcome = at_end(program(), [BOUGHT], "03-16", hand, later=[("03-13", program(to="never"))])
    assert told(outcome)[-1] == line("promoted", "silver", "03-15", "assignment_ended")


def test_a_lock_that_is_moved_off_the_first_tier_bears_a_valid_until():
    hand = Assignment(t("03-01"), "member", t("03-20"), True)
    version = program(tier("basic"), SILVER, GOLD, moves={"member": "silver"})
    outcome = at_end(program(), [], "03-06", hand, later=[("03-05", version)])
    assert told(outcome)[1:] == [line("promoted", "silver", "03-05", "program", "03-20")]
    version = program(MEMBER, SILVER, moves={"gold": "member"})
    outcome = at_end(program(), [], "03-06", hand._replace(tier="gold"), later=[("03-05", version)])
    assert told(outcome)[1:] == [line("demoted", "member", "03-05", "program")]
    assert outcome.locked_until == t("03-20")


def test_a_version_and_an_order_at_one_instant_are_one_entry():
    # Gold is moved to member, the 100 of that instant lift to silver: below the third of three, by the program.
    version = program(MEMBER, tier("silver", spend("400")), moves={"gold": "member"})
    outcome = at_end(program(), [BOUGHT, order(t("03-05"), "100")], "03-06", later=[("03-05", version)])
    assert told(outcome)[1:] == [line("demoted", "silver", "03-05", "program", "03-16")]


def test_who_was_moved_from_the_first_tier_is_in_the_new_one_by_right():
    # Silver by `moves` under `never`, gold lent until the 10th: silver after it, not the first tier.
    version = program(tier("basic"), SILVER, GOLD, moves={"member": "silver"}, to="never")
    hand = Assignment(t("03-06"), "gold", t("03-10"))
    outcome = at_end(program(), [order(t("03-01"), "1")], "03-11", hand, later=[("03-05", version)])
    assert told(outcome)[-1] == line("demoted", "silver", "03-10", "assignment_ended")


def test_a_multiplier_that_changes_where_grace_begins_is_told_for_the_program():
    # V is E. Grace begins without a word (T17); what changes is the multiplier, by the version (T31).
    version = program(MEMBER, SILVER, {**GOLD, "points_multiplier": "2"}, grace_days=3)
    outcome = at_end(program(grace_days=3), [BOUGHT], "03-12", later=[("03-12", version)])
    assert told(outcome)[1:] == [line("retained", "gold", "03-12", "program", "03-12")]
    assert outcome.grace_until == t("03-15")
