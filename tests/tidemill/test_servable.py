"""Tensors know their datatype by the protocol's name."""

import numpy as np
import pytest

from tidemill.errors import RequestError
from tidemill.servable import DATATYPES, Tensor


@pytest.mark.parametrize("name", DATATYPES)
def test_every_datatype_has_its_name(name):
    assert Tensor("x", np.zeros(2, DATATYPES[name])).datatype == name


@pytest.mark.parametrize("dtype", ["U3", "datetime64[us]", "complex128"])
def test_what_the_protocol_has_no_name_for_is_refused_by_input(dtype):
    with pytest.raises(RequestError) as caught:
        _ = Tensor("x", np.zeros(2, dtype)).datatype
    assert caught.value.field == "x"
