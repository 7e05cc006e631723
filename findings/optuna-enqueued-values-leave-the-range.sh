#!/usr/bin/env bash
# A value given to enqueue_trial is used even where it lies outside the range that the objective then asks for:
# suggest_float("x", 0, 1) returns 50.0, with no more than a warning, and the study can report it as the best. It
# matters when earlier good settings are enqueued into a search whose ranges have been narrowed.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages optuna==4.9.0

python - <<'PYTHON'
import warnings
import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.create_study(direction="maximize")
study.enqueue_trial({"x": 50.0})
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
print(f"optuna {optuna.__version__}: best of suggest_float('x', 0, 1) after enqueue_trial(x=50): {study.best_params}")
print(f"  warned: {[str(warning.message) for warning in caught]}")
assert study.best_params == {"x": 50.0}
PYTHON
