"""What contributors and hosted services read says the same as the code."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

import faceflow

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def steps(workflow: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(workflow.read_text())["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert str(citation["version"]) == faceflow.__version__


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_ask_for_tasks_that_exist(workflow: Path) -> None:
    tasks = runpy.run_path(str(ROOT / "dev.py"))["TASKS"]
    text = workflow.read_text()
    asked = set(re.findall(r"dev\.py (\w+)", text))
    for job in yaml.safe_load(text)["jobs"].values():
        for task in job.get("strategy", {}).get("matrix", {}).get("task", ()):
            asked.add(task.split()[0])
    assert asked <= set(tasks), f"{workflow.name} asks for {sorted(asked - set(tasks))}"


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_start_with_few_rights(workflow: Path) -> None:
    assert yaml.safe_load(workflow.read_text())["permissions"] == {"contents": "read"}
    assert all("uses" in step or "run" in step for step in steps(workflow))


def test_the_contributors_page_names_files_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for name in re.findall(r"`((?:src|benchmarks|docs)/[\w/.-]+)`", text):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (ROOT / name).exists(), name


def test_issue_templates_are_forms() -> None:
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        form = yaml.safe_load(path.read_text())
        if path.stem != "config":
            assert form["name"]
            assert form["description"]
            assert [part["type"] for part in form["body"]]
