"""A name's folder is never overwritten by another config."""

import pytest

from gradret.config.evaluation import load_evaluation
from gradret.config.loading import parse, to_yaml
from gradret.errors import ConfigError
from gradret.report.folder import results_folder
from gradret.report.run import report
from gradret.store.storage import storage_folder


@pytest.fixture
def config(tmp_path):
    return lambda **blocks: parse(
        {"name": "t", "storage_path": str(tmp_path / "storage"), "dataset": "pydocs"} | blocks
    )


def test_the_same_config_writes_again_and_another_is_refused(config):
    folder = report(config(seed=1), {})
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert report(config(seed=1), {}) == results_folder(config(seed=1), "runs") == folder
    for call in (lambda: results_folder(config(seed=2), "runs"), lambda: report(config(seed=2), {})):
        with pytest.raises(ConfigError) as caught:
            call()
        assert str(caught.value) == (
            f"name: {folder} holds the results of another config (seed was 1, is 2); choose another name, such as "
            "name=t-2, or delete that folder; stages that are done are reused"
        )
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert report(config(seed=2, name="t-2"), {}) != folder


def test_what_decides_no_result_may_differ(config, tmp_path):
    folder = report(config(), {})
    other = {
        "train": {"resources": {"num_workers": 2}},
        "compare": {"recipes": {"a": [], "b": ["seed=1"]}},
        "tune": {"trials": 3},
    }
    assert results_folder(config(**other), "runs") == folder
    moved = (tmp_path / "storage").rename(tmp_path / "moved")
    assert results_folder(config(storage_path=str(moved)), "runs") == moved / "runs" / "t"


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        ({"train": {"loss": ["kl"]}}, "train.loss[1].name was infonce, is absent"),
        ({"check": {"queries": 5, "stop": False}, "seed": 3, "search": {"k": 7}}, ", and 1 more)"),
        ({"dataset": {"name": "beir", "path": "d"}}, "dataset.name was pydocs, is beir"),
        ({"generate": {"generator": {"queries": 7}}}, "generate.generator.queries was "),
    ],
)
def test_any_setting_that_decides_a_result_counts(config, blocks, said):
    folder = results_folder(config(), "runs")
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(to_yaml(config(train={"loss": ["kl", "infonce"]})))
    with pytest.raises(ConfigError) as caught:
        results_folder(config(**{"train": {"loss": ["kl", "infonce"]}} | blocks), "runs")
    assert said in str(caught.value)


def test_a_folder_whose_config_cannot_be_read_is_kept(config):
    folder = results_folder(config(), "runs")
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("[")
    with pytest.raises(ConfigError, match=r"holds other results, and .* is not valid YAML"):
        results_folder(config(), "runs")


def test_kinds_are_apart_and_evaluations_count_too(config, tmp_path):
    results_folder(config(), "comparisons").mkdir(parents=True)
    assert not results_folder(config(), "searches").exists()
    text = "name: e\nstorage_path: {}\ndatasets: {{a: pydocs}}\nsystems: {{b: {{bm25: true}}}}\nseed: {}\n"
    path = tmp_path / "e.yaml"
    path.write_text(text.format(tmp_path, 1))
    one = load_evaluation(path)
    folder = results_folder(one, "evaluations")
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(to_yaml(one))
    assert results_folder(one, "evaluations") == folder
    with pytest.raises(ConfigError, match="seed was 1, is 2"):
        results_folder(load_evaluation(path, ["seed=2"]), "evaluations")


@pytest.mark.parametrize(
    "path", ["{}/file", "{}/file/below", "{}/loop", "{}/dangling", "/proc/nowhere", "{}/" + "x" * 300]
)
def test_a_storage_that_cannot_be_made(path, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to("/proc/nowhere")
    with pytest.raises(ConfigError, match=r"^storage_path: /.* cannot be created: .+; choose another folder$"):
        storage_folder(path.format(tmp_path))
