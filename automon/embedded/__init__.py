"""A PostgreSQL server of automon's own, for those who have none: made, started, watched and stopped from here."""

from automon.embedded.layout import find_running
from automon.embedded.server import EmbeddedPostgres

__all__ = ["EmbeddedPostgres", "find_running"]
