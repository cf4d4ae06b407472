"""Every set, whichever it is, is a set of declared streams whose rows decode without a fault."""

import numpy as np
import pyarrow.compute as pc
import pytest

from connectors import arrow
from connectors.datasets import catalogue
from tidemill.block import Block
from tidemill.decode import Decoder
from tidemill.errors import NotFoundError
from tidemill.log import Record

HEADERS = [("content-type", arrow.CONTENT_TYPE.encode())]


@pytest.mark.parametrize("name", catalogue.names())
def test_every_row_is_an_event_of_the_declaration(name):
    data = catalogue.load(name)
    assert data.name == name
    assert data.about
    fields = {f.name for s in data.streams for f in s.spec.fields}
    assert set(data.features) | set(data.targets) <= fields
    for stream in data.streams:
        table = stream.table.slice(0, 5_000)
        assert len(pc.unique(stream.table["id"])) == stream.table.num_rows
        assert (np.diff(stream.time) >= 0).all()
        value = arrow.encode(arrow.columns_of(table))
        [block] = Decoder(stream.spec, arrow.decode).decode(
            [Record(stream.spec.topic, 0, 0, None, value, HEADERS, timestamp=0)]
        )
        assert isinstance(block, Block)
        assert block.ids.tolist() == table["id"].to_pylist()
        assert block.time.tolist() == table["time"].to_pylist()


def test_unknown_name():
    with pytest.raises(NotFoundError, match="flights"):
        catalogue.load("elec3")
