"""`legan app`: the editor as a page in the browser (extra `app`): serve -> page -> visits; controls say what a page asks for."""

from importlib.util import find_spec

from legan.core.errors import LeganError


def check_extra() -> None:
    """Check that Gradio is installed, before anything heavy is imported.

    Raises:
        LeganError: it is not.
    """
    if find_spec("gradio") is None:
        raise LeganError('the app needs gradio: run `pip install "legan[app]"`')
