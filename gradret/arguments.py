"""The command line's arguments: ``gradret COMMAND CONFIG [key=value ...]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from gradret.components import unknown
from gradret.version import VERSION

__all__ = ["FORMATS", "MEASURES", "STAGES", "parse"]

# Stages as attributes of gradret.flow.Flow, with their help texts.
STAGES = {
    "ingest": "read the dataset's documents",
    "queries": "read the dataset's queries and judgments",
    "cut": "cut long documents into passages",
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

FORMATS = ("model", "onnx", "flagembedding", "tevatron", "sentence-transformers", "hf")
"""Forms of ``gradret export``: the model for sentence-transformers or onnxruntime, and the training lists."""

MEASURES = "nDCG@10,Recall@100"
"""Default measures for run files."""

_FILES = {"CONFIG", "RUN", "DIR", "FILE", "FOLDER", "QRELS", "HUMAN_QRELS", "OTHER_QRELS"}
"""Names in help texts of arguments that are files or folders."""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse a command line; ``command`` is the name of the function in ``gradret.cli`` that runs it, such as ``stage``.

    Raises:
        SystemExit: wrong usage, with code 2; or help or the version was asked for, with code 0.
    """
    parser = _parser()
    _suggest_command(parser, sys.argv[1:] if arguments is None else arguments)
    parsed, rest = parser.parse_known_args(arguments)
    # argparse does not accept key=value after a flag.
    if any(word.startswith("-") for word in rest) or (rest and not hasattr(parsed, "overrides")):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        parsed.overrides += rest
    return parsed


class _PrintCompletion(argparse.Action):
    """Print a completion script for a shell and exit."""

    def __call__(self, parser: argparse.ArgumentParser, *values: Any) -> None:
        import shtab

        (commands,) = (action.choices for action in parser._actions if isinstance(action.choices, dict))  # noqa: SLF001
        for action in (action for command in commands.values() for action in command._actions):  # noqa: SLF001
            if _FILES & set(str(action.metavar).split("|")):
                action.complete = shtab.FILE
        print(shtab.complete(parser, values[1]))
        parser.exit(0)


def _suggest_command(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> None:
    """End with a near name, where argparse would list all commands."""
    commands = [name for action in parser._actions if isinstance(action.choices, dict) for name in action.choices]  # noqa: SLF001
    if arguments and not arguments[0].startswith("-") and arguments[0] not in commands:
        parser.error(unknown(arguments[0], commands, "a command"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gradret", description="Turn a corpus into a dense retriever specialised to it."
    )
    parser.add_argument("--version", action="version", version=f"gradret {VERSION}")
    parser.add_argument(
        "--print-completion",
        choices=("bash", "zsh", "tcsh"),
        action=_PrintCompletion,
        help='print a script that completes commands in this shell: eval "$(gradret --print-completion bash)"',
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run all stages, reusing finished ones")
    _add_config(run)
    run.add_argument("--dry-run", action="store_true", help="only check that it could run, as gradret doctor does")
    run.set_defaults(command="run")
    special = {"search": _search_parser, "evaluate": _evaluate_parser, "report": _report_parser}
    for stage, text in STAGES.items():
        if stage in special:
            special[stage](commands, text)
            continue
        command = commands.add_parser(stage, help=text)
        _add_config(command)
        command.set_defaults(command="check" if stage == "check" else "stage", stage=stage)
    doctor = commands.add_parser("doctor", help="look for what would fail a run, on every node, before it costs")
    doctor.add_argument("config", nargs="?", metavar="CONFIG", help="a YAML file; without one, only the machines")
    doctor.add_argument("overrides", nargs="*", metavar="key=value", help="such as train.epochs=3")
    _add_json(doctor)
    doctor.set_defaults(command="doctor")
    _plan_parser(commands)
    _train_teacher_parser(commands)
    tune = commands.add_parser("tune", help="search over config keys and write the best config")
    _add_config(tune)
    tune.set_defaults(command="tune")
    compare = commands.add_parser("compare", help="compare recipes on the same data over several seeds")
    _add_config(compare)
    compare.set_defaults(command="compare")
    _export_parsers(commands)
    agreement = commands.add_parser(
        "agreement", help="measure agreement with human judgments: kappa, rank correlations"
    )
    agreement.add_argument("human", metavar="HUMAN_QRELS", help="human judgments, TREC or BEIR qrels")
    agreement.add_argument("others", nargs="+", metavar="OTHER_QRELS", help="judgments to compare with the human ones")
    _add_json(agreement)
    agreement.set_defaults(command="agreement")
    submit = commands.add_parser("submit", help="run a config as a job on a Ray cluster and follow its log")
    submit.add_argument("config", metavar="CONFIG", help="a YAML file of a run or of an evaluation, in this folder")
    submit.add_argument("overrides", nargs="*", metavar="key=value", help="such as train.epochs=3")
    submit.add_argument(
        "--address", required=True, metavar="URL", help="the cluster's dashboard: http://127.0.0.1:8265"
    )
    submit.set_defaults(command="submit")
    status = commands.add_parser("status", help="show what a run is doing or how it ended, from its storage")
    status.add_argument("run", metavar="RUN", help="the folder of the run, STORAGE/runs/NAME, or its URL")
    _add_json(status)
    status.set_defaults(command="status")
    _serve_parser(commands)
    _help_parsers(commands)
    return parser


def _train_teacher_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("train-teacher", help="train a cross-encoder on the lists, to be a teacher")
    _add_config(parser)
    parser.set_defaults(command="stage", stage="train_teacher")


def _export_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    export = commands.add_parser(
        "export", help="export the model, verified against the run's vectors, or the training lists"
    )
    _add_run(export)
    export.add_argument("folder", metavar="DIR", help="a new or empty folder")
    export.add_argument("--format", choices=FORMATS, default="model", help="what to write (default: %(default)s)")
    _add_json(export)
    export.set_defaults(command="export")
    push = commands.add_parser("push", help="export the model, verify it and upload it to the Hugging Face Hub")
    _add_run(push)
    push.add_argument("repo_id", metavar="REPO_ID", help="NAMESPACE/NAME, made if it does not exist")
    push.add_argument("--private", action="store_true", help="make a private repository, and upload to no other")
    _add_json(push)
    push.set_defaults(command="push")


def _serve_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("serve", help="search a finished run over HTTP, in a page or as JSON")
    _add_run(parser)
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at; any but loopback requires a token (default: %(default)s)",
    )
    parser.add_argument("--port", type=_port, default=8000, metavar="N", help="port (default: %(default)s)")
    parser.add_argument(
        "--replicas", type=_count, default=1, metavar="N", help="processes that search (default: %(default)s)"
    )
    parser.add_argument(
        "--client-rate",
        type=_count,
        default=20,
        metavar="N",
        help="requests a second of a client (default: %(default)s)",
    )
    parser.add_argument(
        "--total-rate", type=_count, default=200, metavar="N", help="requests a second of all (default: %(default)s)"
    )
    parser.set_defaults(command="serve")


def _help_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    init = commands.add_parser("init", help="write a commented config for a folder of documents")
    init.add_argument(
        "folder", metavar="FOLDER", help="a folder of documents, or one CSV, TSV, JSON lines or Parquet file"
    )
    init.add_argument("--output", metavar="FILE", help="the config to write (default: NAME.yaml, after the folder)")
    _add_json(init)
    init.set_defaults(command="init")
    show = commands.add_parser("show", help="show components and config keys: types, defaults, formulas and sources")
    show.add_argument("kind", nargs="?", help="such as losses, or a config key such as train.learning_rate")
    show.add_argument("name", nargs="?", help="such as kl")
    _add_json(show)
    show.set_defaults(command="show")


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="the folder of a finished run, STORAGE/runs/NAME, or its URL")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", help="a YAML file")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="such as train.epochs=3")
    parser.add_argument(
        "--json", action="store_true", help="print JSON; of run and of a stage, an event a line: start, progress, ..."
    )
    _add_output(parser)


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("-q", "--quiet", action="store_true", help="print warnings, errors and the result only")
    group.add_argument(
        "-v", "--verbose", action="store_true", help="print every artifact too: its counts, folder and settings"
    )


def _plan_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("plan", help="estimate time, memory, disk and price of every stage")
    _add_config(parser)
    parser.add_argument(
        "--probe", action="store_true", help="send about 64 prompts per stage to the real engine and extrapolate"
    )
    parser.add_argument("--gpu", default="H100", help="GPU type that models run on (default: %(default)s)")
    parser.add_argument(
        "--prices", metavar="FILE", help="YAML: gpu_hour, cpu_hour, million_tokens_in, million_tokens_out"
    )
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
        "search", help=f"{text}; or, given a run folder, search it for a query, or for those that you type"
    )
    parser.add_argument("config", metavar="CONFIG|RUN", help="a YAML file, or the folder of a finished run")
    parser.add_argument("overrides", nargs="*", metavar="key=value|WORD", help="overrides, or the words of the query")
    parser.add_argument("--top", type=_count, default=10, metavar="N", help="documents to show (default: %(default)s)")
    parser.add_argument("--compare", action="store_true", help="show the tuned model, the base model and BM25")
    _add_json(parser)
    _add_output(parser)
    parser.set_defaults(command="search", stage="search")


def _report_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser], text: str) -> None:
    parser = commands.add_parser(
        "report", help=f"{text}; or, given folders of finished runs, write one again or several side by side"
    )
    parser.add_argument("config", metavar="CONFIG|RUN", help="a YAML file, or the folder of a finished run")
    parser.add_argument("overrides", nargs="*", metavar="key=value|RUN", help="overrides, or more runs")
    parser.add_argument(
        "--output", metavar="FILE", default="runs.html", help="the page of several runs (default: %(default)s)"
    )
    _add_json(parser)
    _add_output(parser)
    parser.set_defaults(command="report", stage="report")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"expected a number from 1, got {text!r}")
    return int(text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:9]) < 1 << 16):
        raise argparse.ArgumentTypeError(f"expected a port from 1 to 65535, got {text!r}")
    return int(text)


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
    _add_json(parser)
    _add_output(parser)
    parser.set_defaults(command="evaluate", stage="evaluate")
