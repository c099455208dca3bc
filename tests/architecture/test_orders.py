"""Events about orders are admitted by one module, whatever the service."""

import re
from pathlib import Path

from tests.architecture import tree

HISTORY = "shared/contracts/orders.py"
# What a service would need to decide by itself whether an event is a repeat, or of another shop's order.
ITS_OWN = re.compile(r"ORDER_CONFLICT|\bmisfit\b|def (is_same|is_repeat|_is_same)\w*")


def test_no_service_admits_events_about_orders_by_itself():
    deciding = [path for path in tree.python("services") if ITS_OWN.search(tree.text(path))]
    # The store of points asks which refunds fit, to load no more than those need.
    assert deciding == [Path("services/points/store/refunds.py")]
    worded = [path.as_posix() for path in tree.python("shared") if "Reason.ORDER_CONFLICT" in tree.text(path)]
    assert worded == [HISTORY]
