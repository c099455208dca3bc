"""Experiments over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.keys import create_key
from services.notifications.api import build
from services.notifications.settings import Settings
from shared.postgres.pool import Pool
from tests.notifications.experiments.test_exposing import bought, expose, happen
from tests.notifications.world import NOW, ago

GOAL = {"type": "shop.purchase.completed.v1", "days": 7}
ARMS = [{"id": "control"}, {"id": "bonus", "weight": 3}]
EXPERIMENT: dict[str, Any] = {"id": "win-back-2", "goal": GOAL, "arms": ARMS, "holdout": 0.1}


@pytest.fixture
async def client(pool: Pool, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    file = tmp_path / "keys.json"
    key = create_key(file, ["marketing"], "marketing")
    given: dict[str, Any] = {"WAFA_API_KEYS_FILE": str(file)}
    app = build(Settings(**given), pool)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://wafa", headers={"Authorization": f"Bearer {key}"}
    ) as http:
        yield http


async def test_an_experiment_is_declared_once(client: httpx.AsyncClient):
    made = await client.post("/v1/experiments", json=EXPERIMENT, headers={"Idempotency-Key": "1"})
    assert made.status_code == 201, made.text
    expected = {**EXPERIMENT, "arms": [{"id": "control", "weight": 1}, {"id": "bonus", "weight": 3}], "declared": True}
    assert {name: made.json()[name] for name in expected} == expected
    again = await client.post("/v1/experiments", json=EXPERIMENT, headers={"Idempotency-Key": "1"})
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (201, "true")
    refused = await client.post("/v1/experiments", json=EXPERIMENT)
    assert (refused.status_code, refused.json()["code"]) == (409, "exists")
    assert (await client.get("/v1/experiments/win-back-2")).json() == made.json()


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"id": "a b"}, "/id"),
        ({"goal": {"type": "shop.customer.erased.v1", "days": 7}}, "/goal/type"),
        ({"goal": {"type": "nothing", "days": 7}}, "/goal/type"),
        ({"goal": {**GOAL, "days": 0}}, "/goal/days"),
        ({"arms": [{"id": "only"}]}, "/arms"),
        ({"arms": [{"id": "same"}, {"id": "same"}]}, "/arms"),
        ({"arms": [{"id": "a", "weight": 0}, {"id": "b"}]}, "/arms/0/weight"),
        ({"holdout": 1}, "/holdout"),
        ({"name": "unknown"}, "/name"),
    ],
)
async def test_a_wrong_experiment_is_refused(client: httpx.AsyncClient, changes: dict[str, Any], pointer: str):
    refused = await client.post("/v1/experiments", json=EXPERIMENT | changes)
    assert refused.status_code == 422
    assert [error["pointer"] for error in refused.json()["errors"]] == [pointer]


async def test_results_compare_each_arm_with_the_first(client: httpx.AsyncClient, pool: Pool):
    sent = {**EXPERIMENT, "holdout": 0.2, "arms": [{"id": "control"}, {"id": "bonus"}]}
    await client.post("/v1/experiments", json=sent)
    ids = [f"customer-{number}" for number in range(60)]
    arms = await expose(pool, *((each, ago(days=1)) for each in ids), experiment="win-back-2")
    await happen(pool, *(bought(each, NOW) for each in ids[::2]))
    found = (await client.get("/v1/experiments/win-back-2/results")).json()
    assert [(arm["id"], arm["exposed"]) for arm in found["arms"]] == [
        (arm, arms.count(arm)) for arm in ("control", "bonus")
    ]
    assert found["holdout"]["exposed"] == arms.count(None)
    assert sum(arm["converted"] for arm in (*found["arms"], found["holdout"])) == 30
    first, other = found["arms"]
    assert (first["uplift"], first["p_value"]) == (None, None)
    assert other["uplift"] == pytest.approx(other["rate"] / first["rate"] - 1)
    assert other["uplift_interval"][0] < other["uplift"] < other["uplift_interval"][1]
    assert found["sample_ratio"]["warning"] is False


async def test_an_experiment_that_only_a_split_names_has_results(client: httpx.AsyncClient, pool: Pool):
    await expose(pool, ("mona", NOW), experiment="named", arms=("a", "b"))
    read = (await client.get("/v1/experiments/named")).json()
    assert (read["declared"], [arm["id"] for arm in read["arms"]], "goal" in read) == (False, ["a", "b"], False)
    found = (await client.get("/v1/experiments/named/results")).json()
    assert sum(arm["exposed"] for arm in found["arms"]) == 1
    assert {arm["rate"] for arm in found["arms"]} == {0.0, None}


async def test_experiments_are_listed_newest_first(client: httpx.AsyncClient):
    for number in range(3):
        await client.post("/v1/experiments", json={**EXPERIMENT, "id": f"e{number}"})
    page = (await client.get("/v1/experiments", params={"limit": 2})).json()
    rest = (await client.get("/v1/experiments", params={"limit": 2, "after": page["next"]})).json()
    assert [each["id"] for each in (*page["data"], *rest["data"])] == ["e2", "e1", "e0"]
    assert rest["next"] is None


async def test_what_nobody_knows_is_not_found(client: httpx.AsyncClient):
    for path in ("/v1/experiments/none", "/v1/experiments/none/results"):
        assert (await client.get(path)).status_code == 404


async def test_the_worked_example_is_compared(client: httpx.AsyncClient):
    arms = [{"exposed": 1_000, "converted": 200}, {"exposed": 1_000, "converted": 254}]
    found = (await client.post("/v1/experiments/compare", json={"arms": arms})).json()
    other = found["arms"][1]
    assert round(other["uplift"], 3) == 0.27
    assert [round(each, 3) for each in other["uplift_interval"]] == [0.063, 0.477]
    assert round(other["p_value"], 4) == 0.0039
    assert found["sample_ratio"] == {"p_value": 1.0, "warning": False}
    skewed = {"arms": [{"exposed": 1_000, "converted": 0}, {"exposed": 1_200, "converted": 5}]}
    found = (await client.post("/v1/experiments/compare", json=skewed)).json()
    assert found["sample_ratio"]["warning"] is True
    assert found["arms"][1]["uplift"] is None
    wrong = {"arms": [arms[0], {"exposed": 1, "converted": 2}]}
    refused = await client.post("/v1/experiments/compare", json=wrong)
    assert refused.json()["errors"][0]["pointer"] == "/arms/1"


async def test_a_sample_size_is_calculated(client: httpx.AsyncClient):
    sent = {"baseline": 0.2, "uplift": 0.27, "power": 0.8, "alpha": 0.05}
    answer = await client.post("/v1/experiments/sample-size", json=sent)
    assert answer.json() == {"per_arm": 941, "total": 1_882}
    for changes in ({"uplift": 0}, {"uplift": 4}, {"baseline": 0}, {"power": 1}, {"alpha": 0}):
        refused = await client.post("/v1/experiments/sample-size", json=sent | changes)
        assert [error["pointer"] for error in refused.json()["errors"]] == [f"/{next(iter(changes))}"]
