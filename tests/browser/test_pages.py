"""Every page in a real browser: at three widths, in dark, on paper, without its script; and what the script does."""

from pathlib import Path

import pytest

WIDTHS = (390, 800, 1200)
KINDS = ("run", "runs", "recipes", "trials", "evaluation")
PAPER = 704  # pixels of A4 between the margins
CHECKS = (Path(__file__).parent / "page_checks.js").read_text(encoding="utf-8")
OPEN_ALL = "document.querySelectorAll('details').forEach((each) => { each.open = true })"


@pytest.fixture
def opened(visit, pages):
    """Return a function that opens a page."""
    return lambda kind, width=1200, **options: visit(f"file://{pages[kind]}", width, **options)


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_overlaps_is_cut_off_or_hard_to_read(opened, kind, width, colours):
    page = opened(kind, width, color_scheme=colours)
    assert page.evaluate(CHECKS) == []
    page.evaluate(OPEN_ALL)
    assert page.evaluate(CHECKS) == []
    bright = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).every((one) => one > 127)")
    assert bright == (colours == "light")


@pytest.mark.parametrize("kind", KINDS)
def test_paper_shows_all_columns_and_starts_with_results(opened, kind):
    page = opened(kind, PAPER, color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate(CHECKS) == []
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    section = page.locator("section").first
    assert section.bounding_box()["y"] < 500
    assert section.evaluate("(each) => getComputedStyle(each).breakInside") == "auto"
    assert page.locator("nav").is_hidden()
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")


@pytest.mark.parametrize("kind", KINDS)
def test_without_the_script_everything_is_there(opened, kind):
    with_script, without = opened(kind), opened(kind, java_script_enabled=False)
    for page in (with_script, without):
        page.evaluate(OPEN_ALL)
    assert without.locator("button, input").count() == 0
    assert (with_script.locator("thead button").count() > 0) == (kind != "evaluation")  # its tables do not sort
    assert without.locator("main").inner_text().split() != []
    cells = [page.locator("tbody td, tbody th").all_inner_texts() for page in (with_script, without)]
    assert cells[0] == cells[1]
    assert without.evaluate(CHECKS) == []


def column(page, number):
    """Texts of a column of the queries."""
    return page.locator(f"#queries .query-head > :nth-child({number})").all_inner_texts()


def test_queries_sort_by_any_column_with_their_documents(opened):
    page = opened("run", 390)
    gains = [float(text) for text in column(page, 4)]
    assert gains == sorted(gains, reverse=True)
    below = page.locator("#queries tbody").first.inner_html()
    gain = page.locator("#queries thead th", has_text="gain")
    gain.locator("button").click()
    assert gain.get_attribute("aria-sort") == "descending"
    gain.locator("button").press("Enter")
    assert gain.get_attribute("aria-sort") == "ascending"
    assert [float(text) for text in column(page, 4)] == sorted(gains)
    assert page.locator("#queries tbody").last.inner_html() == below
    base = page.locator("#queries thead th", has_text="base")
    base.locator("button").click()
    values = [float(text) for text in column(page, 2)]
    assert values == sorted(values, reverse=True)
    assert gain.get_attribute("aria-sort") is None
    page.locator("#queries thead th", has_text="query").locator("button").click()
    names = [text.lower() for text in column(page, 1)]
    assert names == sorted(names, reverse=True)


def test_queries_are_searched_by_their_words(opened):
    page = opened("run")
    search, shown = page.get_by_label("Search queries and documents"), page.locator("#queries tbody:visible")
    assert shown.count() == 12
    search.fill("SHOCK wave 8")
    texts = [each.text_content().lower() for each in page.locator("#queries tbody").all()]
    matching = [text for text in texts if all(word in text for word in ("shock", "wave", "8"))]
    assert 0 < len(matching) < 12
    assert [each.text_content().lower() for each in shown.all()] == matching
    assert page.locator("#queries output").inner_text() == f"{len(matching)} of 12"
    search.fill("no such words")
    assert shown.count() == 0
    search.fill("")
    assert shown.count() == 12


def test_a_query_opens_to_its_documents(opened):
    page = opened("run", 390)
    details = page.locator("#queries details").first
    assert details.locator("li").first.is_hidden()
    details.locator("summary").click()
    assert details.locator("li").count() >= 6
    assert details.locator("li").first.is_visible()


def test_the_contents_lead_to_every_section(opened):
    page = opened("run", 800)
    for link in page.locator("nav a").all():
        link.click()
        assert page.locator(f"section{link.get_attribute('href')}").count() == 1
    assert page.evaluate("location.hash") == "#lineage"


def test_bars_and_points_show_their_values(opened):
    page = opened("run")
    assert page.locator("#systems svg.big .tip > title").first.text_content().startswith("bm25, nDCG@10: 0.")
    assert page.locator("#training svg.big .tip > title").last.text_content().startswith("step 100, dev nDCG@10 ")
    page.locator("#systems svg.big .tip").first.hover()


def test_a_script_that_got_into_the_page_does_not_run(browser, pages, tmp_path):
    html = pages["run"].read_text(encoding="utf-8")
    smuggled = '<script>document.title = "run"</script><b onclick="document.title = \'run\'" id="smuggled">x</b>'
    path = tmp_path / "page.html"
    path.write_text(html.replace("<h2>Systems</h2>", f"<h2>Systems</h2>{smuggled}"), encoding="utf-8")
    page = browser.new_page()
    page.goto(f"file://{path}")
    page.locator("#smuggled").click()
    assert page.title().startswith("toy-run")
    page.close()
