"""The report in a real browser."""

import json

import pytest

from tests.report.pages import folder_of, listed, pages

# The browser and the report of 5,000 stacks are made once.
pytestmark = pytest.mark.xdist_group("report of 5000 stacks")

ROWS = "document.querySelectorAll('#rows tr').length"
MAPS = ("depth_map.png", "depth_confidence.png")


@pytest.fixture
def see(chromium):
    """Open a page; at the end nothing was complained of, and nothing asked for outside."""
    chromium.complaints.clear()
    chromium.requests.clear()

    def see(path):
        chromium.open(path.as_uri())
        return chromium

    yield see
    assert chromium.complaints == []
    assert {address.partition(":")[0] for address in chromium.requests} <= {"file", "data"}


@pytest.fixture
def stack_page(outputs, see):
    outputs.fused("a", ("focus_stacked_bayesian.png", "focus_stacked_direct.png", *MAPS))
    outputs.fused("b")
    outputs.report()
    return see(folder_of(outputs.top, "a") / "index.html")


def choose(page, name, value, event="input"):
    """Give a control a value as a person would."""
    page.do(
        f"{{const it = document.getElementById({json.dumps(name)}); it.value = {json.dumps(value)};"
        f"it.dispatchEvent(new Event({json.dumps(event)}));}}"
    )


def style(page, name, what):
    return page.do(f"getComputedStyle(document.getElementById('{name}')).{what}")


def names(page):
    return page.do("[...document.querySelectorAll('#rows .name a')].map(a => a.textContent)")


def test_the_list_is_drawn_filtered_and_sorted(many, see):
    page = see(many.top / "report.html")
    assert 0 < page.do(ROWS) <= 300
    assert page.do("document.getElementById('count').textContent") == "5000 of 5000"
    assert names(page)[0] == listed(many.top)[0]["id"]
    choose(page, "filter", "SPECIMEN_0001 night")
    assert names(page) == [f"night/specimen_000{n}" for n in (13, 10, 11, 12, *range(14, 20))]
    choose(page, "status", "failed", "change")
    assert names(page) == ["night/specimen_00013"]
    choose(page, "filter", "damaged")
    assert page.do("document.getElementById('count').textContent") == "500 of 5000"
    choose(page, "status", "", "change")
    choose(page, "filter", "")
    page.do("document.querySelector('[data-by=id] button').click()")
    assert names(page)[:2] == ["night/specimen_00000", "night/specimen_00001"]
    page.do("document.querySelector('[data-by=id] button').click()")
    assert names(page)[0] == "night/specimen_04999"
    assert page.do("document.querySelector('[data-by=id]').ariaSort") == "descending"


def test_more_rows_come_when_they_are_wanted(many, see):
    page = see(many.top / "report.html")
    before = page.do(ROWS)
    page.do("window.scrollTo(0, document.body.scrollHeight)")
    page.wait(f"{ROWS} > {before}")


def test_the_choice_is_there_again_after_a_look_at_a_stack(many, see):
    page = see(many.top / "report.html")
    choose(page, "filter", "specimen_00013")
    page.leave("document.querySelector('#rows .name a').click()")
    page.wait("document.querySelectorAll('.log').length === 1")
    page.leave("history.back()")
    page.wait("document.getElementById('count')?.textContent === '1 of 5000'")


def test_the_divider_moves(stack_page):
    page = stack_page
    assert style(page, "over", "clipPath") == "inset(0px 0px 0px 50%)"
    choose(page, "slider", "20")
    assert style(page, "over", "clipPath") == "inset(0px 0px 0px 20%)"
    box = page.do("document.getElementById('viewer').getBoundingClientRect().toJSON()")
    middle = box["y"] + box["height"] / 2
    page.drag((box["x"] + box["width"] * 0.2, middle), (box["x"] + box["width"] * 0.75, middle))
    assert abs(float(page.do("document.getElementById('slider').value")) - 75) <= 1
    page.do("document.getElementById('slider').focus()")
    before = float(page.do("document.getElementById('slider').value"))
    page.press("ArrowRight")
    page.wait(f"document.getElementById('slider').value > {before}")


def test_pictures_are_chosen_swapped_and_flicker(stack_page):
    page = stack_page
    shown = "[...document.querySelectorAll('#under, #over')].map(i => i.src.split('/').at(-1))"
    assert page.do(shown) == ["frame-1.jpg", "focus_stacked_bayesian.jpg"]
    choose(page, "left", "frame-2.jpg", "change")
    page.press("x")
    assert page.do(shown) == ["focus_stacked_bayesian.jpg", "frame-2.jpg"]
    page.press("f")
    assert page.do("document.getElementById('flicker').ariaPressed") == "true"
    hidden = "getComputedStyle(document.getElementById('over')).visibility === 'hidden'"
    page.wait(hidden)
    page.wait(f"!({hidden})")
    page.press("f")
    assert page.do("document.getElementById('flicker').ariaPressed") == "false"


def test_the_depth_is_laid_over_and_turns(stack_page):
    page = stack_page
    assert style(page, "depth", "display") == "none"
    choose(page, "overlay", "60")
    assert style(page, "depth", "opacity") == "0.6"
    assert style(page, "depth", "display") == "block"
    picture = "document.getElementById('surface').toDataURL()"
    page.wait("document.getElementById('surface').dataset.turn")
    before = page.do(picture)
    page.do("document.getElementById('surface').focus()")
    page.press("ArrowLeft")
    page.wait(f"{picture} !== {json.dumps(before)}")


def test_pictures_load_and_stacks_follow_each_other(stack_page):
    page = stack_page
    page.do("[...document.images].forEach(i => { i.loading = 'eager'; })")
    page.wait("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    for key, stack in (("n", "b"), ("p", "a")):
        page.press(key)
        title = f"document.querySelector('h1')?.textContent.startsWith('{stack} ')"
        page.wait(f"document.readyState === 'complete' && {title}")


def test_on_a_phone_nothing_is_wider_than_the_screen(outputs, see, chromium):
    outputs.fused("a" * 120, ("focus_stacked_bayesian.png", *MAPS), align=[{"model": "identity"}])
    outputs.failed("b", "/" + "x" * 300)
    outputs.report()
    chromium.view(width=390, height=844, phone=True)
    try:
        for page in pages(outputs.top):
            see(page.path)
            assert chromium.do("document.documentElement.scrollWidth") <= 390, page.path
    finally:
        chromium.view()


def test_without_scripts_the_worst_are_listed_and_pictures_stand_below_each_other(
    outputs, many, see, chromium
):
    outputs.fused("a", ("focus_stacked_bayesian.png", *MAPS))
    outputs.report()
    chromium.scripts(False)
    try:
        see(many.top / "report.html")
        links = "[...document.querySelectorAll('ol a')].map(a => a.textContent)"
        assert chromium.do(links) == [stack["id"] for stack in listed(many.top)[:100]]
        dead = """[...document.querySelectorAll('form, table, input, select, button, canvas')]
            .filter(e => e.offsetParent).map(e => e.outerHTML)"""
        assert chromium.do(dead) == []
        see(folder_of(outputs.top, "a") / "index.html")
        assert chromium.do(dead) == []
        boxes = "['under', 'over'].map(i => document.getElementById(i).getBoundingClientRect())"
        under, over = chromium.do(f"{boxes}.map(box => box.toJSON())")
        assert over["top"] >= under["bottom"] > under["top"]
    finally:
        chromium.scripts(True)


def test_the_dark_has_light_letters(stack_page, chromium):
    root = "getComputedStyle(document.documentElement)"
    colours = f"[{root}.color, {root}.backgroundColor]"
    light = chromium.do(colours)
    chromium.view(dark=True)
    try:
        assert sum(map(brightness, light)) and brightness(light[0]) < brightness(light[1])
        dark = chromium.do(colours)
        assert brightness(dark[0]) > brightness(dark[1])
    finally:
        chromium.view()


def brightness(colour):
    return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(",")))


def test_everything_has_a_name_for_who_hears_the_page(stack_page):
    unnamed = """[...document.querySelectorAll('a[href], button, input, select, img, canvas')]
        .filter(e => !(e.ariaLabel || e.alt || e.textContent.trim() || e.labels?.length
            || e.querySelector('img[alt]')))
        .map(e => e.outerHTML)"""
    assert stack_page.do(unnamed) == []


def test_landmarks_are_told_apart_by_their_names(outputs, see):
    moved = [{"model": "identity"}, {"model": "translation", "matrix": [1, 0, 1, 0, 1, 1]}]
    outputs.fused("a", scores={"focus_stacked_bayesian": {"Qsharp": 0.9}}, align=moved)
    outputs.report()
    page = see(folder_of(outputs.top, "a") / "index.html")
    marks = """[...document.querySelectorAll('section, [role=region], nav')].map(e => e.ariaLabel
        || document.getElementById(e.getAttribute('aria-labelledby')).textContent)"""
    found = page.do(marks)
    assert {"Quality", "Registration"} <= set(found) and len(found) == len(set(found))


def test_nothing_that_records_hold_is_carried_out(hostile, see):
    for page in pages(hostile.top):
        assert see(page.path).do("typeof hacked") == "undefined"
