"""The command line: ``gradret COMMAND CONFIG [key=value ...]``."""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from gradret.errors import ConfigError, GradretError
from gradret.progress import printable, say
from gradret.version import VERSION
from gradret.work.signals import Terminated, raised_signals

__all__ = ["main"]

T = TypeVar("T")

# Stages as attributes of gradret.flow.Flow, with their help texts.
_STAGES = {
    "ingest": "read the dataset's documents",
    "queries": "read the dataset's queries and judgments",
    "dedupe": "choose the documents to write queries about",
    "generate": "write queries about documents",
    "check": "check that the teacher outranks the student before labelling",
    "leaks": "find training queries that nearly duplicate a test query",
    "mine": "choose the documents that the teacher grades for each query",
    "label": "score every pair with the teacher",
    "select": "turn scored pairs into training lists",
    "base": "build the model before training",
    "train": "train the model on the lists",
    "index": "encode the documents and build the FAISS index",
    "search": "retrieve documents for the test queries with every system",
    "evaluate": "compute the measures of every system",
    "report": "write the run's report",
}

_MEASURES = "nDCG@10,Recall@100"
"""Default measures for run files."""

# Errors of the file system that a user can mend, such as a full disk or missing permissions: print no traceback.
_STORAGE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0 for success, 2 for wrong usage, config or data, 130 or 143 for a signal, else 1."""
    parsed = _parse(arguments)
    try:
        with raised_signals():
            status: int = parsed.command(parsed)
        sys.stdout.flush()
    except GradretError as error:
        say(f"gradret: {error}")
        return error.exit_code
    except KeyboardInterrupt as interruption:
        say("gradret: interrupted; run the same command again to resume")
        return 143 if isinstance(interruption, Terminated) else 130
    except BrokenPipeError:
        # The reader of the output has exited; without this, Python fails to flush stdout on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except OSError as error:
        if error.errno not in _STORAGE_ERRORS:
            raise
        say(f"gradret: {error}")
        return 2
    return status


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    parsed, rest = parser.parse_known_args(arguments)
    # argparse does not accept key=value after a flag.
    if any(word.startswith("-") for word in rest) or (rest and not hasattr(parsed, "overrides")):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        parsed.overrides += rest
    return parsed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gradret", description="Turn a corpus into a dense retriever specialised to it."
    )
    parser.add_argument("--version", action="version", version=f"gradret {VERSION}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run all stages, reusing finished ones")
    _add_config(run)
    run.set_defaults(command=_run)
    special = {"search": _search_parser, "evaluate": _evaluate_parser}
    for stage, text in _STAGES.items():
        if stage in special:
            special[stage](commands, text)
            continue
        command = commands.add_parser(stage, help=text)
        _add_config(command)
        command.set_defaults(command=_check if stage == "check" else _stage, stage=stage)
    _plan_parser(commands)
    tune = commands.add_parser("tune", help="search over config keys and write the best config")
    _add_config(tune)
    tune.set_defaults(command=_tune)
    compare = commands.add_parser("compare", help="compare recipes on the same data over several seeds")
    _add_config(compare)
    compare.set_defaults(command=_compare)
    export = commands.add_parser("export", help="export the model for sharing, verified against the run's vectors")
    export.add_argument("run", metavar="RUN", help="the folder of a finished run, STORAGE/runs/NAME")
    export.add_argument("folder", metavar="DIR", help="a new or empty folder")
    export.add_argument("--json", action="store_true", help="print JSON")
    export.set_defaults(command=_export)
    agreement = commands.add_parser(
        "agreement", help="measure agreement with human judgments: kappa, rank correlations"
    )
    agreement.add_argument("human", metavar="HUMAN_QRELS", help="human judgments, TREC or BEIR qrels")
    agreement.add_argument("others", nargs="+", metavar="OTHER_QRELS", help="judgments to compare with the human ones")
    agreement.add_argument("--json", action="store_true", help="print JSON")
    agreement.set_defaults(command=_agreement)
    show = commands.add_parser("show", help="show components: fields, defaults, formulas and sources")
    show.add_argument("kind", nargs="?", help="such as losses")
    show.add_argument("name", nargs="?", help="such as kl")
    show.add_argument("--json", action="store_true", help="print JSON")
    show.set_defaults(command=_show)
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", help="a YAML file")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="such as train.epochs=3")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _plan_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("plan", help="estimate the cost of the stages that use a language model")
    _add_config(parser)
    parser.add_argument(
        "--probe", action="store_true", help="send about 64 prompts per stage to the real engine and extrapolate"
    )
    parser.add_argument("--gpu", default="H100", help="GPU type that the engines run on (default: %(default)s)")
    parser.add_argument("--parameters", type=float, metavar="N", help="number of model parameters, such as 8e9")
    parser.add_argument(
        "--tokens-in-per-second", type=float, metavar="N", help="prompt tokens per second of one engine"
    )
    parser.add_argument(
        "--tokens-out-per-second", type=float, metavar="N", help="generated tokens per second of one engine"
    )
    parser.set_defaults(command=_plan)


def _search_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser], text: str) -> None:
    parser = commands.add_parser(
        "search", help=f"{text}; or, given a run folder and a query, search with the tuned model"
    )
    parser.add_argument("config", metavar="CONFIG|RUN", help="a YAML file, or the folder of a finished run")
    parser.add_argument("overrides", nargs="*", metavar="key=value|QUERY", help="overrides, or the query")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=_search, stage="search")


def _evaluate_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser], text: str) -> None:
    parser = commands.add_parser(
        "evaluate", help=f"{text}; or evaluate any models on a list of datasets; or, with --qrels, TREC run files"
    )
    parser.add_argument(
        "config", metavar="CONFIG|RUN", help="a YAML file of a run or of an evaluation; with --qrels, a run file"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value|RUN", help="overrides; with --qrels, more run files")
    parser.add_argument("--qrels", metavar="QRELS", help="compare run files by these judgments, TREC or BEIR qrels")
    parser.add_argument("--measures", help=f"measures for run files, separated by commas (default: {_MEASURES})")
    parser.add_argument(
        "--one-sided",
        action="store_true",
        help="test whether a run is better than the first, rather than different",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=_evaluate, stage="evaluate")


def _run(parsed: argparse.Namespace) -> int:
    import gradret
    from gradret.report.tables import terminal_table

    folder = gradret.run(gradret.load(parsed.config, parsed.overrides))
    return _print_result(parsed, folder / "metrics.json", lambda data: f"{terminal_table(data)}\n\n{_report(folder)}")


def _print_result(parsed: argparse.Namespace, file: Path, text: Callable[[Any], str]) -> int:
    """Print the result that a command wrote to ``file``, as JSON or as text."""
    data = json.loads(file.read_text(encoding="utf-8"))
    _print(json.dumps(data, indent=2) if parsed.json else text(data))
    return 0


def _print(text: str) -> None:
    print(printable(text), flush=True)


def _work(command: Callable[[], T]) -> T:
    """Run a command in a session of Ray; artifacts that it finds damaged are computed again."""
    from gradret.store.repair import repaired
    from gradret.work.session import session

    with session():
        return repaired(command)


def _report(folder: Path) -> str:
    return f"report: {folder / 'report.html'}"


def _stage(parsed: argparse.Namespace) -> int:
    import gradret
    from gradret.flow import Flow

    config = gradret.load(parsed.config, parsed.overrides)
    output = _work(lambda: getattr(Flow(config), parsed.stage))
    artifacts = output if isinstance(output, dict) else {parsed.stage: output}
    paths = {name: str(getattr(artifact, "path", artifact)) for name, artifact in artifacts.items()}
    _print(json.dumps(paths, indent=2) if parsed.json else "\n".join(paths.values()))
    return 0


def _check(parsed: argparse.Namespace) -> int:
    import gradret
    from gradret.flow import Flow
    from gradret.report.check import terminal_text
    from gradret.stages.verdict import as_data, require

    config = gradret.load(parsed.config, parsed.overrides)
    artifact = _work(lambda: Flow(config).check)
    _print(json.dumps(as_data(artifact), indent=2) if parsed.json else terminal_text(artifact))
    require(config, artifact)
    return 0


def _compare(parsed: argparse.Namespace) -> int:
    import gradret
    from gradret.commands.compare import compare
    from gradret.report.recipes import terminal_text

    config = gradret.load(parsed.config, parsed.overrides)
    folder = _work(lambda: compare(config))
    return _print_result(parsed, folder / "comparison.json", lambda data: f"{terminal_text(data)}\n\n{_report(folder)}")


def _tune(parsed: argparse.Namespace) -> int:
    import gradret
    from gradret.commands.tune import terminal_text, tune

    config = gradret.load(parsed.config, parsed.overrides)
    folder = _work(lambda: tune(config))
    next_command = f"gradret run {folder / 'best.yaml'}"
    return _print_result(parsed, folder / "search.json", lambda data: f"{terminal_text(data)}\n\n{next_command}")


def _plan(parsed: argparse.Namespace) -> int:
    import gradret
    from gradret.commands.plan import PlanOptions, plan
    from gradret.planning.text import as_text

    config = gradret.load(parsed.config, parsed.overrides)
    options = PlanOptions(parsed.gpu, parsed.parameters, parsed.tokens_in_per_second, parsed.tokens_out_per_second)
    estimate = _work(lambda: plan(config, options, with_probe=parsed.probe))
    _print(json.dumps(estimate, indent=2) if parsed.json else as_text(estimate))
    return 0


def _search(parsed: argparse.Namespace) -> int:
    run = Path(parsed.config)
    if not run.is_dir():
        return _stage(parsed)
    from gradret.commands.lookup import lookup

    if len(parsed.overrides) != 1:
        raise ConfigError('expected one query: gradret search RUN "query"')
    hits = lookup(run, parsed.overrides[0])
    if parsed.json:
        _print(json.dumps(hits, indent=2))
        return 0
    for hit in hits:
        _print(f"{hit['rank']:>3}  {hit['score']:.4f}  {hit['doc_id']}  {hit['title']}\n     {hit['text'][:160]}")
    return 0


def _evaluate(parsed: argparse.Namespace) -> int:
    from gradret.config.evaluation import is_evaluation

    if parsed.qrels:
        return _compare_runs(parsed)
    if parsed.measures or parsed.one_sided:
        raise ConfigError("--measures and --one-sided require --qrels; a config sets evaluate.measures, evaluate.test")
    return _evaluation(parsed) if is_evaluation(parsed.config) else _stage(parsed)


def _evaluation(parsed: argparse.Namespace) -> int:
    from gradret.commands.evaluate import run_evaluation
    from gradret.config.evaluation import load_evaluation
    from gradret.report.comparison import terminal_text

    evaluation = load_evaluation(parsed.config, parsed.overrides)
    folder, table = _work(lambda: run_evaluation(evaluation))
    return _print_result(parsed, folder / "metrics.json", lambda _: f"{terminal_text(table)}\n\n{_report(folder)}")


def _compare_runs(parsed: argparse.Namespace) -> int:
    from gradret.commands.run_files import compare_runs
    from gradret.report.comparison import as_data, terminal_text

    runs = [parsed.config, *parsed.overrides]
    measures = re.split(r",(?![^(]*\))", parsed.measures or _MEASURES)
    comparison = compare_runs(parsed.qrels, runs, measures, "one-sided" if parsed.one_sided else "two-sided")
    text = "\n".join([terminal_text(comparison.table), *comparison.remarks])
    data = {**as_data(comparison.table), "counts": comparison.counts}
    _print(json.dumps(data, indent=2) if parsed.json else text)
    return 0


def _export(parsed: argparse.Namespace) -> int:
    from gradret.commands.export import export

    folder = str(export(parsed.run, parsed.folder))
    _print(json.dumps({"model": folder}, indent=2) if parsed.json else folder)
    return 0


def _agreement(parsed: argparse.Namespace) -> int:
    from dataclasses import asdict

    from gradret.stats.agreement import compare, terminal_text

    agreements = compare(parsed.human, parsed.others)
    data = {file: asdict(measured) for file, measured in agreements.items()}
    _print(json.dumps(data, indent=2) if parsed.json else terminal_text(agreements))
    return 0


def _show(parsed: argparse.Namespace) -> int:
    from gradret.commands.show import describe

    description = describe(parsed.kind, parsed.name)
    _print(json.dumps(description.data, indent=2) if parsed.json else description.text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
