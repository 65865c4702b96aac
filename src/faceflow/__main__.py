"""``python -m faceflow`` is the ``faceflow`` command.

Here the working folder is still first on the module path; ``main`` takes it off before it loads
anything.
"""

from faceflow.cli import main

main()
