"""pyproject.toml, requirements.lock, environment.yml and Makefile tell the same story."""

import re
import tomllib

import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from ssagrad.publish import project_root

ROOT = project_root(__file__)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
LOCK = [Requirement(line) for line in (ROOT / "requirements.lock").read_text("utf-8").splitlines()]


def requirements(extra):
    """The requirements of an extra, those of the extras that it names included."""
    for text in EXTRAS[extra]:
        requirement = Requirement(text)
        if requirement.name == PROJECT["name"]:
            for inner in sorted(requirement.extras):
                yield from requirements(inner)
        else:
            yield requirement


def test_every_requirement_is_pinned_in_its_range():
    """For each requirement of `all`, every pin in the lock lies in its range, whatever the Python."""
    for requirement in [*map(Requirement, PROJECT["dependencies"]), *requirements("all")]:
        pins = [pin for pin in LOCK if pin.name == requirement.name]
        assert pins, f"{requirement.name} has no pin: make lock"
        for pin in pins:
            assert Version(str(pin.specifier).removeprefix("==")) in requirement.specifier, f"{pin} is outside {requirement}"


def test_the_lock_names_versions_only():
    """One exact version per line; markers only for Python and platform."""
    for pin in LOCK:
        assert re.fullmatch(r"==[\w.]+", str(pin.specifier)) and pin.url is None and not pin.extras


def test_all_means_all_but_benchmarks():
    """`all` names every extra that a user or a test of the notebooks needs."""
    (text,) = EXTRAS["all"]
    assert Requirement(text).extras == EXTRAS.keys() - {"all", "bench"}


def test_environment_yml_defers_to_the_lock():
    """conda gives the interpreter and pip, the lock gives the rest."""
    *conda, pip = CONDA["dependencies"]
    assert CONDA["name"] == PROJECT["name"]
    assert conda == ["python=3.11", "pip"]
    assert pip == {"pip": ["--constraint requirements.lock", "--editable .[all]"]}


def test_the_makefile_and_pyproject_agree_on_python():
    """The versions that `make` accepts are those of requires-python."""
    low, high = re.search(r"not \((3, \d+)\) <= sys.version_info\[:2\] <= \((3, \d+)\)", (ROOT / "Makefile").read_text("utf-8")).groups()
    (last,) = re.findall(r"<3\.(\d+)", PROJECT["requires-python"])
    assert f">={low.replace(', ', '.')}" in PROJECT["requires-python"]
    assert high == f"3, {int(last) - 1}"


def test_no_file_of_the_set_up_names_a_registry():
    """Where packages come from is the user's configuration."""
    for name in ("pyproject.toml", "requirements.lock", "environment.yml", "Makefile", ".ci/run"):
        text = (ROOT / name).read_text("utf-8")
        assert not re.search(r"https?:|file:|--index|--find-links|--extra-index|channel_alias", text), name


def test_ci_calls_make_test():
    """What runs elsewhere is what the README tells a user to run."""
    lines = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    assert lines[0] == "#!/usr/bin/env bash" and lines[-1] == "make test"
    assert "make test" in (ROOT / "README.md").read_text("utf-8")
