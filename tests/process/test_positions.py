"""`positions list|set`: the stored positions, and an operator's change."""

import json

from tests.process.conftest import Command


def test_positions_are_set_and_listed(command: Command, database_url: str):
    assert command("positions", "list").out == ""
    result = command("positions", "set", "shop.purchases", "2", "41")
    assert (result.code, result.out) == (0, "shop.purchases 2: wafa-points goes on at 41\n")
    command("positions", "set", "shop.purchases", "2", "40")
    command("positions", "set", "shop.purchases", "2", "7", "--cluster-id", "cluster-0")
    positions = [json.loads(line) for line in command("positions", "list", "--json").out.splitlines()]
    assert [(item["cluster_id"], item["next_offset"]) for item in positions] == [("cluster-0", 7), ("cluster-1", 40)]
    assert positions[0] | {"updated_at": ""} == {
        "cluster_id": "cluster-0",
        "consumer_group": "wafa-points",
        "topic": "shop.purchases",
        "partition": 2,
        "next_offset": 7,
        "updated_at": "",
    }
    assert command("positions", "list").out.startswith("cluster-0  wafa-points  shop.purchases  2  7  ")
