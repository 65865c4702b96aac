"""The main job from nothing: people to enroll, covered photos of them, who is who, and why."""

from faceflow.demo.results import DemoResult, DemoRow
from faceflow.demo.run import run_demo
from faceflow.demo.shipped import PEOPLE, PHOTOS, QUERIES

__all__ = ["PEOPLE", "PHOTOS", "QUERIES", "DemoResult", "DemoRow", "run_demo"]
