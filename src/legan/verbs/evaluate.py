"""The verb that compares models of face editing by all metrics."""

import json
from pathlib import Path
from typing import Annotated

import typer

from legan.verbs.command import renamed
from legan.verbs.options import Device, Json

app = typer.Typer()


@app.command(cls=renamed(report="out"))
def evaluate(
    data: Annotated[
        list[str],
        typer.Option(metavar="DIR[:SPLIT]", help="Data set; may be repeated. With --results: folder of input pictures."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the report: a new one, or one of an earlier report.")],
    editor: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]PATH", help="Weights file, run folder, `packaged` or `fitted`; may be repeated."),
    ] = None,
    results: Annotated[
        list[str] | None, typer.Option(metavar="NAME=DIR", help="Folder of a model's results, named as their inputs.")
    ] = None,
    truth: Annotated[Path | None, typer.Option(help="With --results: folder of true edits, named as their inputs.")] = None,
    real: Annotated[Path | None, typer.Option(help="With --results: folder of real pictures.")] = None,
    split: Annotated[str, typer.Option(help="train, val or test, where --data does not say.")] = "test",
    n: Annotated[int, typer.Option("--n", help="Edits drawn from each data set.")] = 2000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same edits.")] = 0,
    fid_network: Annotated[str, typer.Option(help="lightcnn, lightcnn9, lightcnn29, inception, or a file.")] = "lightcnn",
    lpips_network: Annotated[str, typer.Option(help="lightcnn, lightcnn9, lightcnn29, alex, vgg, or a file.")] = "lightcnn",
    identity: Annotated[str, typer.Option(help="Embedding of the match score, as in `legan match`.")] = "packaged",
    quality: Annotated[Path | None, typer.Option(help="Weights of Q, instead of the packaged ones.")] = None,
    preference: Annotated[Path | None, typer.Option(help="preference.json of `legan study export`.")] = None,
    resamples: Annotated[int, typer.Option(help="Resamples of the intervals; 0 for none.")] = 1000,
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
    batch_size: Annotated[int, typer.Option(help="Pictures that go through a network together.")] = 16,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Compare editors, or folders of their results: FID, KID, LPIPS, SSIM, PSNR, match, quality, precision and recall.

    Writes report.json, table.md, table.tex, table.csv, images.csv and report.html; run again, it continues.

    Examples:

      legan evaluate --editor packaged --editor runs/lite --data data/rendered -o out/

      legan evaluate --results a=a/ --results b=b/ --data inputs/ --truth truth/ -o out/
    """
    from legan.apply.evaluate import build
    from legan.apply.evaluate.measures import Choice
    from legan.apply.evaluate.report import markdown
    from legan.apply.progress import counted_progress

    chosen = build.Request(
        tuple(data), tuple(editor or ()), tuple(results or ()), truth, real, split, n, seed, preference, resamples
    )
    choice = Choice(fid_network, lpips_network, identity, quality, device)
    with counted_progress("measuring pictures") as progress:
        found = build.evaluate(chosen, out, choice, workers, batch_size, progress)
    typer.echo(json.dumps(found) if as_json else f"{markdown(found)}\n{out / 'report.html'}")
