"""faceflow over HTTP: a REST service and the examiner's pages.

:func:`faceflow.server.app.create_app` makes the application and ``faceflow serve`` runs it.
Everything here needs the extra ``server``: ``pip install "faceflow[server]"``.
"""
