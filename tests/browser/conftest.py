"""JupyterLab and Voila in a real browser: `lab.run_notebook(cells=[...])` returns the page when all cells have run.

    def test_a_widget(lab):
        page = lab.run_notebook(cells=["from colorlib.lessons.widgets import lab_color", "lab_color.explore()"])
        lab.press(page, ".t-lightness", "ArrowRight")
        lab.wait_for_output(page, "L = 51")

`app.open(cells=[...])` does the same as a page without code, under Voila.

One server of each kind serves the whole session, in a temporary folder, with settings of its own; every test gets a
browser context of its own. In CI a missing Chromium is a failure; elsewhere the tests are skipped, and say so.
"""

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

ROOT = Path(__file__).resolve().parent.parent.parent
SENTINEL = "all-cells-have-run"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
NO_CHROMIUM = (
    "the browser tests were left out, because Chromium isn't installed: install it (on Debian, apt install chromium), "
    "or set CHROMIUM to the path of a Chrome or Chromium"
)
# Lab says "idle" before its kernel is connected, and loses what is run then: look at the connection itself.
KERNEL_IS_READY = """() => {
    const panel = window.jupyterapp?.shell?.currentWidget;
    const kernel = panel?.context?.isReady && panel.sessionContext?.session?.kernel;
    return !!kernel && kernel.connectionStatus === 'connected' && kernel.status === 'idle';
}"""
# An error is looked for in the notebook itself: on the page it looks like any text on stderr.
RUN_IS_OVER = """sentinel => {
    const model = jupyterapp.shell.currentWidget.content.model;
    for (const cell of model.cells) {
        if (cell.type !== 'code' || (cell.getMetadata('tags') ?? []).includes('raises-exception')) continue;
        for (let i = 0; i < cell.outputs.length; i++) {
            const output = cell.outputs.get(i).toJSON();
            if (output.output_type === 'error') return {error: output.traceback.join('\\n')};
        }
    }
    const outputs = [...document.querySelectorAll('.jp-OutputArea-output')];
    return outputs.some(output => output.innerText.includes(sentinel)) ? {error: null} : null;
}"""
LAB_SETTINGS = {
    # Otherwise cells out of sight are not in the page, and can't be waited for.
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


def find_chromium():
    """Return the path of the Chromium to test with: `CHROMIUM`, or the first one on the PATH; None without any."""
    named = os.environ.get("CHROMIUM")
    return shutil.which(named) if named else next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium."""
    executable = find_chromium()
    if executable is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(NO_CHROMIUM)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_ARGS)
        try:
            yield browser
        finally:
            browser.close()


class Server:
    """A JupyterLab on 127.0.0.1 whose files, settings and kernels' history live under one temporary folder."""

    name = "JupyterLab"

    def __init__(self, folder):
        self.folder = folder / "root"
        self.log = folder / "server.log"
        self.temporary = folder / "tmp"  # what kernels would leave behind
        self.token = secrets.token_hex(16)
        self.folder.mkdir()
        self.temporary.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

        private = {
            name: folder / name.lower()
            for name in (
                "JUPYTER_CONFIG_DIR",
                "JUPYTER_DATA_DIR",
                "JUPYTER_RUNTIME_DIR",
                "JUPYTERLAB_SETTINGS_DIR",
                "JUPYTERLAB_WORKSPACES_DIR",
                "IPYTHONDIR",
            )
        }
        for name, settings in LAB_SETTINGS.items():
            path = private["JUPYTERLAB_SETTINGS_DIR"] / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(settings))
        environment = {**os.environ, **{name: str(path) for name, path in private.items()}}
        environment |= {"COLORLIB_RUN": "quick", "TQDM_DISABLE": "1", "TMPDIR": str(self.temporary)}
        environment.pop("MPLBACKEND", None)

        command = [sys.executable, "-m", *self.arguments()]
        if shutil.which("timeout"):  # so that no server outlives tests that were killed
            command = ["timeout", "-s", "INT", "-k", "20", "3600", *command]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                start_new_session=True,
            )  # fmt: skip

    def arguments(self):
        """Return what comes after `python -m`."""
        arguments = ["jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={self.port}"]
        arguments += [f"--config={ROOT / 'notebooks' / 'jupyter_server_config.py'}", "--ServerApp.port_retries=0"]
        arguments += [f"--ServerApp.root_dir={self.folder}", f"--IdentityProvider.token={self.token}"]
        arguments += [
            "--LabApp.expose_app_in_browser=True",
            "--LabApp.news_url=",
            "--LabApp.extension_manager=readonly",
        ]
        return arguments + (["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else [])

    def is_ready(self):
        """Whether the server answers."""
        with suppress(urllib.error.URLError, OSError):
            self.ask("GET", "status")
            return True
        return False

    def ask(self, method, path):
        """Send a request to the server's REST interface; return the decoded answer, None when it is empty."""
        request = urllib.request.Request(
            f"{self.url}/api/{path}", method=method, headers={"Authorization": f"token {self.token}"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # 127.0.0.1 needs no proxy
        with opener.open(request, timeout=10) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def wait_until_ready(self, seconds=60):
        """Return when the server answers.

        Raises:
            RuntimeError: it ended, or didn't answer in time; the message ends with its log.
        """
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            if self.is_ready():
                return
            time.sleep(0.2)
        raise RuntimeError(f"{self.name} didn't start:\n{self.log.read_text(errors='replace')[-3000:]}")

    def stop_kernels(self):
        """Shut every kernel down, so that the next test has the machine for itself."""
        for session in self.ask("GET", "sessions"):
            with suppress(urllib.error.URLError):
                self.ask("DELETE", f"sessions/{session['id']}")

    def stop(self):
        """End the server and its kernels, at the worst by force."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class VoilaServer(Server):
    """A Voila on 127.0.0.1, with the settings of `make app`, that serves every notebook under its folder."""

    name = "Voila"

    def arguments(self):
        return ["voila", str(self.folder), "--no-browser", "--Voila.ip=127.0.0.1", f"--port={self.port}"]

    def is_ready(self):
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False


def running(server):
    """Give a server once it answers; stop it afterwards, whatever happened."""
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def lab_server(browser, tmp_path_factory):
    """The session's JupyterLab. It asks for the browser first: without one it needn't start."""
    yield from running(Server(tmp_path_factory.mktemp("lab")))


class Lab:
    """What a test does with JupyterLab; times are in seconds."""

    def __init__(self, server, context, name):
        self.server = server
        self.context = context
        self.name = name
        self.page_errors = []  # what the page's JavaScript threw, as text
        self._opened = 0

    def open(self, notebook, folder=None, timeout=60):
        """Write `notebook` under the server's root, open it, and return the page once its kernel is connected.

        Args:
            notebook: a notebook, as nbformat reads it.
            folder: a folder whose files (pictures, runs, modules) the notebook finds next to itself.
        """
        self._opened += 1
        place = self.server.folder / f"{self.name}-{self._opened}"
        if folder is None:
            place.mkdir()
        else:
            shutil.copytree(folder, place, ignore=shutil.ignore_patterns(".*", "__pycache__", "*.ipynb"))
        # Without it, Lab asks for a kernel, and waits.
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, place / "notebook.ipynb")
        page = self.context.new_page()
        page.set_default_timeout(timeout * 1000)
        page.on("pageerror", lambda error: self.page_errors.append(str(error)))
        page.goto(f"{self.server.url}/lab/tree/{place.name}/notebook.ipynb?token={self.server.token}&reset")
        page.wait_for_function(KERNEL_IS_READY, timeout=timeout * 1000)
        return page

    def run_notebook(self, cells=None, path=None, timeout=180):
        """Open a notebook, run all its cells, and return the page when the last one has run.

        Args:
            cells: sources of code cells; or
            path: a notebook, run as a copy in a copy of its folder.
        Raises:
            AssertionError: a cell ended in an error; the message is its traceback.
        """
        if (cells is None) == (path is None):
            raise TypeError("give either cells or a path")
        if path is None:
            notebook, folder = new_notebook(cells=[new_code_cell(source) for source in cells]), None
        else:
            notebook, folder = nbformat.read(path, as_version=4), Path(path).parent
            for cell in notebook.cells:
                cell.update({"outputs": [], "execution_count": None} if cell.cell_type == "code" else {})
        # In two pieces, so that only the output has it whole.
        notebook.cells.append(new_code_cell(f"print({SENTINEL[:4]!r} + {SENTINEL[4:]!r})"))
        page = self.open(notebook, folder)
        self.run_all(page, timeout)
        return page

    def run_all(self, page, timeout=180):
        """Run all cells of the open notebook and wait for the sentinel that `run_notebook` put at its end."""
        page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells'); }")  # braces: nothing to await
        outcome = page.wait_for_function(RUN_IS_OVER, arg=SENTINEL, polling=250, timeout=timeout * 1000).json_value()
        assert outcome["error"] is None, re.sub(r"\x1b\[[0-9;]*m", "", outcome["error"])  # without its colors

    def press(self, page, selector, key, times=1):
        """Press a key on the handle of the slider tagged `selector`, as in add_class("t-hue") and ".t-hue"."""
        handle = page.locator(f"{selector} .noUi-handle").first
        handle.focus()
        for _ in range(times):
            handle.press(key)

    def wait_for_output(self, page, text, timeout=30):
        """Wait until an output of the notebook, or a widget in it, shows `text`."""
        page.locator(".jp-OutputArea-output", has_text=text).first.wait_for(timeout=timeout * 1000)

    def upload(self, page, selector, files):
        """Choose `files` in the FileUpload tagged `selector`."""
        with page.expect_file_chooser() as chooser:
            page.locator(selector).click()
        chooser.value.set_files(files)


@pytest.fixture
def lab(browser, lab_server, request):
    """JupyterLab for one test; see `Lab`."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    try:
        yield Lab(lab_server, context, re.sub(r"\W+", "-", request.node.name).strip("-"))
    finally:
        context.close()
        lab_server.stop_kernels()


class App:
    """What a test does with notebooks under Voila; every visitor has a browser context of their own."""

    def __init__(self, server, browser, name):
        self.server = server
        self.browser = browser
        self.name = name
        self.page_errors = []  # what the pages' JavaScript threw, as text
        self._visitors = []

    def visit(self, cells=None, path=None, timeout=60):
        """Open a notebook as a new visitor, and return the page once its widgets are there.

        Args:
            cells: sources of code cells; or
            path: a notebook, served as a copy.
        """
        notebook = nbformat.read(path, as_version=4) if path else new_notebook(cells=list(map(new_code_cell, cells)))
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.server.folder / f"{self.name}.ipynb")
        context = self.browser.new_context(viewport={"width": 1280, "height": 1000})
        self._visitors.append(context)
        page = context.new_page()
        page.set_default_timeout(timeout * 1000)
        page.on("pageerror", lambda error: self.page_errors.append(str(error)))
        page.goto(f"{self.server.url}/voila/render/{self.name}.ipynb")
        page.locator(".jupyter-widgets").first.wait_for()
        return page

    def close(self):
        """Let every visitor go; Voila then ends their kernels."""
        for context in self._visitors:
            for page in context.pages:
                page.close(run_before_unload=True)
            context.close()


@pytest.fixture(scope="session")
def app_server(browser, tmp_path_factory):
    """The session's Voila."""
    yield from running(VoilaServer(tmp_path_factory.mktemp("voila")))


@pytest.fixture
def app(browser, app_server, request):
    """Voila for one test; see `App`."""
    app = App(app_server, browser, re.sub(r"\W+", "-", request.node.name).strip("-"))
    try:
        yield app
    finally:
        app.close()
