"""Which tests go to one worker of pytest-xdist, one after the other: those of a file whose fixtures cost more than its tests."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

# A booted machine with automon in it; days of facts; a wheel; a replica. Campaigns share nothing, but each takes long,
# and what stands here is begun with.
WHOLE_FILES = (
    "tests/acceptance/systemd/",
    "tests/faults/test_campaigns.py",
    "tests/faults/test_client_campaigns.py",
    "tests/integration/client/test_client_wheel.py",
    "tests/integration/sql/test_plans.py",
    "tests/integration/test_replica.py",
)


class SharingScheduling(LoadScopeScheduling):
    """Hands out whole files where that is worth it, and single tests otherwise; the largest first."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if file.startswith(WHOLE_FILES) else nodeid
