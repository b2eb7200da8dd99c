"""JupyterLab and Voila in a real browser: `lab.run_notebook(cells=[...])` returns the page once all cells have run.

    def test_a_widget(lab):
        page = lab.run_notebook(cells=["from colorlib.lessons.widgets import lab_color", "lab_color.lab_explorer()"])
        lab.press(page, ".t-L", "ArrowRight")
        page.locator("img.t-picture").wait_for()

`app.visit(cells=[...])` does the same under Voila, on a page without code.

There is one server of each kind per session, in a temporary folder and with its own settings, and one browser context
per test. If Chromium is missing, the tests fail in CI and are skipped elsewhere.
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
    "the browser tests were skipped, because Chromium is not installed: install it (on Debian, apt install chromium), "
    "or set CHROMIUM to the path of Chrome or Chromium"
)
# Lab shows "idle" before the kernel is connected, and cells run at that time are lost: check the connection itself.
KERNEL_IS_READY = """() => {
    const panel = window.jupyterapp?.shell?.currentWidget;
    const kernel = panel?.context?.isReady && panel.sessionContext?.session?.kernel;
    return !!kernel && kernel.connectionStatus === 'connected' && kernel.status === 'idle';
}"""
# Errors are read from the notebook model: on the page they look like any text on stderr.
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
    # With windowing, cells outside of the viewport are not in the page, and can't be waited for.
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


def find_chromium():
    """Return the path of the Chromium to use: `CHROMIUM`, or the first one on the PATH; None if there is none."""
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
    """A JupyterLab on 127.0.0.1 with files, settings and kernel history in one temporary folder."""

    name = "JupyterLab"

    def __init__(self, folder):
        self.folder = folder / "root"
        self.log = folder / "server.log"
        self.temporary = folder / "tmp"  # temporary files of the kernels
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
        if shutil.which("timeout"):  # stops the server even if the tests are killed
            command = ["timeout", "-s", "INT", "-k", "20", "3600", *command]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                start_new_session=True,
            )  # fmt: skip

    def arguments(self):
        """Return the arguments of `python -m`."""
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
        """Whether the server responds."""
        with suppress(urllib.error.URLError, OSError):
            self.ask("GET", "status")
            return True
        return False

    def ask(self, method, path):
        """Send a request to the REST API of the server; return the decoded response, None if it is empty."""
        request = urllib.request.Request(
            f"{self.url}/api/{path}", method=method, headers={"Authorization": f"token {self.token}"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy for 127.0.0.1
        with opener.open(request, timeout=10) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def wait_until_ready(self, seconds=60):
        """Wait until the server responds.

        Raises:
            RuntimeError: it stopped, or did not respond in time; the message ends with its log.
        """
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            if self.is_ready():
                return
            time.sleep(0.2)
        raise RuntimeError(f"{self.name} didn't start:\n{self.log.read_text(errors='replace')[-3000:]}")

    def stop_kernels(self):
        """Shut down all kernels, so that they take no time from the next test."""
        for session in self.ask("GET", "sessions"):
            with suppress(urllib.error.URLError):
                self.ask("DELETE", f"sessions/{session['id']}")

    def stop(self):
        """Stop the server and its kernels; kill them if they do not stop."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class VoilaServer(Server):
    """A Voila on 127.0.0.1, with the settings of `make app`, that serves every notebook in its folder."""

    name = "Voila"

    def arguments(self):
        return ["voila", str(self.folder), "--no-browser", "--Voila.ip=127.0.0.1", f"--port={self.port}"]

    def is_ready(self):
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False


def running(server):
    """Yield a server once it responds; stop it afterwards."""
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def lab_server(browser, tmp_path_factory):
    """The JupyterLab of the session. It depends on `browser`, so that it does not start without one."""
    yield from running(Server(tmp_path_factory.mktemp("lab")))


class Lab:
    """Actions of a test in JupyterLab; times are in seconds."""

    def __init__(self, server, context, name):
        self.server = server
        self.context = context
        self.name = name
        self.page_errors = []  # what the page's JavaScript threw, as text
        self._opened = 0

    def open(self, notebook, folder=None, timeout=60):
        """Write `notebook` to the root of the server, open it, and return the page once its kernel is connected.

        Args:
            notebook: a notebook, as nbformat reads it.
            folder: its files (images, runs, modules) are copied next to the notebook.
        """
        self._opened += 1
        place = self.server.folder / f"{self.name}-{self._opened}"
        if folder is None:
            place.mkdir()
        else:
            shutil.copytree(folder, place, ignore=shutil.ignore_patterns(".*", "__pycache__", "*.ipynb"))
        # Without it, Lab asks which kernel to use.
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, place / "notebook.ipynb")
        page = self.context.new_page()
        page.set_default_timeout(timeout * 1000)
        page.on("pageerror", lambda error: self.page_errors.append(str(error)))
        page.goto(f"{self.server.url}/lab/tree/{place.name}/notebook.ipynb?token={self.server.token}&reset")
        page.wait_for_function(KERNEL_IS_READY, timeout=timeout * 1000)
        return page

    def run_notebook(self, cells=None, path=None, timeout=180):
        """Open a notebook, run all of its cells, and return the page once the last one has run.

        Args:
            cells: sources of code cells; or
            path: of a notebook, which is run as a copy in a copy of its folder.
        Raises:
            AssertionError: a cell raised an error; the message is the traceback.
        """
        if (cells is None) == (path is None):
            raise TypeError("give either cells or a path")
        if path is None:
            notebook, folder = new_notebook(cells=[new_code_cell(source) for source in cells]), None
        else:
            notebook, folder = nbformat.read(path, as_version=4), Path(path).parent
            for cell in notebook.cells:
                cell.update({"outputs": [], "execution_count": None} if cell.cell_type == "code" else {})
        # In two parts, so that only the output contains the whole sentinel.
        notebook.cells.append(new_code_cell(f"print({SENTINEL[:4]!r} + {SENTINEL[4:]!r})"))
        page = self.open(notebook, folder)
        self.run_all(page, timeout)
        return page

    def run_all(self, page, timeout=180):
        """Run all cells of the open notebook and wait for the sentinel that `run_notebook` added at its end."""
        page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells'); }")  # no promise to await
        outcome = page.wait_for_function(RUN_IS_OVER, arg=SENTINEL, polling=250, timeout=timeout * 1000).json_value()
        assert outcome["error"] is None, re.sub(r"\x1b\[[0-9;]*m", "", outcome["error"])  # without color codes

    def press(self, page, selector, key, times=1):
        """Press a key on the handle of a slider; the selector of a slider with add_class("t-hue") is ".t-hue"."""
        handle = page.locator(f"{selector} .noUi-handle").first
        handle.focus()
        for _ in range(times):
            handle.press(key)

    def wait_for_output(self, page, text, timeout=30):
        """Wait until an output of the notebook, or a widget in it, shows `text`."""
        page.locator(".jp-OutputArea-output", has_text=text).first.wait_for(timeout=timeout * 1000)


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
    """Actions of a test under Voila; every visitor has their own browser context."""

    def __init__(self, server, browser, name):
        self.server = server
        self.browser = browser
        self.name = name
        self.page_errors = []  # what the pages' JavaScript threw, as text
        self._visitors = []

    def visit(self, cells=None, path=None, timeout=180, **screen):
        """Open a notebook as a new visitor, and return the page once its widgets are shown.

        Args:
            cells: sources of code cells; or
            path: of a notebook, which is served as a copy.
            screen: options of the browser context, such as viewport and has_touch.
        """
        notebook = nbformat.read(path, as_version=4) if path else new_notebook(cells=list(map(new_code_cell, cells)))
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.server.folder / f"{self.name}.ipynb")
        context = self.browser.new_context(**{"viewport": {"width": 1280, "height": 1000}} | screen)
        self._visitors.append(context)
        context.set_default_timeout(timeout * 1000)  # also of other tabs
        page = context.new_page()
        page.on("pageerror", lambda error: self.page_errors.append(str(error)))
        page.goto(f"{self.server.url}/voila/render/{self.name}.ipynb")
        page.locator(".jupyter-widgets").first.wait_for()
        return page

    def close(self):
        """Close the pages of all visitors; Voila then stops their kernels."""
        for context in self._visitors:
            for page in context.pages:
                page.close(run_before_unload=True)
            context.close()


@pytest.fixture(scope="session")
def app_server(browser, tmp_path_factory):
    """The Voila of the session."""
    yield from running(VoilaServer(tmp_path_factory.mktemp("voila")))


@pytest.fixture
def app(browser, app_server, request):
    """Voila for one test; see `App`."""
    app = App(app_server, browser, re.sub(r"\W+", "-", request.node.name).strip("-"))
    try:
        yield app
    finally:
        app.close()
