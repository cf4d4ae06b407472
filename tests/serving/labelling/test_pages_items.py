"""What a manager adds on the pages, in a real browser: files mean what they mean elsewhere, and images are upright."""

import base64

import pytest
from PIL import Image
from playwright.sync_api import expect

from connectors import images
from serving.labelling.uploads import NewItem, NewItems
from tests.connectors.test_images import odd, turned
from tests.serving.labelling.browser import add, people, schema
from tidemill.errors import ConfigError, RequestError
from tidemill_app.labelling_files import items_of

pytestmark = pytest.mark.stack


CSV = (
    '\ufefftext,n,code,"a ""q""",big\r\n"it purrs,\nloudly",3,007,x"y,12345678901234567890\r\n\r\n'
    "it barks,-1.50e1,1e999,,true\n"
)


def test_files_mean_what_they_mean_to_the_command_line(web, tmp_path):
    """The same rows, numbers, texts and ids, in a file alone and in a folder; what the one refuses the other does."""
    web.desk.project(web.name, schema=schema("single", "text", "Cat"))
    people(web.desk, web.name, manager="mo")
    folder = tmp_path / "scene"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "t.csv").write_bytes(CSV.encode())
    (folder / "t.csv").write_bytes(b"id,text,n\nseven,it mews,7\n")
    (folder / "u.ndjson").write_bytes(b'{"text": "it naps", "n": {"deep": [1]}}\n\n{"id": 5, "text": "a"}\n')
    (folder / "v.txt").write_bytes(b"one text\nof two lines")
    (folder / ".hidden").write_bytes(b"no")
    wanted = {i.id: {"text": i.text, **i.payload} for i in items_of([folder], "text")}
    page = web.open(f"/manage?project={web.name}", who="mo")
    page.click("#tab-items")
    page.set_input_files("#upload input[name=folder]", str(folder))
    page.click("#upload button.primary")
    expect(page.locator(".upload")).to_contain_text("6 of 6 added")
    with web.desk.service.book.reading(web.name) as state:
        assert {id: item.asked.payload for id, item in state.items.items()} == wanted
    assert wanted["deep/t.csv:1"] == {
        "text": "it purrs,\nloudly", "n": 3, "code": "007", 'a "q"': 'x"y', "big": "12345678901234567890"
    }  # fmt: skip
    assert wanted["deep/t.csv:2"]["n"] == -15 and wanted["5"] == {"text": "a"}
    assert web.desk.uploads.add(web.name, NewItems(list(items_of([folder], "text"))))["added"] == []

    # Another file of the same name is not lost: it is refused by its id, and taken with a prefix.
    (tmp_path / "v.txt").write_bytes(b"another text")
    page.set_input_files("#upload input[name=files]", str(tmp_path / "v.txt"))
    page.click("#upload button.primary")
    expect(page.locator("#upload .wrong")).to_contain_text("an item of this id is there with another text; got v.txt")
    page.fill("#upload input[name=prefix]", "new-")
    page.click("#upload button.primary")
    expect(page.locator(".upload")).to_contain_text("1 of 1 added")
    with web.desk.service.book.reading(web.name) as state:
        assert state.items["new-v.txt"].asked.payload == {"text": "another text"}
    for bad in (b"text,n\na\n", b'text\n"a" b\n', b'text\n"a', b"text,text\na,b\n", b"n\n1\n", b"text\n\xff\n", b""):
        (tmp_path / "bad.csv").write_bytes(bad)
        with pytest.raises(ConfigError, match=r"bad\.csv"):
            list(items_of([tmp_path / "bad.csv"], "text"))
        page.set_input_files("#upload input[name=files]", str(tmp_path / "bad.csv"))
        page.click("#upload button.primary")
        expect(page.locator("#upload .wrong")).to_contain_text("bad.csv")
        page.evaluate("document.querySelector('#upload .wrong').textContent = ''")
    web.clean("error: Failed to load resource")


def test_a_browser_shows_an_image_as_large_as_it_is_taken_for(browser):
    """However an image says that it is turned: boxes that are drawn on it lie where a model is taught them."""
    page = browser.new_page()
    look = (
        "async (u) => { const i = new Image(); i.src = u; await i.decode(); return [i.naturalWidth, i.naturalHeight]; }"
    )
    cases = {f"{kind} {how}": turned(how, kind) for how in range(1, 9) for kind in ("JPEG", "PNG")}
    for name, data in (cases | {name: data for name, (data, _) in odd().items()}).items():
        link = f"data:{images.header(data).type};base64,{base64.b64encode(data).decode()}"
        assert tuple(page.evaluate(look, link)) == images.size(data), name
    page.close()


def test_boxes_on_a_photograph_held_upright_are_taken_and_taught_where_they_were_drawn(web):
    """Stored 40 by 30, shown 30 by 40, with one dark box at its lower right as it is shown."""
    stored = Image.new("RGB", (40, 30), "white")
    stored.paste((20, 20, 20), (30, 2, 38, 10))  # x 30 to 38 from the top of the shown one, y 2 to 10 from its right
    data = turned(6, "JPEG", stored)
    web.desk.project(web.name, schema=schema("boxes", "image", "Cell"), overlap=(1, 1))
    gold = [["cell", 20.0, 30.0, 8.0, 8.0]]
    add(web.desk, web.name, NewItem(id="tall", media=base64.b64encode(data).decode(), gold=gold))
    with web.desk.service.book.reading(web.name) as state:
        asked = state.items["tall"].asked
        assert (asked.payload["width"], asked.payload["height"], state.items["tall"].size) == (30, 40, (30, 40))
    shown = images.pixels(data)
    assert shown[30:38, 20:28].mean() < 60 < 200 < shown[:30].mean()
    with pytest.raises(RequestError):
        add(web.desk, web.name, NewItem(media=base64.b64encode(data).decode(), gold=[["cell", 30.0, 2.0, 8.0, 8.0]]))
