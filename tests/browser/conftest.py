"""A browser, and a page of each kind, with names and texts that are hard to lay out."""

import shutil
from dataclasses import replace

import pytest
from playwright.sync_api import sync_playwright

from gradret.config.evaluation import Evaluation, System
from gradret.report import recipes_page, runs_page, trials_page
from gradret.report.evaluation import evaluation_report
from gradret.report.run import report

from ..report import test_recipes, test_trials
from ..report.test_page import Toy, config, whole_flow

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LONG = "listwise-distillation-with-a-name-that-nobody-wanted_to_break"


@pytest.fixture(scope="session")
def browser():
    paths = [path for path in map(shutil.which, NAMES) if path]
    assert paths, f"none of {', '.join(NAMES)} is installed; on Debian: apt-get install chromium"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=paths[0], args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def visit(browser):
    """Return a function that opens an address; in the end, no page has said anything or asked another host."""
    contexts, said = [], []

    def _visit(address, width, **options):
        own = "/".join(address.split("/")[:3])
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith(f"{own}/") else said.append(request.url))
        page.goto(address)
        return page

    yield _visit
    for context in contexts:
        context.close()
    assert said == []


def evaluated(folder, flow):
    """The page of an evaluation of four systems on two datasets."""
    names = {"bm25": "bm25", "base": "base", LONG: "tuned", "teacher": "teacher"}
    systems = {name: System(bm25=True) for name in names}
    datasets = {"toy": Toy(), LONG: Toy()}
    evaluation = Evaluation("evaluated", datasets, {}, systems, str(folder), evaluate=config(folder).evaluate)
    of_dataset = {name: flow[name] for name in ("ingest", "queries")}
    flow["queries"].manifest["counts"].update(judgments=36, judgments_of_unknown_docs=0)
    for name, system in names.items():
        of_dataset |= {f"{stage}.{name}": flow[f"{stage}.{system}"] for stage in ("search", "evaluate")}
    written, _ = evaluation_report(evaluation, dict.fromkeys(datasets, of_dataset))
    return written / "report.html"


@pytest.fixture(scope="session")
def pages(tmp_path_factory):
    """The path of each page, by its kind."""
    folder = tmp_path_factory.mktemp("pages")
    flow, one = whole_flow(folder), config(folder)
    better = flow | {name: flow[name.replace("tuned", "teacher")] for name in ("search.tuned", "evaluate.tuned")}
    parts = [
        runs_page.RunPart("toy-run", one, flow),
        runs_page.RunPart(LONG, replace(one, name=LONG, seed=7), better),
        runs_page.RunPart("third", replace(one, name="third", evaluate=replace(one.evaluate, test="one-sided")), flow),
    ]
    trials, _ = test_recipes.trials({"low": 0.3, LONG: 0.6, "infonce": 0.59})
    compared = test_recipes.compare_recipes(trials, test_recipes.bm25(), test_recipes.MEASURES, 0)
    made = {
        "runs": runs_page.page(parts),
        "recipes": recipes_page.page(test_recipes.config("low", LONG, "infonce"), compared),
        "trials": trials_page.page(test_trials.searched(), test_trials.found(LONG)),
    }
    paths = {"run": report(one, flow) / "report.html", "evaluation": evaluated(folder, flow)}
    for name, html in made.items():
        paths[name] = folder / f"{name}.html"
        paths[name].write_text(html, encoding="utf-8")
    return paths
