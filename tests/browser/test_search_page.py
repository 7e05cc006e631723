"""The search page in a real browser: what is typed is searched, and texts of documents stay texts."""

import pytest

from gradret.serving.access import digest
from gradret.serving.front import Front, Rules

from ..serving.conftest import MANY, of_run
from ..serving.listening import listening
from .test_pages import CHECKS

HOSTILE = '<img src="x" onerror="document.title = \'owned\'"><script>document.title = "owned"</script>'
TOKEN = "correct-horse-battery"
QUERY = "wait for a process but give up after a while"


async def hostile(asked):
    """A hit whose title, id and text are markup, the same for each system."""
    text = f"\U0001f600 wait {HOSTILE}"
    hit = {"rank": 1, "score": 1.0, "doc_id": f"id {HOSTILE}", "title": HOSTILE, "text": text, "highlights": [[2, 6]]}
    return {name: [hit | {"base_rank": None}] for name in asked.systems}


def of_markup(token=None):
    about = {"run": HOSTILE, "systems": ["tuned", "base"], "documents": 1, "metrics": {HOSTILE: {HOSTILE: 1.0}}}
    about["model"] = {"encoder": HOSTILE, "model": None, "dimension": 3}
    return Front(Rules("127.0.0.1", digest(token) if token else None, MANY, MANY), about, hostile)


@pytest.fixture(scope="module")
def run_port(finished):
    with listening(of_run(finished)) as port:
        yield port


@pytest.fixture
def opened(visit):
    """Return a function that opens the page at a port."""
    return lambda port, width=1200, **options: visit(f"http://127.0.0.1:{port}/", width, **options)


def asked(page, query):
    # The page also searches for parts of it, while it is typed.
    with page.expect_response(lambda answer: (answer.request.post_data_json or {}).get("q") == query):
        page.get_by_label("Query").press_sequentially(query)
    page.locator("#results section").first.wait_for()
    page.get_by_text("systems, up to 10 documents each").wait_for()


@pytest.mark.parametrize(
    ("width", "colours"), [(390, "light"), (390, "dark"), (800, "light"), (1200, "light"), (1200, "dark")]
)
def test_typing_a_query_shows_all_systems(opened, run_port, width, colours):
    page = opened(run_port, width, color_scheme=colours)
    asked(page, QUERY)
    sections = page.locator("#results section")
    assert sections.locator("h2").all_inner_texts() == ["Base model", "Tuned model", "BM25", "Hybrid: tuned + BM25"]
    assert [section.locator("li").count() for section in sections.all()] == [10] * 4
    assert sections.locator("mark").count() > 10
    page.locator("#measures summary").click()
    assert page.evaluate(CHECKS) == []
    lefts = {round(section.bounding_box()["x"]) for section in sections.all()}
    assert len(lefts) == {390: 1, 800: 2, 1200: 4}[width]
    bright = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).every((one) => one > 127)")
    assert bright == (colours == "light")
    assert page.url == f"http://127.0.0.1:{run_port}/"


def test_the_page_works_with_the_keyboard(opened, run_port):
    page = opened(run_port)
    page.get_by_text("documents ·").wait_for()
    page.keyboard.type("random")
    page.keyboard.press("Enter")
    page.get_by_text("systems, up to 10 documents each").wait_for()
    for _ in range(2):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    page.keyboard.press("Enter")
    table = page.get_by_role("table", name="Measures on the test queries")
    assert {cell.get_attribute("scope") for cell in table.locator("thead th").all()} == {"col"}
    assert {cell.get_attribute("scope") for cell in table.locator("tbody th").all()} == {"row"}


def test_documents_say_where_they_were_before_training(opened, run_port):
    page = opened(run_port)
    asked(page, QUERY)
    before = [item.locator("h3 span").last.inner_text() for item in page.locator("section.base li").all()]
    for rank, item in enumerate(page.locator("section.tuned li").all(), 1):
        title, moved = item.locator("h3 span").last.inner_text(), item.locator(".about").inner_text()
        if title in before:
            was = before.index(title) + 1
            expected = f"up {was - rank}, from {was}" if was > rank else f"down {rank - was}, from {was}"
            assert (expected if was != rank else "as in base") in moved
        else:
            assert "▲" in moved


def test_unknown_words_and_an_empty_query(opened, run_port):
    page = opened(run_port)
    asked(page, "\u2603 \u2603")
    assert page.get_by_text("No document: it knows no word of the query.").count() == 4
    page.get_by_label("Query").fill("")
    page.locator("#results section").first.wait_for(state="detached")


def test_markup_of_documents_stays_text(opened):
    with listening(of_markup()) as port:
        page = opened(port)
        asked(page, "wait")
        assert page.locator("#results h3 span").last.text_content() == HOSTILE
        assert page.locator("#results code").first.text_content() == f"id {HOSTILE}"
        assert page.locator("mark").all_inner_texts() == ["wait", "wait"]
        assert page.locator("main img, main script, main b").count() == 0
        assert page.title() == f"{HOSTILE} · gradret search"
        assert page.evaluate(CHECKS) == []


def test_a_script_that_got_into_the_page_does_not_run_or_send(browser, run_port):
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{run_port}/")
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.owned = 1'}))")
    assert page.evaluate("window.owned") is None
    with listening(of_markup()) as other:
        sent = f"fetch('http://127.0.0.1:{other}/health').then(() => 'sent', () => 'blocked')"
        assert page.evaluate(sent) == "blocked"
    page.close()


def test_the_token_is_typed_and_kept_by_the_page_only(opened):
    with listening(of_markup(TOKEN)) as port:
        page = opened(port)
        page.get_by_label("Token").fill(TOKEN)
        page.keyboard.press("Enter")
        asked(page, "wait")
        assert page.get_by_label("Token").is_hidden()
        assert page.url == f"http://127.0.0.1:{port}/"
        kept = page.evaluate("JSON.stringify([document.cookie, {...localStorage}, {...sessionStorage}, history.state])")
        assert TOKEN not in kept
        assert TOKEN not in page.content()
