"""A browser, and the labelling pages for it: with an account `boss` that may make projects, and the name of one."""

import pytest

from tests.serving.labelling.browser import chromium, site


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def web(tmp_path, kafka, redis_url, browser, fresh):
    with site(tmp_path, kafka, redis_url, browser) as found:
        found.desk.account("boss", maker=True)
        found.name = fresh("pages")
        yield found
