#!/usr/bin/env bash
# MedianPruner compares the median of other trials at a step with the best value that the trial has reported up to that
# step, not with its present one: a trial that had one good early value is never pruned, however far it falls. It
# matters for learning rates that start well and diverge.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages optuna==4.9.0

python - <<'PYTHON'
import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)


def states(curve):
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(n_startup_trials=1))

    def objective(trial):
        for step, value in enumerate([0.5, 0.5, 0.5] if trial.number == 0 else curve):
            trial.report(value, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return value

    study.optimize(objective, n_trials=2)
    return study.trials[1].state.name, study.trials[1].value


falls, low = states([0.9, 0.1, 0.01]), states([0.4, 0.1, 0.01])
print(
    f"optuna {optuna.__version__}: beside a trial that reports 0.5 at each step, one that reports 0.9, 0.1, 0.01 ends {falls}"
)
print(f"  one that reports 0.4, 0.1, 0.01 ends {low}")
assert falls == ("COMPLETE", 0.01) and low == ("PRUNED", 0.4)
PYTHON
