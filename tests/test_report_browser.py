"""The report's page in a real browser: it sorts, filters, tells its numbers, fits a phone, and asks nobody."""

import csv
import io
import re
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookahead_rl.evaluation.plots import QueryCurve, bars, query_curves, value_map
from lookahead_rl.evaluation.report import Figure, Section, write_page
from lookahead_rl.scripts.cli import main

playwright = pytest.importorskip("playwright.sync_api", reason="playwright, which drives the browser, is missing")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to open the page in")

VALUES = [
    0.5,
    None,
    -3.25,
    1e-9,
    12345.678,
    -0.001,
    None,
    0.5,
    float("inf"),
    7.0,
    0.0,
    100.0,
    2e-5,
    1e12,
    3.0,
    4.0,
    5.0,
]
ASCENDING = [2, 5, 10, 3, 12, 0, 7, 14, 15, 16, 9, 11, 4, 13, 8, 1, 6]
DESCENDING = [8, 13, 4, 11, 9, 16, 15, 14, 0, 7, 12, 3, 10, 5, 2, 1, 6]
NOTE = 'one, "two"\nthree'
ROWS = [
    {
        "agent": f"Agent-v{i}",
        "env_id": "lookahead_rl/RandomMarkovGame-v0",
        "value": value,
        "steps": 1000 * i,
        "note": NOTE,
    }
    for i, value in enumerate(VALUES)
]
QUERIES = np.array([[10.0, 100.0, 1000.0], [10.0, 100.0, 1000.0]])
CURVES = {
    "TensorPlan-v0": QueryCurve(QUERIES, np.array([[0.125, 0.5, 0.75], [0.125, 0.25, 1.0]])),
    "UCT-v0": QueryCurve(QUERIES, np.array([[0.0, 0.1, 0.2], [0.1, 0.1, 0.3]])),
}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    figures = [
        Figure(query_curves(CURVES, 1.0, 0.0), "value against queries"),
        Figure(bars({"uniform": 2.5, "the Nash pair": 0.0}, "exploitability"), "bars"),
        Figure(value_map(np.array([[0.25, np.nan], [0.5, 1.0]]), [["a", "H"], ["b", "G"]]), "a map"),
    ]
    sections = [
        Section("Many rows", ["text"], ROWS, figures[:1], configuration={"agents": ["PPO"], "gamma": 0.9}),
        Section("Few rows", ["text"], ROWS[:3], figures[1:]),
    ]
    write_page(path, "Results", "what was found", sections, configuration={"seed": 7})
    return path.as_uri()


def watched(page, address):
    """What goes wrong on a page: whatever it complains of, and whatever it asks the network for."""
    wrong = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: request.url in (address, "data:,") or wrong.append(request.url))
    return wrong


@contextmanager
def opened(browser, address, **options):
    """The page in a context of its own."""
    context = browser.new_context(**options)
    page = context.new_page()
    wrong = watched(page, address)
    page.goto(address)
    yield page
    context.close()
    assert wrong == []


@pytest.fixture(scope="module")
def desktop(browser, address):
    """A window that tests share one after the other, and what went wrong in it."""
    page = browser.new_context(viewport={"width": 1100, "height": 800}).new_page()
    return page, watched(page, address)


@pytest.fixture
def page(desktop, address):
    """The page, opened anew."""
    shared, wrong = desktop
    shared.mouse.move(1, 1)
    shared.goto(address)
    yield shared
    assert wrong == []


@pytest.fixture(scope="module")
def phone(browser, address):
    with opened(browser, address, viewport={"width": 375, "height": 740}, has_touch=True, is_mobile=True) as page:
        yield page


def order(page, table=0):
    """Numbers of the rows as they stand, hidden ones left out."""
    names = page.locator("table").nth(table).locator("tbody tr:visible > :first-child").all_inner_texts()
    return [int(name.removeprefix("Agent-v")) for name in names]


def header(page, name):
    return page.locator("table").first.locator("thead th", has_text=name)


def tip(page):
    return page.locator("#tip").inner_text().split("\n")


def centre(locator):
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def tapped(page, locator):
    locator.scroll_into_view_if_needed()
    page.touchscreen.tap(*centre(locator))


def luminance(colour):
    channels = [int(c) / 255 for c in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(page, selector):
    """Of text against the section it stands in (Web Content Accessibility Guidelines 2.2, 1.4.3)."""
    script = """selector => { const element = document.querySelector(selector);
        const ground = getComputedStyle(document.querySelector("section")).backgroundColor;
        const style = getComputedStyle(element);
        return [element.closest("svg") && element.localName !== "svg" ? style.fill : style.color, ground]; }"""
    low, high = sorted(map(luminance, page.evaluate(script, selector)))
    return (high + 0.05) / (low + 0.05)


# tables


def test_a_click_sorts_numbers_as_numbers_with_empty_cells_last_then_back(page):
    for expected, said in ((ASCENDING, "ascending"), (DESCENDING, "descending"), (list(range(17)), None)):
        header(page, "value").locator("button").click()
        assert order(page) == expected
        assert header(page, "value").get_attribute("aria-sort") == said


@pytest.mark.parametrize("key", ["Enter", " "])
def test_keys_sort(page, key):
    header(page, "value").locator("button").focus()
    page.keyboard.press(key)
    assert order(page) == ASCENDING


def test_one_column_at_a_time_says_that_it_is_sorted(page):
    header(page, "value").locator("button").click()
    header(page, "steps").locator("button").click()
    assert page.locator("table").first.locator("[aria-sort]").count() == 1
    assert order(page) == list(range(17))


def test_names_sort_by_the_numbers_in_them_and_ties_keep_their_order(page):
    header(page, "value").locator("button").click()
    header(page, "agent").locator("button").click()
    assert order(page) == list(range(17))  # v2 before v10
    header(page, "note").locator("button").click()
    assert order(page) == list(range(17))
    header(page, "note").locator("button").click()
    assert order(page) == list(range(17))  # also when descending


def test_the_filter_keeps_rows_with_all_words_and_says_how_many(page):
    assert page.locator("input[type=search]").count() == 1  # few rows need none
    page.get_by_label("Filter").fill("AGENT-v1 random")
    assert order(page) == [1, 10, 11, 12, 13, 14, 15, 16]
    assert page.get_by_role("status").inner_text() == "8 of 17 rows"
    header(page, "value").locator("button").click()
    assert order(page) == [10, 12, 14, 15, 16, 11, 13, 1]
    page.get_by_label("Filter").fill("")
    assert len(order(page)) == 17


def test_the_table_downloads_with_exact_numbers(page):
    with page.expect_download() as download:
        page.locator(".download").first.click()
    assert download.value.suggested_filename == "many-rows.csv"
    text = Path(download.value.path()).read_bytes().decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [float(row["value"]) if row["value"] else None for row in rows] == VALUES
    assert [int(row["steps"]) for row in rows] == [row["steps"] for row in ROWS]
    assert {row["note"] for row in rows} == {NOTE}


# plots


def test_a_marker_under_the_mouse_tells_its_numbers(page):
    marker = page.locator("figure").first.locator("circle.target").nth(1)
    marker.scroll_into_view_if_needed()
    x, y = centre(marker)
    page.mouse.move(x + 8, y - 8)  # near is enough
    expected = ["TensorPlan-v0", "queries of the simulator: 100", "exact value of the policy: 0.375"]
    assert tip(page) == [*expected, "from 0.25 to 0.5"]
    page.mouse.move(3, 3)
    assert not page.locator("#tip").is_visible()


def test_every_target_lies_on_what_was_drawn(page):
    figure = page.locator("figure").first
    places = [centre(figure.locator("circle.target").nth(i)) for i in range(3)]
    drawn = [centre(figure.locator("g.series[data-series='0'] use").nth(i + 1)) for i in range(3)]  # the band first
    assert np.abs(np.subtract(places, drawn)).max() < 1.0


def test_arrow_keys_walk_along_the_curves(page):
    figure = page.locator("figure").first
    figure.locator("[tabindex='0'].target").focus()
    assert figure.locator("[tabindex='0'].target").count() == 1  # one stop on the way through the page
    seen = [tip(page)[:2]]
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "Home", "End"):
        page.keyboard.press(key)
        seen.append(tip(page)[:2])
    along = [(name, places.rpartition(": ")[2]) for name, places in seen]
    first, second = "TensorPlan-v0", "UCT-v0"
    expected = [
        (first, "10"),
        (first, "100"),
        (first, "1,000"),
        (second, "1,000"),
        (first, "10"),
        (second, "1,000"),
    ]
    assert along == expected
    page.keyboard.press("Escape")
    assert not page.locator("#tip").is_visible()


def test_targets_have_names_for_those_who_hear_the_page(page):
    label = page.locator("circle.target").first.get_attribute("aria-label")
    assert label.startswith("TensorPlan-v0, queries of the simulator: 10, exact value of the policy: 0.125")


def test_bars_and_cells_answer_a_tap(phone):
    tapped(phone, phone.locator("figure").nth(1).locator("rect.target").first)
    assert tip(phone) == ["uniform", "exploitability: 2.5"]
    tapped(phone, phone.locator("figure").nth(1).locator("rect.target").nth(1))  # a bar of no length
    assert tip(phone) == ["the Nash pair", "exploitability: 0"]
    tapped(phone, phone.locator("figure").nth(2).locator("rect.target").nth(1))
    assert tip(phone) == ["row 2, column 1", "0.5"]
    phone.touchscreen.tap(5, 5)
    assert not phone.locator("#tip").is_visible()


def test_legend_entries_highlight_their_curve(page):
    figure = page.locator("figure").first
    entry = figure.get_by_role("button", name="Highlight UCT-v0")
    entry.scroll_into_view_if_needed()
    dimmed = figure.locator(".series.dim")
    page.mouse.move(*centre(entry))
    assert {one.get_attribute("data-series") for one in dimmed.all()} == {"0"}
    assert dimmed.count() == 2  # the curve and its band
    page.mouse.move(3, 3)
    assert dimmed.count() == 0
    entry.focus()
    page.keyboard.press("Enter")
    figure.locator(".target").first.focus()
    assert entry.get_attribute("aria-pressed") == "true"
    assert dimmed.count() == 2  # pinned


# the page


def test_nothing_scrolls_sideways_on_a_phone_but_tables_in_their_boxes(phone):
    width = "document.documentElement.scrollWidth"
    assert phone.evaluate(width) == 375
    assert phone.get_by_text("Scroll sideways for more columns").first.is_visible()
    assert phone.locator(".table .scroll").first.evaluate("box => box.scrollWidth > box.clientWidth + 50")
    first = phone.locator("tbody th").first
    before = first.bounding_box()["x"]
    phone.locator(".table .scroll").first.evaluate("box => box.scrollLeft = 200")
    assert first.bounding_box()["x"] == before  # sticks
    heights = "elements => elements.map(element => element.getBoundingClientRect().height)"
    assert min(phone.locator("button:visible, input:visible, summary").evaluate_all(heights)) >= 38


def test_sentences_are_cards_on_a_phone_and_scroll_nowhere(browser, tmp_path):
    told = "A sentence of more than forty letters, which nobody reads through a window of a few lines. " * 6
    rows = [{"claim": f"games.turn-based-cycles-{i}", "verdict": "holds", "found": told} for i in range(12)]
    write_page(tmp_path / "told.html", "Claims", "", [Section("All", [], rows)])
    with opened(browser, (tmp_path / "told.html").as_uri(), viewport={"width": 375, "height": 740}) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == 375
        assert page.locator(".scroll").evaluate("box => box.scrollHeight - box.clientHeight") == 0
        name, verdict, found = (page.locator("tbody tr").first.locator("> *").nth(i).bounding_box() for i in range(3))
        assert name["height"] < 40  # not broken
        assert name["y"] < verdict["y"] < found["y"]
        assert found["width"] > 300
        label = "getComputedStyle(document.querySelector('tbody tr td:last-child'), '::before').content"
        assert page.evaluate(label) == '"found"'
        page.set_viewport_size({"width": 1200, "height": 740})
        assert page.locator(".scroll").evaluate(
            "box => [box.scrollHeight - box.clientHeight, box.scrollWidth - box.clientWidth]"
        ) == [0, 0]


def test_nothing_says_scroll_where_all_is_seen(page):
    assert not any(hint.is_visible() for hint in page.locator(".hint").all())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_the_light_and_in_the_dark(browser, address, scheme):
    with opened(browser, address, color_scheme=scheme) as page:
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (luminance(ground) < 0.1) == (scheme == "dark")
        for selector in ("td", "thead button", "figcaption", ".download", "summary", "figure svg text"):
            assert contrast(page, selector) >= 4.5, selector


def test_the_page_may_not_use_the_network(browser, address):
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    script = "() => fetch('https://example.org/').then(() => 'answered', error => 'refused')"
    with page.expect_console_message() as message:
        assert page.evaluate(script) == "refused"
    assert "Content Security Policy" in message.value.text
    context.close()


def test_without_scripts_the_page_is_whole(browser, address):
    with opened(browser, address, java_script_enabled=False) as page:
        assert page.locator("tbody tr:visible").count() == 20
        assert page.locator("button, input").count() == 0
        assert "0.375" in page.locator("circle.target title").nth(1).text_content()


def test_tab_leads_to_the_content_first_and_focus_is_seen(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    assert page.locator(".skip").bounding_box()["y"] >= 0
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_paper_shows_tables_and_what_made_them_without_controls(browser, address):
    with opened(browser, address, color_scheme="dark") as page:
        page.emulate_media(media="print")
        assert page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--paper')") == "#ffffff"
        assert not page.locator(".download").first.is_visible()
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.get_by_text('"gamma": 0.9').is_visible()
        assert len(page.pdf()) > 10_000


def test_the_picture_of_the_page_is_not_empty(page):
    picture = Image.open(io.BytesIO(page.screenshot(full_page=True)))
    colours = picture.convert("RGB").getcolors(picture.width * picture.height)
    assert len(colours) > 200
    assert max(count for count, _ in colours) < 0.9 * picture.width * picture.height


def test_a_page_of_a_command_opens_and_sorts(browser, tmp_path, capsys):
    main(["solve", "--env-kwargs", "n_states=30", "--method", "value-iteration", "--out", str(tmp_path / "s.html")])
    assert "certified" in capsys.readouterr().out
    with opened(browser, (tmp_path / "s.html").as_uri()) as page:
        states = page.locator("table").nth(1)
        states.get_by_role("button", name="value", exact=True).click()
        exact = "cells => cells.map(cell => Number(cell.dataset.value))"
        values = states.locator("tbody td:nth-child(3)").evaluate_all(exact)
        assert values == sorted(values)
        assert page.locator("circle.target").count() > 0
