"""One process of a torchrun: train the tiny network and let process 0 write its losses."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from tiny import RECIPE, Tiny, make_crops

from faceflow.training.network import train_network
from faceflow.training.processes import joined

torch.set_num_threads(1)
folder, accumulate = Path(sys.argv[1]), int(sys.argv[2])
model = Tiny()
model.drop.p = 0.0  # its numbers differ between processes
with joined("cpu") as me:
    recipe = replace(RECIPE, epochs=2, accumulate=accumulate)
    found = train_network(make_crops(), model, folder, recipe, among=me)
    if me.rank == 0:
        answer = {
            "processes": me.count,
            "losses": found.losses,
            "margin": [epoch.margin for epoch in found.history],
        }
        (folder / "answer.json").write_text(json.dumps(answer))
