"""Write the interface as it is now to openapi.json beside this file; see test_openapi.py."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import squares

from faceflow.server.app import create_app
from faceflow.server.settings import ServerSettings

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(ServerSettings(galleries=Path(folder)), squares.analyzer)
        found = app.openapi()
        app.state.service.state.close()
    found["info"].pop("version")
    text = json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False)
    (Path(__file__).parent / "openapi.json").write_text(text + "\n", encoding="utf-8")
