"""The command line as a person uses it."""

from __future__ import annotations

import json
import shlex

import pytest
import typer
from command_line import hashgcn, hashgcn_process

from hashgcn import __version__
from hashgcn.cli.app import app
from hashgcn.retrieval import Recommender

COLUMNS = ("--user-column", "who", "--item-column", "what")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of the sample."""
    out = tmp_path_factory.mktemp("runs") / "sample"
    options = ("--code-length", 32, "--set", "epochs=2", "--set", "trials=2")
    done = hashgcn("train", "sample", "--out", out, *options)
    assert done.returncode == 0, done.stderr
    assert "recall@20" in done.stdout and "popularity" in done.stdout
    assert "recall@50 on the validation part, by trial:" in done.stdout
    assert "trial 1" in done.stderr and "refit" in done.stderr and "loss=" in done.stderr
    return out


def test_evaluate_repeats_the_runs_metrics(run):
    done = hashgcn("evaluate", run, "--json")
    assert done.returncode == 0, done.stderr
    again, written = json.loads(done.stdout), json.loads((run / "metrics.json").read_text())
    assert again["test"] == written["test"]
    assert again.keys() == {
        *("test", "popularity", "original_order", "ties", "cold_test_users", "cold_test_items"),
        *("code_use", "remarks", "evaluation_seconds"),
    }
    assert again["code_use"] == written["code_use"] and again["remarks"] == []
    printed = hashgcn("evaluate", run).stdout
    assert printed.split()[:2] == ["popularity", "codes"] and "users and 1,500 items" in printed


@pytest.mark.parametrize("method", ["recall_hash", "lightgcn"])
def test_codes_that_waste_bits_are_named(tmp_path, method):
    """2,000 users have 4 bits, so that nearly all share their code."""
    out = tmp_path / "run"
    options = ("--set", "epochs=1", "--code-length", 4, "--method", method, "--quiet")
    printed = hashgcn("train", "sample", "--out", out, *options).stdout.splitlines()
    (line,) = [line for line in printed if line.startswith("The codes waste bits: ")]
    assert "% of users share their code, and so their ranking" in line
    assert "To try next: twice the code_length." in line
    assert line in hashgcn("evaluate", out).stdout.splitlines()
    assert line in json.loads(hashgcn("evaluate", out, "--json").stdout)["remarks"]
    use = json.loads((out / "metrics.json").read_text())["code_use"]
    assert use["shared_users"] > 0.9 and use["shared_items"] > 0.9


def test_a_refused_resume_changes_nothing(run):
    before = (run / "settings.json").read_bytes()
    for other in (("--method", "hashrec"), ("--set", "epochs=3")):
        done = hashgcn("train", "sample", "--out", run, "--code-length", 32, *other, "--resume")
        assert done.returncode == 1 and "expected the same run, got one with" in done.stderr
        assert (run / "settings.json").read_bytes() == before


def test_another_method_with_other_rankings(tmp_path):
    out = tmp_path / "bgch"
    options = ("--set", "epochs=1", "--set", "validation_fraction=0", "--quiet")
    done = hashgcn("train", "sample", "--out", out, "--method", "bgch", *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:3] == ["popularity", "codes", "scaled"]


def test_data_without_test_pairs(tmp_path):
    folder, out = tmp_path / "few", tmp_path / "run"
    folder.mkdir()
    (folder / "train.txt").write_text("0 1 2 3\n1 2 3 4\n2 0 1 4\n7\n")
    (folder / "test.txt").write_text("0\n")
    options = ("--set", "epochs=1", "--set", "validation_fraction=0", "--quiet")
    done = hashgcn("train", folder, "--out", out, *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("no test metrics: few has no test pairs\n1 epochs in ")
    done = hashgcn("recommend", out, "--user", 0, 7, "-k", 2)  # user 7 has no items
    assert [line.count("(") for line in done.stdout.splitlines()] == [2, 2], done.stderr
    done = hashgcn("evaluate", out)
    assert (
        done.returncode == 1
        and "data: expected test pairs to evaluate, got none in few" in done.stderr
    )
    (folder / "train.txt").write_text("0 1 2 4\n1 2 3 4\n2 0 1 3\n7\n")  # of the same popularity
    done = hashgcn("evaluate", out)
    assert done.returncode == 1 and "expected the train pairs of the fit, got" in done.stderr


def test_recommend(run):
    done = hashgcn("recommend", run, "--user", "user-0003", "user-0100", "-k", 4)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["user-0003", "user-0100"]
    assert all(line.count("(") == 4 for line in lines)
    plain = json.loads(hashgcn("recommend", run, "--user", "user-0003", "-k", 4, "--json").stdout)
    assert len(plain["items"]) == len(plain["scores"]) == 4
    dialled = hashgcn("recommend", run, "--user", "user-0003", "--popularity-weight", -1, "--json")
    assert json.loads(dialled.stdout)["items"][:4] != plain["items"]


def test_report(run, tmp_path):
    titles = tmp_path / "items.csv"
    ids = Recommender.load(run / "codes.safetensors").index.ids
    rows = [f"{raw},{raw[:4]},Kind of {at}" for at, raw in enumerate(ids)]
    titles.write_text("\n".join(["id,genre,name", *rows]))
    columns = ("--titles", titles, "--title-columns", "id,name")
    done = hashgcn("report", run, *columns, "--out", tmp_path / "page.html")
    assert done.stdout == f"saved {tmp_path / 'page.html'}\n", done.stderr
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    written = json.loads((run / "metrics.json").read_text())
    assert f"{written['test']['recall@50']:.4f}" in page and "Kind of 1" in page


def events(folder, name="plays.csv"):
    """A file of events in which users like the items of their own parity."""
    rows = [f"u{u},{i},{(7 * u + i) % 40}" for u in range(60) for i in range(u % 2, 40, 2)]
    path = folder / name
    path.write_text("\n".join(["who,what,when", *rows]) + "\n")
    return path


def test_a_file_of_events_from_training_to_recommendations(tmp_path):
    path, out = events(tmp_path), tmp_path / "run"
    columns = (*COLUMNS, "--time-column", "when")
    options = ("--split", "last", "--set", "epochs=2", "--set", "validation_part=last", "--quiet")
    done = hashgcn("train", path, "--out", out, *columns, *options, "--code-length", 32)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("plays: 60 users, 40 items, 1,140 train and 60 test pairs\n")
    settings = json.loads((out / "settings.json").read_text())
    assert settings["data"]["origin"]["name"] == str(path)
    assert settings["data"]["origin"]["split"] == "last"

    moved = path.rename(tmp_path / "moved.csv")
    assert "plays.csv: no such file" in hashgcn("evaluate", out).stderr
    again = hashgcn("evaluate", out, "--data", moved, "--json")
    assert again.returncode == 0, again.stderr
    written = json.loads((out / "metrics.json").read_text())
    assert json.loads(again.stdout)["test"] == written["test"]
    assert hashgcn("recommend", out, "--user", "u3", "-k", 2).stdout.startswith("u3: ")


def test_a_folder_of_events_without_bots_and_old_items(tmp_path):
    lines = events(tmp_path).read_text().splitlines()
    bot = [f"bot,{i},1" for i in range(40)]
    for name, part in (("a", lines[1:400]), ("b", [*bot, *lines[400:]])):
        (tmp_path / "log").mkdir(exist_ok=True)
        (tmp_path / "log" / f"{name}.csv").write_text("\n".join([lines[0], *part]) + "\n")
    stock = tmp_path / "stock.txt"
    stock.write_text("".join(f"{i}\n" for i in range(30)))
    out, chosen = tmp_path / "run", ("--item-file", stock, "--max-items-per-user", 20)
    options = ("--set", "epochs=1", "--set", "validation_fraction=0", "--quiet")
    source = f"{tmp_path}/log/*.csv"
    done = hashgcn("train", source, "--out", out, *COLUMNS, *chosen, *options, "--code-length", 32)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("log: 60 users, 30 items, ")
    assert "310 of items outside item_file, 30 of users above max_items_per_user" in done.stdout
    assert hashgcn("evaluate", out).returncode == 0  # the run remembers all of it
    info = hashgcn("data", "info", tmp_path / "log", *COLUMNS).stdout
    assert "users with most train pairs: bot " in info


def test_data_info(tmp_path):
    path, plot = events(tmp_path), tmp_path / "degrees.png"
    columns = (*COLUMNS, "--k-core", 3)
    done = hashgcn("data", "info", path, *columns, "--plot", plot)
    assert done.returncode == 0, done.stderr
    assert "60 users, 40 items" in done.stdout and plot.stat().st_size > 1000
    found = json.loads(hashgcn("data", "info", path, *columns, "--json").stdout)
    assert found["users"] == 60 and found["user_degrees"]["max"] <= 20
    assert found["density"] == found["train_pairs"] / 2400


def test_data_list():
    text = hashgcn_process("data", "list").stdout
    assert all(name in text for name in ("sample", "gowalla", "yelp2018", "amazon-book"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("train", "{run}/metrics.json", "--out", "{run}/new"),
            "expected a name that ends in one of .csv",
        ),
        (
            ("train", "{run}/settings.json", "--out", "{run}/new", "--format", "jsonl"),
            "settings.json, line 1: expected a JSON object, got '{'",
        ),
        (("train", "sample", "--out", "{run}/new", "--k-core", "5"), "k_core: expected a file of"),
        (("data", "fetch", "movies"), "name: expected one of gowalla"),
        (
            ("recommend", "{run}", "--user", "nobody", "--cold-users", "error"),
            "expected ids of users with items in train, got 'nobody'",
        ),
        (("recommend", "{run}/missing", "--user", "x"), "no such file"),
        (("evaluate", "{run}/missing"), "no such file"),
        (("report", "{run}/missing"), "no such file"),
        (("report", "{run}", "--title-columns", "a,b"), "--titles with it, got 'a,b'"),
        (("report", "{run}", "--titles", "{run}/none.csv"), "none.csv: no such file"),
        (("train", "sample", "--out", "{run}"), "expected a new folder"),
        (("train", "nowhere", "--out", "{run}/new"), "'sample'"),
        (("train", "gowalla", "--out", "{run}/new"), "root: expected the folder"),
        (("train", "gowalla", "--data", "{run}", "--out", "{run}/new"), "train.txt"),
        (("train", "sample", "--out", "{run}/new", "--set", "epochs"), "KEY=VALUE, got 'epochs'"),
        (("train", "sample", "--out", "{run}/new", "--set", "epochs=x"), "epochs: "),
        (("train", "sample", "--out", "{run}/new", "--set", "colour=1"), "colour: "),
        (
            ("train", "sample", "--out", "{run}/new", "--method", "x"),
            "--method: expected one of rec",
        ),
        (("train", "sample", "--out", "{run}/new", "--device", "cuda:77"), "device"),
    ],
)
def test_errors_are_one_line(run, arguments, words):
    done = hashgcn(*(str(a).format(run=run) for a in arguments))
    assert done.returncode == 1
    assert done.stderr.startswith("hashgcn: ") and done.stderr.count("\n") == 1, done.stderr
    assert words in done.stderr


def test_malformed_data_is_reported_with_file_line_and_content(tmp_path):
    (tmp_path / "train.txt").write_text("0 1 2\n1 x7 3\n")
    (tmp_path / "test.txt").write_text("0 3\n")
    done = hashgcn("train", tmp_path, "--out", tmp_path / "run")
    assert done.returncode == 1
    for words in ("train.txt", "2", "1 x7 3"):
        assert words in done.stderr


def test_a_process_ends_as_the_command_here_does(tmp_path):
    words = ("train", "sample", "--out", tmp_path / "run", "--set", "colour=1")
    ends = [run(*words) for run in (hashgcn, hashgcn_process)]
    assert [(x.returncode, x.stdout, x.stderr) for x in ends] == [(1, "", ends[0].stderr)] * 2


def test_info_says_what_is_live():
    done = hashgcn("info", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["version"] == __version__ and found["cuda_kernels"]
    assert {"hamming_topk", "score_tables", "sign_swish"} <= set(found["cpu_kernels"])
    assert found["instruction_set"] in found["instruction_sets"]
    text = hashgcn("info").stdout
    for words in (__version__, found["instruction_set"], found["torch"]):
        assert words in text


def test_help_fits_a_screen():
    text = hashgcn_process("--help").stdout
    assert len(text.splitlines()) <= 24 and "..." not in text.partition("COMMAND [ARGS]...")[2]


def commands(group=None, path=()):
    """Every subcommand with its names, those of data as well."""
    for name, command in (group or typer.main.get_command(app)).commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def test_every_subcommand_has_an_example_that_it_can_parse():
    found = dict(commands())
    assert {("train",), ("report",), ("data", "fetch")} <= set(found)
    for path, command in found.items():
        words = shlex.split(command.help.partition("Example: ")[2])
        assert tuple(words[: len(path) + 1]) == ("hashgcn", *path), path
        command.make_context(path[-1], words[len(path) + 1 :])
        short = command.get_short_help_str(60)
        assert not short.endswith("..."), short


def test_commands_that_print_results_print_json_too(tmp_path):
    found = dict(commands())
    for path in (("train",), ("evaluate",), ("recommend",), ("info",)):
        assert any("--json" in option.opts for option in found[path].params), path
    assert "sample" in json.loads(hashgcn("data", "list", "--json").stdout)
    out = tmp_path / "run"
    options = ("--set", "epochs=1", "--set", "validation_fraction=0", "--quiet", "--json")
    done = hashgcn("train", events(tmp_path), "--out", out, *COLUMNS, *options)
    assert json.loads(done.stdout) == json.loads((out / "metrics.json").read_text())
    assert done.stderr.startswith("plays: 60 users")
