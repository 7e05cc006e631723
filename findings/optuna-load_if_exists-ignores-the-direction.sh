#!/usr/bin/env bash
# create_study(load_if_exists=True, direction="maximize") returns a stored study as it is: where that one minimises, so
# does the search, without a warning. It matters when the measure of a search changes from a loss to nDCG under the
# same study name: the worst setting is reported as the best.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages optuna==4.9.0

python - <<'PYTHON'
import warnings
import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)
storage = optuna.storages.InMemoryStorage()
optuna.create_study(storage=storage, study_name="search", direction="minimize")
with warnings.catch_warnings():
    warnings.simplefilter("error")
    study = optuna.create_study(storage=storage, study_name="search", direction="maximize", load_if_exists=True)
study.optimize(lambda trial: trial.suggest_categorical("ndcg", [0.1, 0.9]), n_trials=12)
print(
    f"optuna {optuna.__version__}: asked for maximize, direction {study.direction.name}, best value of 0.1 and 0.9: {study.best_value}"
)
assert study.direction.name == "MINIMIZE" and study.best_value == 0.1
PYTHON
