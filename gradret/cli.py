"""The command line: ``gradret COMMAND CONFIG [key=value ...]``."""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from gradret.arguments import MEASURES, parse
from gradret.errors import ConfigError, GradretError
from gradret.progress import emit, printable, say, set_output
from gradret.work.signals import Terminated, raised_signals

__all__ = ["main", "main_of_process"]

T = TypeVar("T")

# Errors of the file system that a user can mend, such as a full disk or missing permissions: print no traceback.
_STORAGE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}

_INTERRUPTED = {130, 143}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0 for success, 2 for wrong usage, config or data, 130 or 143 for a signal, else 1."""
    parsed = parse(arguments)
    _set_output(parsed, events=False)
    try:
        with raised_signals():
            status = _COMMANDS[parsed.command](parsed)
        sys.stdout.flush()
    except GradretError as error:
        _say_error(f"gradret: {error}")
        return error.exit_code
    except KeyboardInterrupt as interruption:
        _say_error("gradret: interrupted; run the same command again to resume")
        return 143 if isinstance(interruption, Terminated) else 130
    except BrokenPipeError:
        # The reader of the output has exited; without this, Python fails to flush stdout on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except OSError as error:
        if error.errno not in _STORAGE_ERRORS:
            raise
        _say_error(f"gradret: {error}")
        return 2
    return status


def main_of_process() -> NoReturn:
    """Run a command and end the process with its exit code."""
    status = main()
    if status in _INTERRUPTED:
        # Ray's core, interrupted while it starts, can crash at the interpreter's end.
        sys.stdout.flush()
        os._exit(status)
    raise SystemExit(status)


def _run(parsed: argparse.Namespace) -> int:
    import gradret
    from gradret.urls import shown

    if parsed.dry_run:
        return _doctor(parsed)
    _set_output(parsed, events=parsed.json)
    run = gradret.run(gradret.load(parsed.config, parsed.overrides))
    if parsed.json:
        emit("result", report=shown(run.report), metrics=run.metrics)
    else:
        _print(f"{run}\n\n{_report(run.folder)}")
    return 0


def _set_output(parsed: argparse.Namespace, *, events: bool) -> None:
    set_output(quiet=getattr(parsed, "quiet", False), verbose=getattr(parsed, "verbose", False), events=events)


def _say_error(text: str) -> None:
    emit("error", message=text)
    say(text, "warning")


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
    from gradret.urls import shown

    return f"report: {shown(folder / 'report.html')}"


def _stage(parsed: argparse.Namespace) -> int:
    import gradret
    from gradret.flow import Flow
    from gradret.urls import shown

    config = gradret.load(parsed.config, parsed.overrides)
    _set_output(parsed, events=parsed.json)
    output = _work(lambda: getattr(Flow(config), parsed.stage))
    artifacts = output if isinstance(output, dict) else {parsed.stage: output}
    paths = {name: shown(Path(str(getattr(artifact, "path", artifact)))) for name, artifact in artifacts.items()}
    if parsed.json:
        emit("result", artifacts=paths)
    else:
        _print("\n".join(paths.values()))
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
    ending = f"{_report(folder)}\ngradret run {folder / 'best.yaml'}"
    return _print_result(parsed, folder / "search.json", lambda data: f"{terminal_text(data)}\n\n{ending}")


def _plan(parsed: argparse.Namespace) -> int:
    import gradret
    from gradret.commands.plan import PlanOptions, plan
    from gradret.config.loading import load_as
    from gradret.planning.stages import Prices
    from gradret.planning.text import as_text

    config = gradret.load(parsed.config, parsed.overrides)
    options = PlanOptions(parsed.gpu, parsed.parameters, parsed.tokens_in_per_second, parsed.tokens_out_per_second)
    prices = load_as(Prices, parsed.prices) if parsed.prices else None
    estimate = _work(lambda: plan(config, options, with_probe=parsed.probe, prices=prices))
    _print(json.dumps(estimate, indent=2) if parsed.json else as_text(estimate))
    return 0


def _doctor(parsed: argparse.Namespace) -> int:
    from dataclasses import asdict

    import gradret
    from gradret.commands.doctor import doctor
    from gradret.work.session import session

    config = gradret.load(parsed.config, parsed.overrides) if parsed.config else None
    with session():
        findings = doctor(config)
    lines = "\n".join(finding.line for finding in findings)
    _print(json.dumps([asdict(finding) for finding in findings], indent=2) if parsed.json else lines)
    return int(any(finding.level == "fault" for finding in findings))


def _search(parsed: argparse.Namespace) -> int:
    from gradret.urls import is_url, local_path

    run = local_path(parsed.config)
    if not (is_url(parsed.config) or run.is_dir()):
        return _stage(parsed)
    from gradret.commands.ask import ask

    ask(run, " ".join(parsed.overrides), k=parsed.top, compare=parsed.compare, as_json=parsed.json)
    return 0


def _pages(parsed: argparse.Namespace) -> int:
    """The stage ``report``; or, for folders of runs, their pages."""
    from gradret.urls import is_url, local_path, shown

    runs = [local_path(run) for run in (parsed.config, *parsed.overrides)]
    if not (is_url(parsed.config) or runs[0].is_dir()):
        return _stage(parsed)
    from gradret.commands.report_runs import report_again, report_side_by_side

    page = report_again(*runs) if len(runs) == 1 else report_side_by_side(runs, Path(parsed.output))
    _print(json.dumps({"report": shown(page)}, indent=2) if parsed.json else f"report: {shown(page)}")
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
    measures = re.split(r",(?![^(]*\))", parsed.measures or MEASURES)
    comparison = compare_runs(parsed.qrels, runs, measures, "one-sided" if parsed.one_sided else "two-sided")
    text = "\n".join([terminal_text(comparison.table), *comparison.remarks])
    data = {**as_data(comparison.table), "counts": comparison.counts}
    _print(json.dumps(data, indent=2) if parsed.json else text)
    return 0


def _export(parsed: argparse.Namespace) -> int:
    from gradret.commands.export import export

    folder = str(export(parsed.run, parsed.folder, parsed.format))
    _print(json.dumps({parsed.format: folder}, indent=2) if parsed.json else folder)
    return 0


def _push(parsed: argparse.Namespace) -> int:
    from gradret.commands.push import push

    url = push(parsed.run, parsed.repo_id, private=parsed.private)
    _print(json.dumps({"url": url}, indent=2) if parsed.json else url)
    return 0


def _init(parsed: argparse.Namespace) -> int:
    from gradret.commands.init import init

    path = init(Path(parsed.folder), Path(parsed.output) if parsed.output else None)
    text = f"{path}\n\ngradret run {shlex.quote(str(path))}"
    _print(json.dumps({"config": str(path)}, indent=2) if parsed.json else text)
    return 0


def _status(parsed: argparse.Namespace) -> int:
    from dataclasses import asdict

    from gradret.commands.status import status

    found = status(parsed.run)
    _print(json.dumps(asdict(found), indent=2) if parsed.json else found.text)
    return 0


def _serve(parsed: argparse.Namespace) -> int:
    from gradret.serving.server import Options, serve
    from gradret.urls import local_path

    options = Options(parsed.host, parsed.port, parsed.replicas, parsed.client_rate, parsed.total_rate)
    serve(local_path(parsed.run), options)
    return 0


def _submit(parsed: argparse.Namespace) -> int:
    from gradret.commands.submit import submit

    return submit(parsed.config, parsed.overrides, parsed.address)


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


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "agreement": _agreement,
    "check": _check,
    "compare": _compare,
    "doctor": _doctor,
    "evaluate": _evaluate,
    "export": _export,
    "init": _init,
    "plan": _plan,
    "push": _push,
    "report": _pages,
    "run": _run,
    "search": _search,
    "serve": _serve,
    "show": _show,
    "stage": _stage,
    "status": _status,
    "submit": _submit,
    "tune": _tune,
}
"""Functions by ``command`` of the parsed arguments."""


if __name__ == "__main__":
    main_of_process()
