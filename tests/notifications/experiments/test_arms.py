"""Which arm a customer is in."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from services.notifications.rules.experiment.arms import Arm, Experiment, choose, undeclared
from services.notifications.rules.experiment.statistics import UNLIKELY, sample_ratio

KEY = b"a key"
CUSTOMERS = [f"customer-{number}" for number in range(20_000)]


def shares(experiment: Experiment) -> Counter[str | None]:
    return Counter(choose(KEY, experiment, each) for each in CUSTOMERS)


def test_customers_are_shared_out_by_the_weights():
    counted = shares(Experiment("e", (Arm("a", 1), Arm("b", 3), Arm("c", 6)), holdout=0.1))
    ratio = sample_ratio([counted["a"], counted["b"], counted["c"]], [1, 3, 6])
    assert ratio is not None
    assert ratio > UNLIKELY
    assert abs(counted[None] - 2_000) < 200


def test_an_arm_depends_neither_on_what_is_held_out_nor_on_another_experiment():
    free, held = undeclared("e", ["a", "b"]), undeclared("e", ["a", "b"])._replace(holdout=0.5)
    other = undeclared("f", ["a", "b"])
    same = 0
    for customer in CUSTOMERS:
        arm = choose(KEY, free, customer)
        assert choose(KEY, held, customer) in (arm, None)
        same += arm == choose(KEY, other, customer)
    assert abs(same - len(CUSTOMERS) / 2) < 400


def test_more_held_out_leaves_those_out_who_were():
    few, many = undeclared("e", ["a", "b"])._replace(holdout=0.1), undeclared("e", ["a", "b"])._replace(holdout=0.2)
    for customer in CUSTOMERS[:2_000]:
        if choose(KEY, few, customer) is None:
            assert choose(KEY, many, customer) is None


@given(st.text(max_size=20), st.text(max_size=20), st.lists(st.integers(1, 1_000), min_size=1, max_size=10))
def test_every_customer_has_one_arm_of_the_experiment(id_: str, customer: str, weights: list[int]):
    id_, customer = id_.encode("utf-8", "replace").decode(), customer.encode("utf-8", "replace").decode()
    experiment = Experiment(id_, tuple(Arm(str(place), weight) for place, weight in enumerate(weights)))
    assert choose(KEY, experiment, customer) in {arm.id for arm in experiment.arms}
    assert choose(KEY, experiment, customer) == choose(KEY, experiment, customer)


def test_ids_do_not_run_into_each_other():
    arms = [str(number) for number in range(10)]
    pairs = [("ab", "c"), ("a", "bc"), ("", "abc")]
    drawn = {
        choose(f"key {number}".encode(), undeclared(id_, arms), customer)
        for number in range(3)
        for id_, customer in pairs
    }
    assert len(drawn) > 3
