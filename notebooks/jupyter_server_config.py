"""JupyterLab's settings for this series, for `jupyter lab --config=notebooks/jupyter_server_config.py`."""

from pathlib import Path

c = get_config()  # noqa: F821  (Jupyter puts it there)

# The file browser shows the whole project, so that a chapter's links to the package open.
c.ServerApp.root_dir = str(Path(__file__).resolve().parent.parent)
