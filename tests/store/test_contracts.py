"""Contracts of tables: the error for each kind of violation names file, table, column and row."""

import pyarrow as pa
import pytest

from gradret.errors import ContractError
from gradret.store.contracts import KEYS, check, schema

DOCS = {"doc_id": ["a", "b"], "title": [None, "t"], "text": ["x", "y"], "origin": ["corpus", "corpus"]}


def refused(columns):
    with pytest.raises(ContractError) as caught:
        check(pa.table(columns), "docs", "some/file")
    return str(caught.value)


@pytest.mark.parametrize("contract", sorted(KEYS))
def test_every_contract_has_a_schema_that_holds_its_key(contract):
    assert set(KEYS[contract]) <= set(schema(contract).names)
    assert check(schema(contract).empty_table(), contract, "here").schema == schema(contract)
    assert all(not schema(contract).field(key).nullable for key in KEYS[contract])


def test_columns_come_in_the_order_and_types_of_the_contract():
    columns = dict(reversed(DOCS.items())) | {"text": pa.array(["x", "y"], pa.large_string())}
    table = check(pa.table(columns), "docs", "here")
    assert table.schema == schema("docs")
    assert table.to_pydict() == DOCS


def test_missing_and_unknown_columns():
    columns = {name: values for name, values in DOCS.items() if name != "text"} | {"extra": [1, 2]}
    assert refused(columns) == "some/file: docs is missing columns ['text'] and has unknown columns ['extra']"


def test_a_null_names_its_row():
    assert refused(DOCS | {"text": ["x", None]}) == "some/file: docs.text is null in row 1"


def test_another_type_names_its_column():
    assert refused(DOCS | {"text": [["x"], ["y"]]}).startswith("some/file: docs.text is not string: ")


def test_a_number_too_large():
    table = pa.table({"query_id": ["q"], "doc_id": ["d"], "relevance": [1 << 40], "split": ["test"]})
    with pytest.raises(ContractError, match=r"qrels\.relevance is not int32"):
        check(table, "qrels", "here")
