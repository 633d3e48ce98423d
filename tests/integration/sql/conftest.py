from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.support.calls import Calls
from tests.support.sessions import connect

NewSession = Callable[[], Calls]


@pytest.fixture
def new_session(database_url: str) -> Iterator[NewSession]:
    """Opens further sessions on the test's database: autocommit, with an empty search_path."""
    with ExitStack() as stack:

        def open_session() -> Calls:
            return Calls(stack.enter_context(connect(database_url)))

        yield open_session


@pytest.fixture
def calls(new_session: NewSession) -> Calls:
    return new_session()
