"""Versions that differ between the driver and the nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gradret.doctor.facts import PACKAGES
from gradret.doctor.finding import Finding, all_well
from gradret.doctor.nodes import DRIVER, Machine

__all__ = ["versions"]

_MUST_AGREE = {"gradret", "ray"}
_FIX = "install the same versions on all machines, or use one image for all"


def versions(driver: Machine, nodes: Sequence[Machine]) -> list[Finding]:
    """Compare the versions of every node with the driver's; builds (``+cu130``) may differ."""
    told = driver.facts["versions"]
    known = ", ".join(f"{name} {version}" for name, version in told.items())
    missing = [name for name in sorted(_MUST_AGREE) if name not in told]
    findings = [Finding("fault", "versions", f"{DRIVER} has no {name}", _FIX) for name in missing]
    for node in nodes:
        findings += _differences(driver, node)
    on = f"driver and {len(nodes)} node{'s' * (len(nodes) != 1)}: "
    return all_well("versions", findings, f"{on if nodes else ''}{known}")


def _differences(driver: Machine, node: Machine) -> Iterator[Finding]:
    ours, theirs = driver.facts["versions"], node.facts["versions"]
    for name in ("python", *PACKAGES):
        mine, other = ours.get(name), theirs.get(name)
        if other is None and name in _MUST_AGREE:
            yield Finding("fault", "versions", f"{node.name} has no {name}", _FIX)
        elif mine and other and _public(mine) != _public(other):
            yield Finding(
                "fault" if name in _MUST_AGREE else "warning",
                "versions",
                f"{name} is {mine} on {driver.name} and {other} on {node.name}",
                _FIX,
            )
    codes = driver.facts["code"], node.facts["code"]
    if all(codes) and codes[0] != codes[1] and ours.get("gradret") == theirs.get("gradret"):
        text = f"gradret's code on {node.name} differs from the driver's, though both are {ours['gradret']}"
        yield Finding("fault", "versions", text, _FIX)


def _public(version: str) -> str:
    return version.split(maxsplit=1)[0].partition("+")[0]
