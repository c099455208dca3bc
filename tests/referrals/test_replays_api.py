"""The routes of replays."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from services.referrals.handlers import replaying
from shared.postgres.pool import Pool
from tests.referrals import past
from tests.referrals.conftest import Headers
from tests.referrals.evidence.told import KEY, referral_of
from tests.referrals.past import SignUp
from tests.referrals.shop import at


async def test_a_replay_over_http(pool: Pool, client: httpx.AsyncClient, marketing: Headers):
    drafted = await past.draft(pool, {"id": "already_bought", "action": "flag"})
    await past.store_all(
        pool, [SignUp("fay", hours=(datetime.now(UTC) - at(0)).total_seconds() / 3600 - 1, has_bought=True)]
    )
    path = f"/v1/referral-programs/{drafted.version}/replays"
    started = await client.post(path, headers=marketing, json={"days": 1})
    assert started.status_code == 202
    id_ = started.json()["id"]
    running = {"id": id_, "version": drafted.version, "days": 1, "state": "running", "progress": 0}
    assert started.json() == running
    assert (await client.get(f"/v1/replays/{id_}", headers=marketing)).json() == running
    await replaying.run_replays(pool, datetime.now(UTC), KEY)
    assert (await client.get(f"/v1/replays/{id_}", headers=marketing)).json() == running | {
        "state": "done",
        "progress": 1,
        "result": {
            "sign_ups": 1,
            "blocked": 0,
            "flagged": 1,
            "passed": 0,
            "changed": [{"referral_id": str(referral_of("fay", "ADA")), "was": "passed", "would": "flagged"}],
            "changed_total": 1,
            "points_saved": 0,
            "signals": [{"id": "already_bought", "count": 1}],
            "not_replayed": [],
        },
    }
    without_days = await client.post(path, headers=marketing)
    assert (without_days.status_code, without_days.json()["days"]) == (202, 90)


@pytest.mark.parametrize("days", [0, 91, "7", 1.5, True])
async def test_a_wrong_number_of_days_is_refused(pool: Pool, client: httpx.AsyncClient, marketing: Headers, days: Any):
    drafted = await past.draft(pool)
    answer = await client.post(
        f"/v1/referral-programs/{drafted.version}/replays", headers=marketing, json={"days": days}
    )
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/days"]


async def test_only_a_draft_is_replayed_and_only_so_many_at_once(
    pool: Pool, client: httpx.AsyncClient, marketing: Headers
):
    async def refusal(version: int) -> tuple[int, str]:
        answer = await client.post(f"/v1/referral-programs/{version}/replays", headers=marketing)
        return answer.status_code, answer.json()["code"]

    assert await refusal(1) == (409, "already_published")
    assert await refusal(99) == (404, "not_found")
    missing = await client.get("/v1/replays/018f3e2a-0000-7000-8000-000000000000", headers=marketing)
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    drafted = await past.draft(pool)
    for _ in range(20):
        await past.start(pool, drafted, at(24))
    assert await refusal(drafted.version) == (409, "too_many_replays")
