"""What `pytest --nbval notebooks` needs: the settings that the committed outputs were made with, and no more."""

import os

os.environ["COLORLIB_RUN"] = "quick"
os.environ["TQDM_DISABLE"] = "1"  # progress bars show times, and go to stderr
os.environ.pop("MPLBACKEND", None)  # the kernel chooses the inline one, which shows the figures
