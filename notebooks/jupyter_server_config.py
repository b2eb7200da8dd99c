"""JupyterLab's settings for this series, for `jupyter lab --config=notebooks/jupyter_server_config.py`."""

import os
from pathlib import Path

c = get_config()  # noqa: F821  (Jupyter puts it there)

# The file browser shows the whole project, so that a chapter's links to the package open.
c.ServerApp.root_dir = str(Path(__file__).resolve().parent.parent)

# An upload travels in one websocket message. The default limit of 10 MiB drops a larger photo without a word.
UPLOAD_LIMIT = 100 * 2**20
c.ServerApp.tornado_settings = {"websocket_max_message_size": UPLOAD_LIMIT}
os.environ["COLORLIB_UPLOAD_LIMIT"] = str(UPLOAD_LIMIT)  # for the kernels, which can't ask
