"""The page of `legan app`: its parts and what happens when they are moved. Gradio's components, and two of our own (`static/`)."""

import base64
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.components import Component

from legan.core.conditions import LIGHTINGS, MAX_AZIMUTH, MAX_ELEVATION, MIN_ELEVATION
from legan.core.errors import LeganError
from legan.core.light import MAX_SOFTNESS, MIN_KELVIN, WHITE_KELVIN
from legan.core.weights import asset
from legan.editing.editor import MAX_STRENGTH, Editor, Readings
from legan.requests import AppRequest
from legan_app.batch import TABLE, Batch, edit_batch
from legan_app.controls import LIGHTS, NO_TINT, SLIDERS, Controls, command_line, python_lines
from legan_app.visits import EXAMPLE, Pages, Visit, edited_name

STATIC = Path(__file__).parent / "static"
WARMEST, COOLEST = MIN_KELVIN, 12000.0  # kelvin; beyond, colours hardly change
_N_FAILURES = 20  # of a batch that are listed on the page; the table in the zip file has all
# One edit at a time: two would only share the cores. Readings and batches wait for none of them.
_EDITING, _READING, _PACKING = "editing", "reading", "packing"
_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
_INTRO = """<h1>legan</h1>
<p>Edit the light and the expression of a face photo. It stays on the computer that runs this page, and is deleted when you leave.</p>"""
_DIVIDE = "(share) => ({ __type__: 'update', slider_position: share })"
_CLICK_SAVED = "() => { setTimeout(() => document.querySelector('#saved')?.click(), 100); }"


def make_theme() -> gr.themes.Base:
    """Return the page's colours, darker than Gradio's own for the contrast of WCAG AA, and its fonts, none from elsewhere."""
    theme = gr.themes.Base(
        primary_hue="blue", secondary_hue="blue", neutral_hue="slate", font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )  # fmt: skip
    return theme.set(
        block_label_text_color="*neutral_700", block_label_text_color_dark="*neutral_200",
        block_title_text_color="*neutral_800", block_title_text_color_dark="*neutral_100",
        body_text_color_subdued="*neutral_600", body_text_color_subdued_dark="*neutral_300",
        button_primary_background_fill="*primary_700", button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover="*primary_800", button_primary_text_color="white",
    )  # fmt: skip


def _component(name: str, value: dict[str, Any], **options: Any) -> gr.HTML:
    """A component of our own: `static/NAME.html`, `.css` and `.js`."""
    html, css, js = ((STATIC / f"{name}.{kind}").read_text() for kind in ("html", "css", "js"))
    return gr.HTML(
        value,
        html_template=html,
        css_template=css,
        js_on_load=js,
        apply_default_css=False,
        elem_id=name,
        padding=True,
        **options,
    )


def make_page(editor: Editor, pages: Pages, request: AppRequest, weights: str | None) -> gr.Blocks:
    """Return the page.

    Args:
        editor: of all visitors, made of networks.
        pages: where visitors' photos are held.
        request: limits.
        weights: what the editor is called where it is not the packaged one, for the lines to copy.
    """
    with gr.Blocks(title="legan", analytics_enabled=False, fill_width=True) as blocks:
        gr.HTML(_INTRO, elem_id="intro")
        with gr.Tabs():
            with gr.Tab("One photo"), gr.Row(elem_id="work"):
                view = _lay_out_view()
                inputs = _lay_out_inputs()
            with gr.Tab("Many photos"):
                batch = _lay_out_batch(request.max_photos)
        with gr.Accordion("The same from the command line and in Python", open=False, elem_id="lines"):
            shell = gr.Textbox(label="Command line", lines=2, interactive=False, buttons=["copy"], elem_id="shell")
            python = gr.Textbox(label="Python", lines=3, interactive=False, buttons=["copy"], elem_id="python")
        work = _Work(editor, pages, request, weights)
        values = inputs.values(view.faces)
        _connect_photo(work, view, inputs, values, shell, python)
        _connect_batch(work, batch, values)
        blocks.unload(work.leave)
    return blocks


class _View(NamedTuple):
    """Components on the left: a photo, its edit, its faces."""

    drop: gr.File
    example: gr.Button
    messages: gr.HTML
    stage: gr.ImageSlider
    divider: gr.Slider
    faces: gr.HTML
    readings: gr.HTML
    save: gr.Button
    grid: gr.Button
    saved: gr.DownloadButton
    grid_image: gr.Image


class _Inputs(NamedTuple):
    """Components on the right: what an edit is asked for."""

    sliders: list[gr.Slider]
    neutral: gr.Checkbox
    light: gr.Radio
    puck: gr.HTML
    ambient: gr.Slider
    softness: gr.Slider
    kelvin: gr.Slider
    tint: gr.HTML
    strength: gr.Slider
    force: gr.Checkbox

    def values(self, faces: gr.HTML) -> list[Component]:
        """All of them, and the choice of a face, in the order in which `_controls` reads their values."""
        lamp = [self.light, self.puck, self.ambient, self.softness, self.kelvin, self.tint]
        return [*self.sliders, self.neutral, *lamp, self.strength, faces, self.force]


class _Batch(NamedTuple):
    """Components of the tab for many photos."""

    many: gr.File
    folder: gr.UploadButton
    messages: gr.HTML
    run: gr.Button
    stop: gr.Button
    packed: gr.DownloadButton


def _lay_out_view() -> _View:
    with gr.Column(scale=3, min_width=320, elem_id="left"):
        drop = gr.File(label="Photo", file_types=["image"], height=135, elem_id="drop")
        example = gr.Button("Use a packaged photo", size="sm", elem_id="example")
        messages = gr.HTML("", elem_id="messages")
        stage = gr.ImageSlider(
            label="Before and after",
            interactive=False,
            buttons=["fullscreen"],
            max_height=620,
            visible=False,
            elem_id="stage",
        )
        divider = gr.Slider(0, 100, 50, step=1, label="Divider: how much is shown as it was", visible=False, elem_id="divider")
        faces = _component("faces", {"faces": [], "chosen": "1"})
        readings = gr.HTML("", elem_id="readings")
        with gr.Row():
            save = gr.Button("Download the edit", variant="primary", elem_id="save", min_width=150)
            grid = gr.Button("Grid of all", elem_id="grid", min_width=150)
        saved = gr.DownloadButton("saved", visible="hidden", elem_id="saved")
        grid_image = gr.Image(
            label="All expressions under six lights", interactive=False, visible=False, elem_id="grid-image",
            buttons=["download", "fullscreen"], show_label=False,
        )  # fmt: skip
    return _View(drop, example, messages, stage, divider, faces, readings, save, grid, saved, grid_image)


def _lay_out_inputs() -> _Inputs:
    with gr.Column(scale=2, min_width=300, elem_id="right"):
        with gr.Group():
            sliders = [gr.Slider(0, 1, 0, step=0.05, label=name.capitalize(), elem_id=name) for name in SLIDERS]
            neutral = gr.Checkbox(False, label="Neutral, with all of these at 0", elem_id="neutral")
        light = gr.Radio(LIGHTS, value=LIGHTS[0], label="Light", elem_id="light")
        limits = {"side": MAX_AZIMUTH, "low": MIN_ELEVATION, "high": MAX_ELEVATION}
        flashes = [(one.azimuth, one.elevation) for one in LIGHTINGS if one.azimuth is not None]
        puck = _component("puck", {"azimuth": -45, "elevation": 20}, limits=limits, flashes=flashes)
        with gr.Group():
            ambient = gr.Slider(0, 1, 1, step=0.05, label="Ambient: share of the room's light", elem_id="ambient")
            softness = gr.Slider(0, MAX_SOFTNESS, 0, step=5, label="Softness: size of the lamp in degrees", elem_id="softness")
            kelvin = gr.Slider(
                WARMEST, COOLEST, WHITE_KELVIN, step=100, label="Colour in kelvin: 6500 is white", elem_id="kelvin"
            )
            tint = _component("tint", {"colour": NO_TINT})
        strength = gr.Slider(0, MAX_STRENGTH, 1, step=0.05, label="Strength of the whole edit", elem_id="strength")
        force = gr.Checkbox(False, label="Also faces that are turned too far, cut or small", elem_id="force")
    return _Inputs(sliders, neutral, light, puck, ambient, softness, kelvin, tint, strength, force)


def _lay_out_batch(max_photos: int) -> _Batch:
    gr.HTML(f"<p>Edits every photo as the controls of “One photo” say, up to {max_photos} at once.</p>")
    many = gr.File(label="Photos", file_types=["image"], file_count="multiple", height=135, elem_id="many")
    folder = gr.UploadButton("Choose a folder", file_count="directory", elem_id="folder")
    messages = gr.HTML("", elem_id="batch-messages")
    with gr.Row():
        run = gr.Button("Edit all", variant="primary", elem_id="run")
        stop = gr.Button("Stop", elem_id="stop")
    packed = gr.DownloadButton("Download the zip file", visible=False, elem_id="packed")
    return _Batch(many, folder, messages, run, stop, packed)


def _connect_photo(
    work: "_Work", view: _View, inputs: _Inputs, values: list[Component], shell: gr.Textbox, python: gr.Textbox
) -> None:
    shown = [view.stage, view.messages, inputs.light, inputs.tint, shell, python]
    edits: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": _EDITING, **_QUIET}
    reads: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": _READING, **_QUIET}
    found = [view.drop, view.faces, view.divider, *shown]
    opened = view.drop.upload(work.drop, [view.drop, *values], found, **edits)
    opened_example = view.example.click(work.drop_example, values, found, **edits)
    moved = gr.on([one.input for one in values], work.move, values, shown, trigger_mode="always_last", **edits)
    for event in (opened, opened_example, moved):
        event.then(work.read, None, view.readings, trigger_mode="always_last", **reads)
    for event in (opened, opened_example):
        event.then(work.look_closer, None, view.faces, **reads)
    view.save.click(work.save, values, [view.saved, view.messages], **edits).success(
        None, None, None, js=_CLICK_SAVED, api_visibility="private"
    )
    view.grid.click(work.grid, values, [view.grid_image, view.messages, shell], **edits)
    # The image's own divider is for mouse and finger alone; this one is for the keyboard too.
    view.divider.input(None, view.divider, view.stage, js=_DIVIDE, api_visibility="private")


def _connect_batch(work: "_Work", batch: _Batch, values: list[Component]) -> None:
    for source in (batch.many, batch.folder):
        source.upload(work.add_to_batch, source, [source, batch.messages, batch.packed], **_QUIET)
    running = batch.run.click(
        work.run, values, [batch.messages, batch.packed], concurrency_limit=1, concurrency_id=_PACKING, **_QUIET
    )
    # Not in the queue, which may be full: then above all it is wanted.
    batch.stop.click(
        lambda: _message("Stopped. Give the photos again to start anew."),
        None,
        batch.messages,
        cancels=[running],
        queue=False,
        **_QUIET,
    )


class _Work:
    """What happens on the page; Gradio calls the methods with the visitor and the values of components."""

    def __init__(self, editor: Editor, pages: Pages, request: AppRequest, weights: str | None) -> None:
        self.editor, self.pages, self.request, self.weights = editor.cached(), pages, request, weights
        self.plain_editor = editor  # for batches, which would push out what is kept of the photos that are being edited

    def drop(self, visitor: gr.Request, path: str | None, *values: Any) -> list[Any]:
        """Find the faces of a photo that was dropped, and show it, edited as the controls say."""
        return self._open(visitor, Path(path), values) if path else [gr.skip()] * 9

    def drop_example(self, visitor: gr.Request, *values: Any) -> list[Any]:
        """The same with the packaged photo."""
        return self._open(visitor, asset("faces") / EXAMPLE, values)

    def move(self, visitor: gr.Request, *values: Any) -> list[Any]:
        """Show the edit that the controls ask for."""
        visit = self._visit(visitor)
        if visit is None:
            return [gr.skip(), _DROP_FIRST, *[gr.skip()] * 4]
        return self._show(visit, _controls(values))

    def look_closer(self, visitor: gr.Request) -> Any:
        """Prepare the first edit, and offer the faces that were not seen at once."""
        visit = self._visit(visitor)
        if visit is None:
            return gr.skip()
        n_known = len(visit.faces)
        visit.look_closer(self.editor)
        return gr.skip() if len(visit.faces) == n_known else _choice(visit)

    def read(self, visitor: gr.Request) -> str:
        """Measure the edit that is shown."""
        visit = self._visit(visitor)
        if visit is None or visit.shown is None or visit.shown.edit is None:
            return ""
        return _readings_table(visit.shown.edit.readings)

    def save(self, visitor: gr.Request, *values: Any) -> list[Any]:
        """Write the edit at the photo's own pixels, to be downloaded."""
        visit = self._visit(visitor)
        if visit is None:
            return [None, _DROP_FIRST]
        try:
            return [str(visit.save(self.editor, _controls(values))), gr.skip()]
        except LeganError as error:
            return [None, _message(str(error), "error")]

    def grid(self, visitor: gr.Request, *values: Any) -> list[Any]:
        """Show all expressions under several lights."""
        visit, controls = self._visit(visitor), _controls(values)
        if visit is None:
            return [gr.skip(), _DROP_FIRST, gr.skip()]
        try:
            place = visit.save_grid(self.editor, controls)
        except LeganError as error:
            return [gr.skip(), _message(str(error), "error"), gr.skip()]
        line = command_line(controls.grid_request(), visit.name, place.name, self.weights)
        return [gr.Image(value=str(place), visible=True), gr.skip(), line]

    def add_to_batch(self, visitor: gr.Request, files: list[str]) -> list[Any]:
        """Take files for a batch out of the folder of uploads, which is emptied by and by."""
        page = self.pages.opened(str(visitor.session_hash))
        n_refused = page.add_to_batch([Path(file) for file in files], self.request.max_photos)
        words = f"{len(page.batch)} photos are ready."
        if n_refused:
            words += f" {n_refused} more were left out: {self.request.max_photos} are the most at once."
        return [None, _message(words, "warning" if n_refused else ""), gr.DownloadButton(visible=False)]

    def run(self, visitor: gr.Request, *values: Any) -> Iterator[list[Any]]:
        """Edit all photos of the batch, and offer the zip file."""
        page, controls = self.pages.get(str(visitor.session_hash)), _controls(values)
        if page is None or not page.batch:
            yield [_message("Give photos first."), gr.skip()]
            return
        files, page.batch = page.batch, []
        try:
            request = controls.request()
            out = page.folder / "batch" / "edited.zip"
            for done in edit_batch(
                self.plain_editor, files, request, out, self.request.max_megapixels, self.request.max_seconds
            ):
                if page.is_closed:
                    return
                yield [_message(f"{len(done.rows)} of {done.n_photos} photos"), gr.skip()]
            line = command_line(request, "photos/", "edited/", self.weights)
            yield [_batch_words(done, line), gr.DownloadButton(value=str(out), visible=True)]
        except LeganError as error:
            page.batch = files
            yield [_message(str(error), "error"), gr.skip()]
        finally:
            if not page.batch:
                for path, _ in files:
                    path.unlink(missing_ok=True)

    def leave(self, visitor: gr.Request) -> None:
        """Forget a page that was closed."""
        self.pages.close(str(visitor.session_hash))

    def _visit(self, visitor: gr.Request) -> Visit | None:
        page = self.pages.get(str(visitor.session_hash))
        return page.visit if page else None

    def _open(self, visitor: gr.Request, path: Path, values: tuple[Any, ...]) -> list[Any]:
        """What the parts `drop`, `faces`, `divider` and those of `_show` become."""
        try:
            visit = self.pages.opened(str(visitor.session_hash)).open(path, path.name, self.request.max_megapixels)
        except LeganError as error:
            return [None, *[gr.skip()] * 3, _message(str(error), "error"), *[gr.skip()] * 4]
        images, *others = self._show(visit, replace(_controls(values), face="1"))
        # Hidden before: Gradio's empty component has a label that no screen reader may read.
        images = gr.ImageSlider(value=images, visible=True) if isinstance(images, tuple) else images
        return [None, _choice(visit), gr.Slider(visible=True), images, *others]

    def _show(self, visit: Visit, controls: Controls) -> list[Any]:
        """What the parts `stage`, `messages`, `light`, `tint`, `shell` and `python` become."""
        meant = controls.after(visit.controls)
        visit.controls = meant
        adjusted = [
            gr.skip() if new == old else new for new, old in ((meant.light, controls.light), (meant.tint, controls.tint))
        ]
        try:
            shown = visit.show(self.editor, meant)
        except LeganError as error:
            return [gr.skip(), _message(str(error), "error"), *adjusted, gr.skip(), gr.skip()]
        words = [_message(note, "warning") for note in (*visit.photo.notes, *(shown.edit.warnings if shown.edit else ()))]
        if meant.is_scaled:
            words.append(_message(f"The expressions sum to more than 1, so they are scaled down: {meant.expression}"))
        lines = ["", ""]
        if shown.request:
            names = visit.name, edited_name(visit.name)
            lines = [write(shown.request, *names, self.weights) for write in (command_line, python_lines)]
        return [(str(shown.before), str(shown.after)), "".join(words), *adjusted, *lines]


def _controls(values: tuple[Any, ...]) -> Controls:
    """The controls' values in the order of `_Inputs.values`."""
    weights, others = values[: len(SLIDERS)], values[len(SLIDERS) :]
    neutral, light, lamp, ambient, softness, kelvin, tint, strength, faces, force = others
    return Controls(
        tuple(map(float, weights)), bool(neutral), light, float(lamp["azimuth"]), float(lamp["elevation"]), float(ambient),
        float(softness), float(kelvin), str(tint["colour"]), float(strength), str(faces["chosen"]), bool(force),
    )  # fmt: skip


def _message(words: str, kind: str = "") -> str:
    role = "alert" if kind == "error" else "status"
    return f'<p class="message {kind}" role="{role}">{escape(words)}</p>'


_DROP_FIRST = _message("Drop a photo first, or use the packaged one.")


def _choice(visit: Visit) -> dict[str, Any]:
    """The value of the component `faces`."""
    images = [f"data:image/jpeg;base64,{base64.b64encode(data).decode()}" for data in visit.thumbnails()]
    return {"faces": images, "chosen": visit.controls.face if visit.controls else "1"}


def _readings_table(readings: Readings) -> str:
    """Rows: match, Q, and what the critic sees; a column for each face."""
    rows = {} if len(readings.faces) == 1 else {"Face": [str(i) for i in range(1, len(readings.faces) + 1)]}
    rows |= {
        f"Match with the photo ({readings.identity})": [f"{one.match:.3f}" for one in readings.faces],
        "Naturalness Q, before": [f"{one.quality_before:.2f}" for one in readings.faces],
        "Naturalness Q, after": [f"{one.quality_after:.2f}" for one in readings.faces],
    }
    for name in ("expression", "lighting"):
        seen = [getattr(one, name) for one in readings.faces]
        if all(seen):
            rows[f"{name.capitalize()} as the critic sees it"] = [f"{one.name} ({one.probability:.0%})" for one in seen]
    lines = ("".join(f"<td>{escape(value)}</td>" for value in values) for values in rows.values())
    return f"<table>{''.join(f'<tr><th scope=row>{escape(name)}</th>{line}</tr>' for name, line in zip(rows, lines, strict=True))}</table>"


def _batch_words(batch: Batch, line: str) -> str:
    """What became of a batch, with the first failures."""
    words = [_message(f"{batch.n_edited} of {batch.n_photos} photos were edited.")]
    failed = [(photo, note) for photo, output, note in batch.rows if not output]
    words += [_message(f"{photo}: {note}", "warning") for photo, note in failed[:_N_FAILURES]]
    if len(failed) > _N_FAILURES:
        words.append(_message(f"{len(failed) - _N_FAILURES} more failed: {TABLE} in the zip file has them all.", "warning"))
    return "".join([*words, _message(f"The same from the command line: {line}")])
