"""docs/methods.md: what it calls "to the letter" has a test, and its table of settings is that of the configs."""

import ast
import re
from pathlib import Path

import pytest

import gradret
from gradret.config.loading import load

ROOT = Path(gradret.__file__).parents[1]
TEXT = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)


def rows(heading):
    """The rows of the first table after ``heading``, as lists of cells, without its head."""
    section = TEXT.partition(heading)[2].partition("\n\n## ")[0]
    lines = [line for line in section.split("\n") if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_row_to_the_letter_names_a_test():
    section = TEXT.partition("| paper | to the letter | test |")[2].partition("\n\n")[0]
    letters = [line for line in section.split("\n")[2:] if line]
    assert len(letters) > 20
    assert all(re.search(r"\| `tests/[^`]+` \|$", line) for line in letters)


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_named_test_is_there(path, name):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_table_of_settings_is_that_of_the_configs():
    table = {row[0]: row[1:] for row in rows("## Three papers' training, as config")}
    configs = [
        load(ROOT / "configs" / f"{name}.yaml").train for name in ("listwise_distillation", "sycl", "multi_positive")
    ]
    for place, train in enumerate(configs):
        accumulate = f", `accumulate: {train.accumulate}`" if train.accumulate > 1 else ""
        assert table["`train.batch_size`"][place] == f"{train.batch_size}{accumulate}"
        assert table["`train.choose_by`"][place] == f"`{train.choose_by}`"
        assert table["`train.list_length`"][place].split()[0].strip(",") == str(train.list_length)
        encoder = train.encoder
        search = f" (search: {encoder.search_query_length})" if encoder.search_query_length else ""
        lengths = f"{encoder.query_length}{search}, {encoder.document_length}"
        assert table["lengths (query, document)"][place] == lengths
        assert float(table["`train.learning_rate`, `warmup`"][place].partition(";")[0]) == train.learning_rate
