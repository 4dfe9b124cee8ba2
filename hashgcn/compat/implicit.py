"""The methods of hashgcn.models with the interface of implicit's recommenders."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike

from hashgcn.data import Dataset, Interactions
from hashgcn.errors import NotFittedError
from hashgcn.files import load_arrays, save_arrays
from hashgcn.retrieval import (
    Recommender,
    hamming_topk,
    pack_codes,
    popularity_query_bits,
    unpack_codes,
)
from hashgcn.retrieval.recommender import FILE_VERSIONS

if TYPE_CHECKING:
    from scipy.sparse import csr_array, csr_matrix
    from typing_extensions import Self

_FORMAT = "hashgcn.estimator"
# The score of an item that is left out or missing, as in implicit.
_LOWEST = -np.finfo(np.float32).max


class HashRecommender:
    """A method of hashgcn.models behind the interface of implicit's recommenders.

    Users and items are the rows and columns of a sparse matrix. Ids are int32 and scores float32. A
    scalar id gives arrays [N], an array of Q ids gives arrays [Q, N]. Training needs torch; a
    fitted recommender that was loaded or unpickled does not.

    Args:
        method: a name of hashgcn.models.METHODS.
        device: the torch device for training.
        num_threads: number of CPU threads for training and search; 0 uses the default.
        settings: settings of the method, by name. validation_fraction is 0 if left out, so that all
            `epochs` are trained.

    Raises:
        ValueError: an unknown method, or settings that are unknown or out of range.

    Examples:
        >>> import numpy as np
        >>> from scipy.sparse import csr_matrix
        >>> from hashgcn.compat.implicit import HashRecommender
        >>> ids = np.arange(20)  # users like the items of their parity, but for their own number
        >>> user_items = csr_matrix((np.add.outer(ids, ids) % 2 == 0) & (ids[:, None] != ids))
        >>> model = HashRecommender(code_length=32, epochs=4)
        >>> model.fit(user_items, show_progress=False)
        HashRecommender('recall_hash', 20 users, 20 items, codes of 32 bits, users of 2 levels)
        >>> recommended, scores = model.recommend([3, 8], user_items[[3, 8]], N=1)
        >>> recommended.tolist()
        [[3], [8]]
    """

    def __init__(
        self,
        method: str = "recall_hash",
        *,
        device: str = "cpu",
        num_threads: int = 0,
        **settings: Any,
    ) -> None:
        from hashgcn.models import METHODS

        if method not in METHODS:
            raise ValueError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
        model = METHODS[method](**{"validation_fraction": 0, **settings})
        self.method, self.device, self.num_threads = method, str(device), int(num_threads)
        self.settings = model.settings.as_set()
        self.recommender: Recommender | None = None

    def __repr__(self) -> str:
        state = "not fitted"
        if self.recommender is not None:
            state = repr(self.recommender).removeprefix("Recommender(").removesuffix(")")
        return f"HashRecommender({self.method!r}, {state})"

    def fit(
        self,
        user_items: csr_matrix | csr_array,
        show_progress: bool = True,
        callback: Callable[[int, float, float], None] | None = None,
    ) -> Self:
        """Trains codes of all users and items.

        Args:
            user_items: sparse [m, n]; an entry above 0 is an item that the user likes, whatever its
                value. Other formats than CSR are converted, with a warning.
            show_progress: show a progress bar.
            callback: called after each epoch with its number from 0, its seconds and its loss.

        Returns:
            self.

        Raises:
            ValueError: not a sparse matrix, no entries, or entries that are NaN, infinite or
                negative.

        Note:
            The same seed gives the same codes, for any number of threads.
        """
        from hashgcn.models import METHODS

        liked = _entries(_as_csr(user_items))
        if not liked.num_pairs:
            raise ValueError(
                "user_items: expected a matrix with entries, got none of "
                f"{liked.num_users} x {liked.num_items}"
            )
        # Rows of items by popularity, as in every data set: equal scores are ranked by row.
        order = np.argsort(-liked.popularity(), kind="stable")
        shape = (liked.num_users, liked.num_items)
        train = Interactions.from_pairs(liked.users(), np.argsort(order)[liked.ids], *shape)
        nothing = Interactions(np.zeros_like(train.ptr), train.ids[:0], train.num_items)
        data = Dataset("user_items", train, nothing, np.arange(train.num_users), order)
        model = METHODS[self.method](**self.settings)
        started = time.perf_counter()

        def after_epoch(entry: dict[str, Any]) -> None:
            nonlocal started
            if callback is not None:
                callback(entry["epoch"] - 1, time.perf_counter() - started, entry["loss"])
            started = time.perf_counter()

        with _threads(self.num_threads):
            model.fit(data, device=self.device, progress=show_progress, callback=after_epoch)
        self.recommender = model.recommender
        return self

    def recommend(
        self,
        userid: int | ArrayLike,
        user_items: csr_matrix | csr_array | None,
        N: int = 10,
        filter_already_liked_items: bool = True,
        filter_items: ArrayLike | None = None,
        recalculate_user: bool = False,
        items: ArrayLike | None = None,
        *,
        popularity_weight: float | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Finds the N best items of one or several users.

        Args:
            userid: int or int [Q], rows of the fitted matrix.
            user_items: CSR [Q, n], the items of each of these users; None unless
                filter_already_liked_items or recalculate_user is set.
            N: number of results per user, N >= 1.
            filter_already_liked_items: leave out the items of user_items.
            filter_items: ids that no user gets.
            recalculate_user: take the codes of users from user_items; userid may then name new
                users. Exactly the items of a user of `fit` give the code of that user, of the one
                asked for if several have them, else of the first; other items give the code that
                Recommender.fold_in makes of them.
            items: the only ids that are ranked, at most N of them; not with filter_items. All of
                them are returned, a user's own at the end.
            popularity_weight: p in [-1, 1], the weight of popularity relative to training; None
                weighs it as in training. Codes without popularity bits have no other weight.

        Returns:
            ids int32 and scores float32 `<b_u, d_i>`, [N] or [Q, N], best first. A user without
            items (in fit, or in user_items if recalculated) gets the most popular ones, whose
            scores are their numbers of users in fit. Items without users in fit are ranked only if
            `items` names them. If fewer than N items are left, [Q, N] ends with id -1 and the
            lowest finite float32, and [N] is shorter. A user's own among `items` have that lowest
            score.

        Raises:
            ValueError: user_items that are not CSR or not [Q, n], or with entries that are NaN,
                infinite or negative; N < 1; items together with filter_items; a weight out of
                range.
            IndexError: an id out of range.
            NotFittedError: `fit` was not called.

        Note:
            Deterministic; the results of a user do not depend on the batch. Cost: Q n counts of
            f bits.
        """
        fitted = self._fitted()
        items, filter_items = _listed_once(items), _listed_once(filter_items)
        single, users = _ids("userid", userid, None if recalculate_user else fitted.seen.num_users)
        count, index = _count(N, items), fitted.index
        liked = None
        if filter_already_liked_items or recalculate_user:
            liked = self._own(user_items, len(users))
        if recalculate_user and liked is not None:
            cold = liked.where(fitted.trained_items[liked.ids]).degrees() == 0
            rows = _with_the_same_items(fitted.seen, users, liked)
            new = np.flatnonzero(~cold & (rows < 0))
            codes = np.zeros((len(users), *fitted.user_codes.shape[1:]), np.int64)
            codes[rows >= 0] = fitted.user_codes[rows[rows >= 0]]
            codes[new] = fitted.fold_in(liked.of_users(new), num_threads=self.num_threads)
        else:
            cold, codes = fitted.is_cold(users), fitted.user_codes[users]
        _, allow = _listed(
            ("items", "filter_items"), items, filter_items, index.ids, fitted.trained_items
        )
        # Where items are named, all of them are returned: a user's own go to the end.
        named = items is not None and filter_already_liked_items
        ids, scores = fitted.search(
            codes,
            int(np.count_nonzero(allow)) if named else count,
            cold=cold,
            deny=liked if filter_already_liked_items and not named else None,
            allow=allow,
            untrained_items=True,  # `allow` has those that are asked for
            popularity_weight=popularity_weight,
            num_threads=self.num_threads,
        )
        if not named or liked is None:
            return _results(single, ids, scores)
        own = _contains(liked, index.rows(ids.ravel()).reshape(ids.shape))
        order = np.argsort(own, axis=1, kind="stable")[:, :count]
        ids, scores, own = (np.take_along_axis(x, order, 1) for x in (ids, scores, own))
        return _results(single, ids, np.where(own, _LOWEST, scores))

    def similar_items(
        self,
        itemid: int | ArrayLike,
        N: int = 10,
        recalculate_item: bool = False,
        item_users: csr_matrix | csr_array | None = None,
        filter_items: ArrayLike | None = None,
        items: ArrayLike | None = None,
        *,
        popularity_weight: float = 0.0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Finds the N items whose codes are nearest to that of an item, itself first.

        Args:
            itemid: int or int [Q].
            N: number of results per item, N >= 1.
            recalculate_item: as in implicit; it is not implemented.
            item_users: as in implicit; it is not used.
            filter_items: ids that are left out.
            items: the only ids that are ranked, at most N of them; not with filter_items.
            popularity_weight: p in [-1, 1]. 0 compares taste alone; above 0 popular items come
                first, below 0 the others do. Codes without popularity bits have no other weight
                than 0.

        Returns:
            ids int32 and scores float32, [N] or [Q, N]: cosines of the taste bits, plus p times the
            popularity bits of the item. Items without users in fit are similar to themselves alone.
            Fewer than N results are filled up as in recommend.

        Raises:
            ValueError: N < 1; items together with filter_items; a weight out of range.
            IndexError: an id out of range.
            NotImplementedError: recalculate_item.
            NotFittedError: `fit` was not called.

        Note:
            Deterministic. Cost: Q n counts of f bits.
        """
        if recalculate_item:
            raise NotImplementedError("recalculate_item: codes of items come from training alone")
        items, filter_items = _listed_once(items), _listed_once(filter_items)
        index, trained = self._fitted().index, self._fitted().trained_items
        single, asked = _ids("itemid", itemid, index.num_items)
        rows, count = index.rows(asked), _count(N, items)
        names = ("items", "filter_items")
        listed, allow = _listed(names, items, filter_items, index.ids, trained)
        found, scores = self._nearest(
            index.codes, rows, count, listed, allow, trained, popularity_weight
        )
        return _results(single, index.ids_of(found), scores)

    def similar_users(
        self,
        userid: int | ArrayLike,
        N: int = 10,
        filter_users: ArrayLike | None = None,
        users: ArrayLike | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Finds the N users whose codes are nearest to that of a user, itself first.

        Args:
            userid: int or int [Q].
            N: number of results per user, N >= 1.
            filter_users: ids that are left out.
            users: the only ids that are ranked, at most N of them; not with filter_users.

        Returns:
            ids int32 and scores float32, [N] or [Q, N]: cosines of the taste bits, of graded users
            those of their signs. Users without items in fit are similar to themselves alone. Fewer
            than N results are filled up as in recommend.

        Raises:
            ValueError: N < 1; users together with filter_users.
            IndexError: an id out of range.
            NotFittedError: `fit` was not called.

        Note:
            Deterministic. Cost: Q m counts of f bits.
        """
        fitted = self._fitted()
        users, filter_users = _listed_once(users), _listed_once(filter_users)
        single, rows = _ids("userid", userid, fitted.seen.num_users)
        count, known = _count(N, users), fitted.seen.degrees() > 0
        names, ids = ("users", "filter_users"), np.arange(len(known))
        listed, allow = _listed(names, users, filter_users, ids, known)
        codes = fitted.plain_user_codes
        found, scores = self._nearest(codes, rows, count, listed, allow, known)
        return _results(single, found, scores)

    def save(self, file: str | os.PathLike[str] | BinaryIO) -> None:
        """Writes everything, fitted or not, as safetensors.

        Args:
            file: a path, written atomically, or an open binary file.

        Raises:
            FileNotFoundError: the folder of the path does not exist.
        """
        if hasattr(file, "write"):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model"
                self.save(path)
                file.write(path.read_bytes())
            return
        arguments = {name: value for name, value in vars(self).items() if name != "recommender"}
        arrays: dict[str, np.ndarray] = {}
        version = FILE_VERSIONS[0]
        metadata = {"format": _FORMAT, "arguments": json.dumps(arguments)}
        if self.recommender is not None:
            arrays, own = self.recommender.encode()
            metadata |= own
            version = self.recommender.file_version
        save_arrays(file, arrays, metadata, version=version)

    @classmethod
    def load(cls, fileobj_or_path: str | os.PathLike[str] | BinaryIO) -> Self:
        """Reads what `save` wrote; nothing in it is executed, and torch is not needed.

        Args:
            fileobj_or_path: a path, or an open binary file.

        Raises:
            FileNotFoundError: no such file.
            ValueError: a damaged or foreign file; the message names it.
        """
        if hasattr(fileobj_or_path, "read"):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model"
                path.write_bytes(fileobj_or_path.read())
                return cls.load(path)
        arrays, metadata = load_arrays(fileobj_or_path, _FORMAT, version=FILE_VERSIONS)
        loaded = cls.__new__(cls)  # The settings were checked before they were saved.
        try:
            arguments = json.loads(metadata["arguments"])
            for name in ("method", "device", "num_threads", "settings"):
                setattr(loaded, name, arguments[name])
            if not arrays and metadata["version"] != str(FILE_VERSIONS[0]):
                raise ValueError(f"no codes in version {metadata['version']}")
            loaded.recommender = Recommender.decode(arrays, metadata) if arrays else None
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{fileobj_or_path}: expected an estimator, got {error!r}") from error
        return loaded

    def _fitted(self) -> Recommender:
        if self.recommender is None:
            raise NotFittedError(self)
        return self.recommender

    def _own(self, user_items: Any, count: int) -> Interactions:
        """The items of the users asked for, as rows of the index."""
        index = self._fitted().index
        if hasattr(user_items, "tocsr") and user_items.ndim == 1:  # a row of a csr_array
            user_items = user_items.reshape(1, -1).tocsr()
        if getattr(user_items, "format", None) != "csr":
            raise ValueError(
                f"user_items: expected a CSR sparse matrix, got {type(user_items).__name__}"
            )
        if user_items.shape != (count, index.num_items):
            raise ValueError(
                f"user_items: expected one row per user and one column per item, "
                f"{count} x {index.num_items}, got {' x '.join(map(str, user_items.shape))}"
            )
        liked = _entries(user_items)
        return Interactions.from_pairs(liked.users(), index.rows(liked.ids), count, index.num_items)

    def _nearest(
        self,
        codes: np.ndarray,
        rows: np.ndarray,
        count: int,
        listed: np.ndarray,
        allow: np.ndarray,
        known: np.ndarray,
        popularity_weight: float = 0.0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The rows of codes that are nearest to some of them, and cosines.

        Args:
            codes: packed, of users or of items.
            rows: int64 [Q], what is asked for.
            count: number of results per row.
            listed: bool, where a row may be found that asks for itself.
            allow: bool, where other rows may be found.
            known: bool; the others are near to themselves alone.
            popularity_weight: as in similar_items.

        Returns:
            int64 and float32 [Q, count], the row itself first; row -1 if there are fewer.
        """
        index = self._fitted().index
        length, bits = index.code_length, index.popularity_bits
        if not bits and popularity_weight != 0:
            raise ValueError(
                "popularity_weight: expected 0 for codes without popularity bits, "
                f"got {popularity_weight}"
            )
        taste = length - bits
        parts = np.full((2, length), -1, np.float32)
        parts[0, :taste] = 1
        parts[1, taste:] = popularity_query_bits(bits, popularity_weight)
        mask, wanted = pack_codes(parts)
        queries, compared = codes[rows] & mask, taste
        if popularity_weight == 0:
            codes, own = codes & mask, np.ones((len(rows), 1), np.float32)
        else:
            queries, compared = queries | wanted, length
            inner = unpack_codes(queries, length) * unpack_codes(codes[rows], length)
            own = inner.sum(axis=1, keepdims=True) / np.float32(taste)
        found, distances = hamming_topk(
            queries,
            codes,
            count,
            code_length=length,
            exclude_ptr=np.arange(len(rows) + 1),
            exclude_ids=rows,
            allow=allow,
            num_threads=self.num_threads,
        )
        scores = (compared - 2 * distances.astype(np.int64)).astype(np.float32) / np.float32(taste)
        found[~known[rows]] = -1
        first = listed[rows]
        found[first] = np.concatenate([rows[:, None], found], axis=1)[first, :count]
        scores[first] = np.concatenate([own, scores], axis=1)[first, :count]
        return found, scores


def _as_csr(user_items: Any) -> Any:
    kind = getattr(user_items, "format", None)
    if not hasattr(user_items, "tocsr") or kind is None:
        raise ValueError(
            f"user_items: expected a SciPy sparse matrix, got {type(user_items).__name__}"
        )
    if user_items.ndim != 2:
        raise ValueError(f"user_items: expected a matrix [m, n], got shape {user_items.shape}")
    if kind == "csr":
        return user_items
    text = f"user_items: expected CSR, converted from {kind.upper()}"
    warnings.warn(text, _warning(), stacklevel=3)
    return user_items.tocsr()


def _warning() -> type[Warning]:
    """UserWarning, and implicit's own where implicit is loaded: filters of either one hold."""
    theirs = getattr(sys.modules.get("implicit.utils"), "ParameterWarning", None)
    return UserWarning if theirs is None else type("ParameterWarning", (theirs, UserWarning), {})


def _entries(user_items: Any) -> Interactions:
    """The entries of a CSR matrix above 0; a ValueError for values that are no weights."""
    data = user_items.data
    if data.dtype.kind not in "biuf" or not np.isfinite(data).all() or (data < 0).any():
        wrong = data[~np.isfinite(data) | (data < 0)] if data.dtype.kind in "biuf" else [data.dtype]
        raise ValueError(f"user_items: expected finite numbers >= 0, got {wrong[0]}")
    users = np.repeat(np.arange(user_items.shape[0]), np.diff(user_items.indptr))
    some = data != 0
    return Interactions.from_pairs(users[some], user_items.indices[some], *user_items.shape)


def _listed_once(ids: Any) -> Any:
    """Ids in a set or any other iterable as a list; arrays, and what is none of these, as it is."""
    is_array = ids is None or hasattr(ids, "__array__") or isinstance(ids, (str, bytes, Mapping))
    return ids if is_array or not isinstance(ids, Iterable) else list(ids)


def _with_the_same_items(seen: Interactions, users: np.ndarray, liked: Interactions) -> np.ndarray:
    """The row of a user of `seen` with exactly the items of each of `liked`, int64 [Q], or -1.

    That is the user asked for, if they have these items; else the first who has them.
    """

    def items(part: Interactions, user: int) -> bytes:
        return part.ids[part.ptr[user] : part.ptr[user + 1]].tobytes()

    found, sizes = np.full(len(users), -1), liked.degrees()
    for size in np.unique(sizes[sizes > 0]):
        alike = np.flatnonzero(seen.degrees() == size).tolist()
        first = {items(seen, row): row for row in reversed(alike)}
        for at in np.flatnonzero(sizes == size).tolist():
            own, user = items(liked, at), int(users[at])
            is_own = 0 <= user < seen.num_users and items(seen, user) == own
            found[at] = user if is_own else first.get(own, -1)
    return found


def _ids(argument: str, ids: Any, size: int | None) -> tuple[bool, np.ndarray]:
    """Whether it is a single id, and ids as int64 [Q], in [0, size) unless that is None."""
    array = np.asarray(ids)
    if array.ndim > 1 or (array.dtype.kind not in "iu" and array.size):
        raise ValueError(
            f"{argument}: expected an integer or a 1-d array of integers, "
            f"got {array.dtype} of shape {array.shape}"
        )
    single, array = array.ndim == 0, np.atleast_1d(array).astype(np.int64)
    outside = array[(array < 0) | (array >= size)] if size is not None else array[:0]
    if len(outside):
        raise IndexError(f"{argument}: expected ids in [0, {size}), got {outside[0]}")
    return single, array


def _count(N: int, among: Any = None) -> int:
    """N, or the number of different ids that are ranked if that is less."""
    count = int(N)
    if count != N or count < 1:
        raise ValueError(f"N: expected an integer >= 1, got {N}")
    return count if among is None else min(count, len(np.unique(among)))


def _listed(
    arguments: tuple[str, str], chosen: Any, filtered: Any, ids: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Masks of rows, bool [n]: those that the caller lists, and those that are ranked.

    Args:
        arguments: what errors call `chosen` and `filtered`.
        chosen: the only ids; all but the filtered ones if None.
        filtered: ids that are left out, or None.
        ids: int64 [n], the id of each row.
        known: bool [n], the rows that are ranked unless they are chosen.
    """
    if chosen is not None and filtered is not None and len(filtered):
        raise ValueError(f"{', '.join(arguments)}: expected one of them, got both")
    mask = np.full(len(ids), chosen is None)
    if chosen is not None:
        mask[_ids(arguments[0], chosen, len(ids))[1]] = True
        if not mask.any():
            raise ValueError(f"{arguments[0]}: expected at least one id, got none")
        return mask[ids], mask[ids]
    if filtered is not None:
        mask[_ids(arguments[1], filtered, len(ids))[1]] = False
    return mask[ids], mask[ids] & known


def _contains(liked: Interactions, rows: np.ndarray) -> np.ndarray:
    """Whether each item, int64 [Q, k], is one of the user's."""
    width = liked.num_items
    asked = np.arange(len(rows))[:, None] * width + rows
    return np.isin(asked, liked.users() * width + liked.ids)


def _results(single: bool, ids: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ids and scores in implicit's types; those of a single one without what is missing."""
    scores = np.where(ids < 0, _LOWEST, scores).astype(np.float32)
    ids = ids.astype(np.int32)
    if not single:
        return ids, scores
    return ids[0][ids[0] >= 0], scores[0][ids[0] >= 0]


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Sets torch's number of threads for a while, unless the count is 0."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
