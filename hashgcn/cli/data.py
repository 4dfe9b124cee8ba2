"""The commands of data, and the options that say how a file of events is read."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import numpy as np

    from hashgcn.data import Dataset

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

# Options that say how a file of events is read.
READING: dict[str, Any] = {
    "user_column": Annotated[
        str | None, typer.Option(help="Column of user ids in a file of events.")
    ],
    "item_column": Annotated[
        str | None, typer.Option(help="Column of item ids in a file of events.")
    ],
    "time_column": Annotated[
        str | None, typer.Option(help="Column of times: numbers, dates or ISO 8601 text.")
    ],
    "time_format": Annotated[
        str | None,
        typer.Option(help="How times are written as text, in strptime's notation: %d/%m/%Y."),
    ],
    "weight_column": Annotated[
        str | None, typer.Option(help="Column of weights, for --min-weight.")
    ],
    "drop_missing": Annotated[
        bool,
        typer.Option(
            "--drop-missing", help="Leave out events that lack a user, an item or a time."
        ),
    ],
    "min_weight": Annotated[float | None, typer.Option(help="Leave out events of less weight.")],
    "item_file": Annotated[
        Path | None,
        typer.Option(
            help="File of the ids of all items that are still there, one per line (.txt) or in a "
            "column; leave out events of others."
        ),
    ],
    "item_file_column": Annotated[
        str | None, typer.Option(help="Column of ids in --item-file, if it is a table.")
    ],
    "max_items_per_user": Annotated[
        int | None, typer.Option(help="Leave out users with more than N distinct items: bots.")
    ],
    "k_core": Annotated[
        int | None, typer.Option(help="Keep users with at least K items, and items with K users.")
    ],
    "split": Annotated[
        str | None,
        typer.Option(
            help="How test pairs are split off a file: random (some of each user's, the default), "
            "last (each user's last), time (the latest of all) or none."
        ),
    ],
    "test_fraction": Annotated[
        float | None,
        typer.Option(help="Fraction of the pairs held out by --split random and time (0.2)."),
    ],
    "split_seed": Annotated[int | None, typer.Option(help="Seed of --split random (0).")],
    "test_file": Annotated[
        Path | None, typer.Option(help="File of test events, instead of a split.")
    ],
    "format": Annotated[
        str | None,
        typer.Option(
            help="Format of the file, if its name does not tell: csv, tsv, jsonl, parquet, inter, "
            "movielens, lightgcn or scipy."
        ),
    ],
    "separator": Annotated[
        str | None, typer.Option(help="Separator between columns of csv and tsv.")
    ],
    "quote": Annotated[
        str | None,
        typer.Option(
            help="Quote character of csv and tsv, empty for none (csv: a double quote, tsv: none)."
        ),
    ],
    "no_header": Annotated[
        bool,
        typer.Option(
            "--no-header", help="The csv or tsv has no header; columns are column_1, column_2, ..."
        ),
    ],
}


def with_reading(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of READING where it has a parameter `reading`.

    It is given those that were set, as arguments of read_interactions that JSON can hold.
    """

    @wraps(command)
    def run(**given: Any) -> None:
        options = {name: given.pop(name) for name in READING}
        command(**given, reading=_arguments(**options))

    parameters = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        if parameter.name != "reading":
            parameters.append(parameter)
            continue
        for name, annotation in READING.items():
            default = False if name in ("drop_missing", "no_header") else None
            parameters.append(
                inspect.Parameter(name, parameter.kind, default=default, annotation=annotation)
            )
    # As an attribute it is unknown to mypy; inspect reads it, and so does Typer.
    vars(run)["__signature__"] = inspect.Signature(parameters)
    return run


def _arguments(
    drop_missing: bool,
    no_header: bool,
    item_file: Path | None,
    item_file_column: str | None,
    test_file: Path | None,
    **given: Any,
) -> dict[str, Any]:
    """Options by the names that read_interactions has for them, without those not given."""
    given["drop_missing"] = True if drop_missing else None
    given["header"] = False if no_header else None
    given["test"] = None if test_file is None else str(test_file.resolve())
    given["seed"] = given.pop("split_seed")
    given = {name.removesuffix("_column"): value for name, value in given.items()}
    given["item_file"] = None if item_file is None else str(item_file.resolve())
    given["item_file_column"] = item_file_column
    return {name: value for name, value in given.items() if value is not None}


def summary(data: Dataset) -> str:
    """One line about what was read."""
    text = (
        f"{data.name}: {data.train.num_users:,} users, {data.train.num_items:,} items, "
        f"{data.train.num_pairs:,} train and {data.test.num_pairs:,} test pairs"
    )
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in data.left_out.items())
    return text + (f"; left out: {reasons}" if reasons else "")


@app.command("list")
def list_datasets(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the data sets that are known by name.

    Example: hashgcn data list
    """
    from hashgcn.data import PUBLISHED

    lines = {"sample": "generated, at once: 2,000 users with tastes, 1,500 items"}
    lines |= {
        name: f"{entry.about} (download: hashgcn data fetch {name})"
        for name, entry in PUBLISHED.items()
    }
    if as_json:
        typer.echo(json.dumps(lines, indent=2))
        return
    for name, about in lines.items():
        typer.echo(f"{name:<12} {about}")


@app.command()
def fetch(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Names of `hashgcn data list`.")
    ],
    data: Annotated[Path, typer.Option(help="Folder in which each data set gets a folder.")] = Path(
        "data"
    ),
    home: Annotated[
        str | None, typer.Option(help="Address of a mirror that holds NAME/train.txt.")
    ] = None,
    quiet: Annotated[bool, typer.Option(help="Show no progress bar.")] = False,
) -> None:
    """Fetch published data sets.

    Every file is checked, and an interrupted transfer is resumed.

    Example: hashgcn data fetch gowalla --data data
    """
    from tqdm import tqdm

    from hashgcn.data import catalogue

    for name in names:
        # Shown with the first bytes, so that an error is alone on its line.
        options = {"unit": "B", "unit_scale": True, "leave": False, "delay": 0.1}
        with tqdm(desc=name, disable=quiet, **options) as bar:

            def show(file: str, done: int, total: int | None, bar: tqdm = bar) -> None:
                bar.set_postfix_str(file, refresh=False)
                bar.total = total
                bar.update(done - bar.n)

            folder = catalogue.fetch(name, data, home=home or catalogue.HOME, progress=show)
        typer.echo(f"{name}: checked, in {folder}")


@app.command()
@with_reading
def info(
    dataset: Annotated[
        str, typer.Argument(help="A name, a folder, a file or a pattern, as for train.")
    ],
    data: Annotated[
        Path | None, typer.Option(help="Folder that holds the folder of a published data set.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Save a picture of the degrees by rank to this PNG file.")
    ] = None,
    quiet: Annotated[bool, typer.Option(help="Show no progress bar.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    reading: Any = None,
) -> None:
    """Describe what training would see of a data set.

    Counts, density, degrees and what was left out.

    Example: hashgcn data info plays.csv --user-column user --item-column track --plot degrees.png
    """
    from hashgcn.data import describe, load

    loaded = load(dataset, data, progress=not quiet, **reading)
    found = describe(loaded)
    if plot is not None:
        _plot_degrees(loaded.train.degrees(), loaded.train.popularity(), loaded.name, plot)
    if as_json:
        typer.echo(json.dumps({"name": loaded.name, **found}, indent=2))
        return
    typer.echo(summary(loaded))
    typer.echo(f"events: {found['events']:,}")
    typer.echo(f"density {found['density']:.3g}")
    known = "known" if found["order_in_time_known"] else "not known"
    typer.echo(f"order of a user's items in time: {known}")
    for key, text in (
        ("users_without_train", "users without a train pair"),
        ("items_without_train", "items without a train pair"),
        ("test_pairs_unknown_to_train", "test pairs of such users or items"),
    ):
        typer.echo(f"{text}: {found[key]:,}")
    columns = list(found["user_degrees"])
    typer.echo("train pairs of" + "".join(f"{column:>10}" for column in columns))
    for kind in ("user", "item"):
        values = found[f"{kind}_degrees"].values()
        typer.echo(f"{'each ' + kind:<14}" + "".join(f"{value:>10,.6g}" for value in values))
    largest = found["largest_users"]
    listed = ", ".join(f"{x['user']} {x['train_pairs']:,} ({x['share']:.2%})" for x in largest[:3])
    typer.echo(f"users with most train pairs: {listed}")
    share = found["share_of_largest_users"]
    typer.echo(f"share of train pairs of the 1% of users with most: {share:.2%}")
    if plot is not None:
        typer.echo(f"saved {plot}")


def _plot_degrees(users: np.ndarray, items: np.ndarray, title: str, path: Path) -> None:
    """Train pairs of users and of items by rank, int [m] and [n], on logarithmic axes, as PNG."""
    from hashgcn.files import write_atomic
    from hashgcn.runs.style import COLOURS, OURS, clean, new_figure

    figure = new_figure(5, 3.6)
    axes = figure.subplots()
    for degrees, name, colour in ((users, "users", OURS), (items, "items", COLOURS[0])):
        ordered = sorted(degrees[degrees > 0].tolist(), reverse=True)
        axes.plot(range(1, len(ordered) + 1), ordered, color=colour, label=name)
    axes.set(xscale="log", yscale="log", xlabel="rank", ylabel="train pairs")
    axes.set_title(title, parse_math=False)  # a name may have a $, which would begin a formula
    axes.legend()
    clean(axes)
    write_atomic(path, lambda temporary: figure.savefig(temporary, format="png", dpi=120))
