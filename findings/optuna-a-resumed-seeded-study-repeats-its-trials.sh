#!/usr/bin/env bash
# A study that is loaded again with the same seeded sampler draws its first trials again: the seed starts the sampler
# anew, whatever the storage holds. Two runs of two random trials try two settings, not four. It matters for a search
# that resumes after a crash: it spends its budget on what it has measured already.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages optuna==4.9.0

python - <<'PYTHON'
import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)


def tried(*runs):
    storage = optuna.storages.InMemoryStorage()
    for trials in runs:
        sampler = optuna.samplers.TPESampler(seed=0)
        study = optuna.create_study(storage=storage, study_name="s", load_if_exists=True, sampler=sampler)
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=trials)
    return [round(trial.params["x"], 4) for trial in study.trials]


whole, resumed = tried(4), tried(2, 2)
print(f"optuna {optuna.__version__}: four trials {whole}; two, then two more with the same seed {resumed}")
assert len(set(whole)) == 4
assert resumed == whole[:2] * 2
PYTHON
