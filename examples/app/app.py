"""`legan app` as a Hugging Face Space (SDK gradio): this file, requirements.txt and README.md at the root of the Space are all it takes."""

import os

from legan.requests import AppRequest
from legan_app.serve import serve_app

# A Space says where it is reached by these two. It has visitors from everywhere, so the limits are lower than at home.
request = AppRequest(
    host=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
    port=int(os.environ.get("GRADIO_SERVER_PORT", "7860")),
    max_megapixels=12,
    max_photos=20,
    max_seconds=120,
    max_visitors=8,
)

if __name__ == "__main__":
    serve_app(request)
