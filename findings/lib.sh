# Sourced by every finding. `packages NAME==VERSION ...` moves to a new temporary folder, removed at exit,
# and puts a virtual environment with exactly these packages first on PATH.
packages() {
  unset PYTHONPATH PYTHONHOME
  folder=$(mktemp -d)
  trap 'cd / && rm -rf "$folder"' EXIT
  cd "$folder"
  "${PYTHON:-python3}" -m venv venv
  PATH="$folder/venv/bin:$PATH"
  python -m pip install --quiet --quiet --disable-pip-version-check "$@"
}
