"""The command line's arguments: ``gradret COMMAND CONFIG [key=value ...]``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from gradret.version import VERSION

__all__ = ["MEASURES", "STAGES", "parse"]

# Stages as attributes of gradret.flow.Flow, with their help texts.
STAGES = {
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

MEASURES = "nDCG@10,Recall@100"
"""Default measures for run files."""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse a command line; ``command`` is the name of the function in ``gradret.cli`` that runs it, such as ``stage``.

    Raises:
        SystemExit: wrong usage, with code 2; or help or the version was asked for, with code 0.
    """
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
    run.set_defaults(command="run")
    special = {"search": _search_parser, "evaluate": _evaluate_parser}
    for stage, text in STAGES.items():
        if stage in special:
            special[stage](commands, text)
            continue
        command = commands.add_parser(stage, help=text)
        _add_config(command)
        command.set_defaults(command="check" if stage == "check" else "stage", stage=stage)
    _plan_parser(commands)
    tune = commands.add_parser("tune", help="search over config keys and write the best config")
    _add_config(tune)
    tune.set_defaults(command="tune")
    compare = commands.add_parser("compare", help="compare recipes on the same data over several seeds")
    _add_config(compare)
    compare.set_defaults(command="compare")
    export = commands.add_parser("export", help="export the model for sharing, verified against the run's vectors")
    export.add_argument("run", metavar="RUN", help="the folder of a finished run, STORAGE/runs/NAME")
    export.add_argument("folder", metavar="DIR", help="a new or empty folder")
    export.add_argument("--json", action="store_true", help="print JSON")
    export.set_defaults(command="export")
    agreement = commands.add_parser(
        "agreement", help="measure agreement with human judgments: kappa, rank correlations"
    )
    agreement.add_argument("human", metavar="HUMAN_QRELS", help="human judgments, TREC or BEIR qrels")
    agreement.add_argument("others", nargs="+", metavar="OTHER_QRELS", help="judgments to compare with the human ones")
    agreement.add_argument("--json", action="store_true", help="print JSON")
    agreement.set_defaults(command="agreement")
    submit = commands.add_parser("submit", help="run a config as a job on a Ray cluster and follow its log")
    submit.add_argument("config", metavar="CONFIG", help="a YAML file of a run or of an evaluation, in this folder")
    submit.add_argument("overrides", nargs="*", metavar="key=value", help="such as train.epochs=3")
    submit.add_argument(
        "--address", required=True, metavar="URL", help="the cluster's dashboard: http://127.0.0.1:8265"
    )
    submit.set_defaults(command="submit")
    status = commands.add_parser("status", help="show what a run is doing or how it ended, from its storage")
    status.add_argument("run", metavar="RUN", help="the folder of the run, STORAGE/runs/NAME")
    status.add_argument("--json", action="store_true", help="print JSON")
    status.set_defaults(command="status")
    show = commands.add_parser("show", help="show components: fields, defaults, formulas and sources")
    show.add_argument("kind", nargs="?", help="such as losses")
    show.add_argument("name", nargs="?", help="such as kl")
    show.add_argument("--json", action="store_true", help="print JSON")
    show.set_defaults(command="show")
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
    parser.set_defaults(command="plan")


def _search_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser], text: str) -> None:
    parser = commands.add_parser(
        "search", help=f"{text}; or, given a run folder and a query, search with the tuned model"
    )
    parser.add_argument("config", metavar="CONFIG|RUN", help="a YAML file, or the folder of a finished run")
    parser.add_argument("overrides", nargs="*", metavar="key=value|QUERY", help="overrides, or the query")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command="search", stage="search")


def _evaluate_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser], text: str) -> None:
    parser = commands.add_parser(
        "evaluate", help=f"{text}; or evaluate any models on a list of datasets; or, with --qrels, TREC run files"
    )
    parser.add_argument(
        "config", metavar="CONFIG|RUN", help="a YAML file of a run or of an evaluation; with --qrels, a run file"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value|RUN", help="overrides; with --qrels, more run files")
    parser.add_argument("--qrels", metavar="QRELS", help="compare run files by these judgments, TREC or BEIR qrels")
    parser.add_argument("--measures", help=f"measures for run files, separated by commas (default: {MEASURES})")
    parser.add_argument(
        "--one-sided",
        action="store_true",
        help="test whether a run is better than the first, rather than different",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command="evaluate", stage="evaluate")
