"""So many at once, so many that wait, and no more."""

import asyncio
import threading

import pytest

from serving.workers import Workers
from tidemill.errors import OverloadedError


def test_what_is_too_much_is_refused_and_room_comes_back():
    async def run() -> None:
        workers, begun, go = Workers("w", 1, 1, retry_after=3.0), threading.Event(), threading.Event()
        busy = [asyncio.ensure_future(workers.do(work)) for work in (lambda: begun.set() or go.wait(), go.wait)]
        assert await asyncio.to_thread(begun.wait, 30)
        with pytest.raises(OverloadedError) as refused:
            await workers.do(go.wait)
        assert refused.value.retry_after == 3.0
        go.set()
        assert await asyncio.gather(*busy) == [True, True]
        assert await workers.do(lambda: threading.current_thread().name.rpartition("_")[0]) == "w"
        with pytest.raises(ZeroDivisionError):
            await workers.do(lambda: 1 // 0)
        assert await workers.do(lambda: 7) == 7  # what raised left its place
        workers.close()

    asyncio.run(run())
