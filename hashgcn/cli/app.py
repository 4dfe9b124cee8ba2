"""Command line: train, evaluate, recommend, data, export, reproduce, bench, report, info."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from hashgcn import __version__
from hashgcn.cli import data as cli_data
from hashgcn.cli import export as cli_export
from hashgcn.runs.folder import Run, read_json, write_settings
from hashgcn.train.settings import from_text

app = typer.Typer(
    help="Graph hashing for recommendation: binary codes for users and items.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(cli_data.app, name="data", help="Datasets: list, info, fetch.")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")]


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
@cli_data.with_reading
def train(
    dataset: Annotated[
        str,
        typer.Argument(
            help="A name of `hashgcn data list`, a folder in LightGCN's format or a file of events."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the run's files.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder that holds the folder of a published dataset.")
    ] = None,
    reading: Any = None,
    method: Annotated[
        str, typer.Option(help="recall_hash, lightgcn, bgch, hashgnn or hashrec.")
    ] = "recall_hash",
    code_length: Annotated[
        int | None, typer.Option(help="Bits of a code, in all; the method's default if left out.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    seed: Annotated[int, typer.Option(help="Of initial values, order and split.")] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting; may be repeated."),
    ] = None,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 for torch's default.")] = 0,
    resume: Annotated[bool, typer.Option(help="Continue from the run's checkpoint.")] = False,
    quiet: Annotated[bool, typer.Option(help="No progress bar.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train codes, and evaluate them on test.

    The number of epochs is chosen on a part of train; the model is then refitted on all of it and
    evaluated once. Everything is saved to a folder; --json prints its metrics.json.

    Example: hashgcn train plays.csv --user-column user --item-column track --out runs/plays
    """
    given: dict[str, Any] = {"seed": seed}
    if code_length is not None:
        given["code_length"] = code_length
    given |= from_text(settings or [])
    run = Run(out)
    if run.metrics.exists() and not resume:
        raise ValueError(f"--out: expected a new folder, got {out}, which holds a finished run")
    if run.has_checkpoint() and not resume:
        raise ValueError(
            f"--out: expected a new folder, got {out}, which holds an unfinished run; "
            "continue it with --resume"
        )

    import torch

    from hashgcn.data.catalogue import is_file_of_events, load
    from hashgcn.models import METHODS
    from hashgcn.runs.report.style import metrics_table

    if method not in METHODS:
        raise ValueError(f"--method: expected one of {', '.join(METHODS)}, got {method!r}")
    if threads:
        torch.set_num_threads(threads)
    model = METHODS[method](**given)
    _check_device(device)
    interactions = load(dataset, data, **reading)
    out.mkdir(parents=True, exist_ok=True)
    root = None if data is None else str(data.resolve())
    if is_file_of_events(dataset):
        typer.echo(cli_data.summary(interactions), err=as_json)
        dataset = str(Path(dataset).resolve())
    asked = (method, dataset, root, model.settings, reading)
    if not resume:
        write_settings(run, *asked)
    try:
        model.fit(interactions, device=device, run=out, resume=resume, progress=not quiet)
    except KeyboardInterrupt:
        typer.echo("hashgcn: interrupted; continue with --resume", err=True)
        raise typer.Exit(130) from None
    if resume:  # only now is it known to be the run that was begun; its data may have moved
        write_settings(run, *asked)
    metrics = model.metrics or {}
    if as_json:
        typer.echo(json.dumps(metrics, indent=2))
        return
    if interactions.test.num_pairs:
        columns = {"popularity": metrics["popularity_ranking"]}
        columns |= {name: metrics[name] for name in metrics["bytes_per_item"]}
        typer.echo(metrics_table(columns))
    else:
        typer.echo(f"no test metrics: {interactions.name} has no test pairs")
    typer.echo(
        f"{metrics['epochs']} epochs in {metrics['train_seconds']:.1f} s, selected in "
        f"{metrics['selection_seconds']:.1f} s; peak memory {metrics['peak_rss_mb']:.0f} MB"
    )
    typer.echo(f"saved to {out}")


@app.command()
def evaluate(
    run: RunArgument,
    data: Annotated[Path | None, typer.Option(help="Data folder or file, if it has moved.")] = None,
    test_file: Annotated[
        Path | None, typer.Option(help="The run's file of test events, if it has moved.")
    ] = None,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 for torch's default.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Print the test metrics of a run's codes.

    All items are ranked for all users; beside them the metrics of ranking by popularity, of ties
    broken by raw id, and what ties could have made of it.

    Example: hashgcn evaluate runs/gowalla
    """
    import time

    import torch

    from hashgcn.evaluate import protocol as evaluation
    from hashgcn.runs.opened import FinishedRun
    from hashgcn.runs.report.style import metrics_table, ties_table

    if threads:
        torch.set_num_threads(threads)
    finished = FinishedRun.load(Run(run), data=data, test_file=test_file)
    codes, interactions, cutoffs = finished.ranking, finished.data, finished.cutoffs
    if not interactions.test.num_pairs:
        raise ValueError(f"{interactions.name}: expected test pairs to evaluate, got none")
    started = time.perf_counter()
    test = evaluation.evaluate(codes, interactions.train, interactions.test, cutoffs)
    seconds = time.perf_counter() - started
    original = evaluation.evaluate_original_order(codes, interactions, cutoffs)
    ties = {} if finished.weighted else evaluation.evaluate_ties(codes, interactions, cutoffs)
    popularity = evaluation.popularity_ranking(interactions, cutoffs)
    if as_json:
        content: dict[str, Any] = {
            "test": test,
            "test_original_order": original,
            **({"test_ties": ties} if ties else {}),
            "popularity_ranking": popularity,
            "evaluation_seconds": round(seconds, 3),
        }
        typer.echo(json.dumps(content, indent=2))
        return
    columns = {"popularity": popularity, "test": test, "original order": original}
    typer.echo(metrics_table(columns | (ties_table(ties) if ties else {})))
    users = int((interactions.test.degrees() > 0).sum())
    typer.echo(
        f"{users} users, {interactions.test.num_items} items, ranked and scored in {seconds:.2f} s "
        f"({torch.get_num_threads()} threads)"
    )


@app.command()
def recommend(
    run: RunArgument,
    user: Annotated[list[str], typer.Option(help="Raw ids of users.")],
    more: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", hidden=True)] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Items for each user.")] = 10,
    popularity: Annotated[
        float, typer.Option(min=-1, max=1, help="Weight of popularity; 1 as trained.")
    ] = 1.0,
    keep_seen: Annotated[bool, typer.Option(help="Also items the user already has.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Best items of users, from a run's codes.

    Example: hashgcn recommend runs/gowalla --user 0 7 -k 20
    """
    from hashgcn.retrieval import Recommender

    recommender = Recommender.load(Run(run).codes)
    wanted: list[Any] = user + (more or [])  # --user takes one value, the others follow it
    if recommender.user_ids.dtype.kind == "i":
        for at, text in enumerate(wanted):
            try:
                wanted[at] = int(text)
            except ValueError:
                raise ValueError(f"--user: expected an integer id, got {text!r}") from None
    ids, scores = recommender.recommend(
        wanted, k, filter_already_liked_items=not keep_seen, popularity=popularity
    )
    nothing: float = -recommender.index.code_length - 1
    digits = "+d"
    if recommender.scales is not None:
        nothing, digits = -math.inf, "+.3f"
    for row, raw in enumerate(wanted):
        found = scores[row] > nothing
        items, values = ids[row][found].tolist(), scores[row][found].tolist()
        if as_json:
            typer.echo(json.dumps({"user": raw, "items": items, "scores": values}))
        else:
            typer.echo(
                f"{raw}: "
                + "  ".join(f"{i} ({s:{digits}})" for i, s in zip(items, values, strict=True))
            )


app.command()(cli_export.export)


@app.command()
def reproduce(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="ROW", help="Rows or groups, see --list; all.")
    ] = None,
    run: Annotated[bool, typer.Option("--run", help="Train what has no stored result.")] = False,
    data: Annotated[
        Path | None, typer.Option(help="Folder that holds gowalla and yelp2018; for --run.")
    ] = None,
    data_set: Annotated[
        list[str] | None,
        typer.Option(help="gowalla, yelp2018 or sample; may be repeated. Not sample by default."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Seeds 0 to N-1 in place of the rows' own.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for tables and pictures.")] = Path(
        "build/reproduction"
    ),
    results: Annotated[
        Path | None,
        typer.Option(help="Folder of results; benchmarks/results/quality of the checkout."),
    ] = None,
    work: Annotated[Path, typer.Option(help="Folder for the runs' folders.")] = Path(
        "runs/reproduction"
    ),
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="For a trial, with --results elsewhere."),
    ] = None,
    force: Annotated[bool, typer.Option(help="With --run: train again what is stored.")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    threads: Annotated[int, typer.Option(help="CPU threads; 0 for torch's default.")] = 0,
    show: Annotated[bool, typer.Option("--list", help="Rows, groups, what is stored.")] = False,
    quiet: Annotated[bool, typer.Option(help="No progress bars.")] = False,
    as_json: JsonOption = False,
) -> None:
    """The published table beside ours.

    It is made from stored results; --run trains what is missing. A result is stored as soon as it
    is there, and an interrupted run goes on where it was.

    Example: hashgcn reproduce table --data data --run
    """
    from benchmarks.quality import rows as declared

    if force and not run:
        raise ValueError("--force: expected --run with it, got none")
    if settings and results is None:
        raise ValueError("--set: expected --results with a folder of the trial's own, got none")
    stored = results or _benchmarks_folder() / "results" / "quality"
    rows = declared.select(names or [], data_set or [])
    if seeds is not None:
        rows = declared.with_seeds(rows, seeds)

    from benchmarks.quality import results as storage
    from benchmarks.quality import runs, tables

    rows = storage.with_settings(rows, from_text(settings or []))
    if show:
        listed = tables.listed(rows, stored)
        typer.echo(json.dumps(listed, indent=1) if as_json else tables.listing(listed))
        return
    if run:
        _check_device(device)
        runs.check_data(rows, data)
        if force:
            runs.forget(rows, stored, work)
        try:
            failed = runs.run_missing(
                rows,
                data=data,
                stored=stored,
                work=work,
                device=device,
                threads=threads,
                progress=not quiet,
            )
        except KeyboardInterrupt:
            again = " without --force" if force else ""
            typer.echo(f"hashgcn: interrupted; the same command{again} goes on", err=True)
            raise typer.Exit(130) from None
    written = tables.write(rows, stored, out)
    typer.echo(written[0 if as_json else 1].read_text(encoding="utf-8"))
    for path in written:
        typer.echo(f"saved {path}", err=as_json)
    absent = sum(len(storage.missing(stored, row)) for row in rows)
    if run and failed:
        raise ValueError(f"{len(failed)} runs failed: {'; '.join(failed)}")
    if absent:
        typer.echo(f"missing or stale: {absent}; --run trains them", err=as_json)


@app.command()
def bench(
    ops: Annotated[
        list[str] | None, typer.Argument(metavar="OP", help="Files bench_OP.py; all usual.")
    ] = None,
    threads: Annotated[str, typer.Option(help="Thread counts, by commas.")] = "1,2",
    cpu: Annotated[
        list[str] | None,
        typer.Option(help="Narrower instruction sets to time too; avx2 if that is narrower."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder that holds the folder gowalla.")] = None,
    rows: Annotated[
        Path | None, typer.Option(help="File to append rows to; one a machine by default.")
    ] = None,
    quick: Annotated[bool, typer.Option(help="Tiny sizes: tests the suite.")] = False,
) -> None:
    """Time the ops against other libraries.

    Plain torch is one of them. Needs a checkout. Results are compared first. Rows are appended as
    they are made: an interrupted run keeps them.
    scaling and train run only when named.

    Example: hashgcn bench hamming_topk --threads 2
    """
    from hashgcn import _numpy

    folder = _benchmarks_folder()
    missing = [
        name for name in ("pytest", "pytest_benchmark") if not importlib.util.find_spec(name)
    ]
    if missing:
        raise ValueError(
            f"bench: expected {' and '.join(missing)} to be installed; pip install 'hashgcn[bench]'"
        )
    known = sorted(path.stem.removeprefix("bench_") for path in folder.glob("bench_*.py"))
    unknown = [op for op in ops or [] if op not in known]
    if unknown:
        raise ValueError(f"OP: expected one of {', '.join(known)}, got {unknown[0]!r}")
    available = _numpy.instruction_sets()
    if cpu is None:
        cpu = ["avx2"] if available[0] == "avx512" else []
    wrong = [name for name in cpu if name not in available]
    if wrong:
        raise ValueError(f"--cpu: expected some of {', '.join(available)}, got {wrong[0]!r}")

    files = [str(folder / f"bench_{op}.py") for op in ops or []] or [str(folder)]
    command = [sys.executable, "-m", "pytest", *files, "-q", "-W", "default"]
    command += ["--benchmark-quiet", "--threads", threads, *(["--quick"] if quick else [])]
    command += ["--rows", str(rows.resolve())] if rows else []
    environment = dict(os.environ)
    if data is not None:
        environment["HASHGCN_DATA"] = str(data.resolve())
    runs: list[tuple[list[str], dict[str, str]]] = [([], {})]
    runs += [(["-m", "narrow"], {"HASHGCN_CPU": name}) for name in cpu]
    nothing_to_run = 5  # pytest's status where no case is marked for narrower sets
    failed = 0
    for options, variables in runs:
        done = subprocess.run(
            [*command, *options], cwd=folder.parent, env=environment | variables, check=False
        )
        failed = failed or (0 if done.returncode == nothing_to_run else done.returncode)
    if failed:
        raise typer.Exit(failed)


@app.command()
def report(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN", help="Folder of a finished run; FILEs for --benchmarks."),
    ] = None,
    titles: Annotated[
        Path | None,
        typer.Option(help="CSV, TSV, JSON lines or Parquet of items: ids, then titles."),
    ] = None,
    title_columns: Annotated[
        str | None,
        typer.Option(metavar="ID,TITLE", help="Of --titles; its first two columns if left out."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Data folder or file, if it has moved.")] = None,
    test_file: Annotated[
        Path | None, typer.Option(help="The run's file of test events, if it has moved.")
    ] = None,
    benchmarks: Annotated[
        bool,
        typer.Option("--benchmarks", help="Of rows of `hashgcn bench`: the checkout's, or FILEs."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="The page, RUN/report.html; a folder for --benchmarks, build/report."),
    ] = None,
) -> None:
    """Make a page of a run to look at.

    Curves, quality, codes, distances, popularity and examples, in one HTML file that needs no
    network. --benchmarks makes the page of measured rows
    instead: tables, bars, roofline, scaling curves.

    Example: hashgcn report runs/plays --titles tracks.csv --title-columns track_id,name
    """
    if benchmarks:
        _report_benchmarks(paths, out or Path("build/report"))
        return
    if not paths or len(paths) > 1:
        raise ValueError(f"RUN: expected the folder of one run, got {len(paths or [])}")
    columns = tuple(title_columns.split(",")) if title_columns is not None else None
    if columns is not None and (titles is None or len(columns) != 2):
        raise ValueError(
            f"--title-columns: expected ID,TITLE and --titles with it, got {title_columns!r}"
        )
    from hashgcn.runs import report as run_report
    from hashgcn.runs.opened import FinishedRun

    run = Run(paths[0])
    results = read_json(run.metrics)
    finished = FinishedRun.load(run, data=data, test_file=test_file)
    names = None
    if titles is not None:
        names = run_report.read_titles(titles, finished.recommender.index.ids, columns)
    run_report.write(finished, results, out or run.report, names)
    typer.echo(f"saved {out or run.report}")


def _report_benchmarks(files: list[Path] | None, out: Path) -> None:
    from benchmarks import report as benchmark_report

    if not files:
        files = sorted((_benchmarks_folder() / "results").glob("bench-*.jsonl"))
        if not files:
            raise ValueError("FILE: expected rows, got none; make them with `hashgcn bench`")
    pages = benchmark_report.write(benchmark_report.read_rows(files), out)
    for page in pages:
        typer.echo(f"saved {page}")


@app.command()
def info(
    as_json: JsonOption = False,
) -> None:
    """Versions, live kernels, CPU path, GPUs.

    The CPU path is the instruction set in use; HASHGCN_CPU forces another. Kernels that are not
    live stand with the reason.

    Example: hashgcn info --json
    """
    from hashgcn.cli import info as information

    found = information.collect()
    typer.echo(json.dumps(found, indent=2) if as_json else information.as_text(found))


def _benchmarks_folder() -> Path:
    """benchmarks/ of the checkout that this package is imported from."""
    folder = Path(__file__).resolve().parent.parent / "benchmarks"
    if not (folder / "harness.py").is_file():
        raise ValueError(
            f"expected a checkout of the project, with {folder}: benchmarks are not installed"
        )
    return folder


def _check_device(name: str) -> None:
    import torch

    try:
        torch.empty(0, device=name)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"--device: expected a device of this machine, got {name!r}: {reason}"
        ) from error


def _describe(error: Any) -> str:
    """What is wrong with one setting, or with several together."""
    message, name = error["msg"].removeprefix("Value error, "), ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"{name}: expected a setting of the method, see docs/reference/settings.md"
    return f"{name}: {message}, got {error['input']!r}" if name else message


def main() -> None:
    """Entry point: errors of the user's making are one line on stderr, not a traceback."""
    try:
        app()
    except ValidationError as error:
        sys.exit("hashgcn: " + "; ".join(map(_describe, error.errors())))
    except (ValueError, OSError) as error:
        sys.exit(f"hashgcn: {error}")
