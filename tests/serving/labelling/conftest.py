"""A browser, and the labelling pages for it: with an account `boss` that may make projects, and the name of one."""

import pytest

from tests.serving.labelling.browser import chromium, site


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def models():
    """The live model that the service asks; none, where a test does not give one of its own."""
    return None


@pytest.fixture
def web(tmp_path, kafka, redis_url, browser, fresh, models):
    with site(tmp_path, kafka, redis_url, browser, models) as found:
        found.desk.account("boss", maker=True)
        found.name = fresh("pages")
        yield found
