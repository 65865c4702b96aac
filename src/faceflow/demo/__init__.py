"""The main job from nothing: people to enroll, covered photos of them, who is who, and why."""

from faceflow.demo.results import DemoResult, DemoRow
from faceflow.demo.run import run_demo

__all__ = ["DemoResult", "DemoRow", "run_demo"]
