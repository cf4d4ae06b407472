from tidemill_app.tables import table


def test_columns_are_as_wide_as_their_widest_cell():
    rows = [["a", 1234.56, None], ["longer", True, {"k": [1]}]]
    assert table(["job", "n", "more"], rows) == ('job     n        more\na       1,234.6\nlonger  True     {"k":[1]}')


def test_a_head_without_names_is_left_out():
    assert table(["", ""], [["a", 1]]) == "a  1"


def test_nothing_is_no_text():
    assert table(["", ""], []) == ""
    assert table(["a", "b"], []) == "a  b"
