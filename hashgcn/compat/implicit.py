"""An estimator over sparse matrices, with the methods of implicit's recommenders."""

from __future__ import annotations

import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike

from hashgcn.data import Dataset, Interactions
from hashgcn.files import load_arrays, save_arrays
from hashgcn.retrieval import (
    Recommender,
    hamming_topk,
    pack,
    popularity_query_bits,
    unpack,
    weighted_topk,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from typing_extensions import Self

_FORMAT = "hashgcn.compat.implicit"
# The score of what is left out or missing.
_LOWEST = -np.finfo(np.float32).max


class HashRecommender:
    """Any method of hashgcn.models behind the interface of implicit's recommenders.

    Users and items are the rows and columns of a matrix of users by items. Ids are int32, scores
    float32; a scalar id gives arrays [N], an array of ids [Q, N].

        model = HashRecommender(code_length=64)
        model.fit(user_items)
        ids, scores = model.recommend(userids, user_items[userids], N=10)

    Args:
        method: a name of hashgcn.models.METHODS.
        device: where it is trained.
        num_threads: of training and search on the CPU; 0 for the default.
        settings: by name, see hashgcn.train.settings; validation_fraction is 0 if left out, so that all
            `epochs` are trained.

    Raises:
        ValueError: an unknown method, settings that are unknown or out of range.

    Training needs torch; a fitted one that was loaded or unpickled does not.
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
        self.settings = model.settings.model_dump(mode="json")
        self.recommender: Recommender | None = None

    def fit(
        self,
        user_items: csr_matrix,
        show_progress: bool = True,
        callback: Callable[[int, float, float], None] | None = None,
    ) -> Self:
        """Train codes of all users and items.

        Args:
            user_items: sparse [m, n]; an entry above 0 is an item that the user likes, how far
                above makes no difference. Other formats than CSR are converted, with a warning.
            show_progress: show a progress bar.
            callback: called after each epoch with its number from 0, its seconds and its loss.

        Returns:
            self.

        Raises:
            ValueError: not a sparse matrix, no entries, NaN, infinite or negative ones.

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
        user_items: csr_matrix | None,
        N: int = 10,
        filter_already_liked_items: bool = True,
        filter_items: ArrayLike | None = None,
        recalculate_user: bool = False,
        items: ArrayLike | None = None,
        *,
        popularity: float = 1.0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The N best items of one user or of several.

        Args:
            userid: int or int [Q], rows of the fitted matrix.
            user_items: CSR [Q, n], the items of each of these users; None where neither
                filter_already_liked_items nor recalculate_user is set.
            N: number of results, at least 1.
            filter_already_liked_items: leave out the items of user_items.
            filter_items: ids that no user gets.
            recalculate_user: take codes from user_items (Recommender.fold_in) and not from
                training; userid may then be of new users.
            items: the only ids that are ranked, N at most as many; not with filter_items. All are
                returned, a user's own last.
            popularity: weight of popularity relative to training, in [-1, 1]; only 1 for codes
                without popularity bits.

        Returns:
            ids int32 and scores float32, [N] or [Q, N]: `<b_u, d_i>`, best first. A user without
            items (in fit, or in user_items if recalculated) gets the most popular, with score 0.
            Items without users in fit are ranked only if `items` names them. Where fewer than N are
            left: [Q, N] ends with ids -1 and the lowest float32, [N] is shorter. A user's own among
            `items` have that lowest score.

        Raises:
            ValueError: user_items that is not CSR or not [Q, n], or has NaN, infinite or negative
                entries; N < 1; items and filter_items both set; popularity out of range; not
                fitted.
            IndexError: an id out of range.
            NotImplementedError: recalculate_user with codes of weighted segments.

        Deterministic; a user's result does not depend on the batch. Cost: Q n popcounts.
        """
        fitted = self._fitted()
        single, users = _ids("userid", userid, None if recalculate_user else fitted.seen.num_users)
        count = _count(N, items)
        liked: Interactions | None
        if recalculate_user:
            liked = self._own(user_items, len(users))
            known = liked.where(fitted.trained_items[liked.ids]).degrees() > 0
            codes, scales = np.zeros((len(users), fitted.index.codes.shape[1]), np.int64), None
            rows = liked.rows(np.flatnonzero(known))
            codes[known] = fitted.fold_in(rows, num_threads=self.num_threads)
        else:
            liked = self._own(user_items, len(users)) if filter_already_liked_items else None
            known = fitted.seen.degrees()[users] > 0
            codes = fitted.user_codes[users]
            scales = None if fitted.scales is None else fitted.scales[0][users]
        listed = self._listed_items(items, filter_items)
        allow = listed if items is not None else _both(listed, fitted.trained_items)
        search = partial(self._search, known, codes, scales, allow, popularity)
        exclude = liked if filter_already_liked_items else None
        if items is None or exclude is None:
            return _results(single, *search(count, exclude))
        # All of them are returned, so that nothing is excluded: a user's own go to the end.
        assert allow is not None  # as items are listed
        ids, scores = search(int(np.count_nonzero(allow)), None)
        own = _contains(exclude, fitted.index.rows(ids.ravel()).reshape(ids.shape))
        order = np.argsort(own, axis=1, kind="stable")[:, :count]
        ids, scores, own = (np.take_along_axis(x, order, 1) for x in (ids, scores, own))
        return _results(single, ids, np.where(own, _LOWEST, scores))

    def similar_items(
        self,
        itemid: int | ArrayLike,
        N: int = 10,
        recalculate_item: bool = False,
        item_users: csr_matrix | None = None,
        filter_items: ArrayLike | None = None,
        items: ArrayLike | None = None,
        *,
        popularity: float = 0.0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The N items whose codes are nearest to an item's, itself first.

        Args:
            itemid: int or int [Q].
            N: number of results, at least 1.
            recalculate_item, item_users: as in implicit; items are not recalculated.
            filter_items: ids that are left out.
            items: the only ids that are ranked, N at most as many; not with filter_items.
            popularity: in [-1, 1]; 0 compares taste alone, else popular items (or, below 0, others)
                come first. Only 0 for codes without popularity bits.

        Returns:
            ids int32 and scores float32, [N] or [Q, N]: cosines of the taste bits, or with
            popularity p also p times the item's popularity bits. Items without users in fit are
            similar to none but themselves. Fewer than N: as in recommend.

        Raises:
            ValueError: N < 1, items and filter_items both set, popularity out of range, not fitted.
            IndexError: an id out of range.
            NotImplementedError: recalculate_item.

        Deterministic. Cost: Q n popcounts.
        """
        if recalculate_item:
            raise NotImplementedError("recalculate_item: codes of items come from training alone")
        fitted = self._fitted()
        single, asked = _ids("itemid", itemid, fitted.index.num_items)
        rows, trained = fitted.index.rows(asked), fitted.trained_items
        listed = self._listed_items(items, filter_items)
        found, scores = _similar(
            fitted.index.codes,
            None if fitted.scales is None else fitted.scales[1],
            rows,
            _count(N, items),
            code_length=fitted.index.code_length,
            popularity_bits=fitted.index.popularity_bits,
            popularity=popularity,
            unknown=~trained[rows],
            listed=listed,
            allow=listed if items is not None else _both(listed, trained),
            num_threads=self.num_threads,
        )
        return _results(single, fitted.index.ids_of(found), scores)

    def similar_users(
        self,
        userid: int | ArrayLike,
        N: int = 10,
        filter_users: ArrayLike | None = None,
        users: ArrayLike | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The N users whose codes are nearest to a user's, itself first.

        Args:
            userid: int or int [Q].
            N: number of results, at least 1.
            filter_users: ids that are left out.
            users: the only ids that are ranked, N at most as many; not with filter_users.

        Returns:
            ids int32 and scores float32, [N] or [Q, N]: cosines of the taste bits. Users without
            items in fit are similar to none but themselves. Fewer than N: as in recommend.

        Raises:
            ValueError: N < 1, users and filter_users both set, not fitted.
            IndexError: an id out of range.

        Deterministic. Cost: Q m popcounts.
        """
        fitted = self._fitted()
        single, rows = _ids("userid", userid, fitted.seen.num_users)
        known = fitted.seen.degrees() > 0
        listed = _mask("users", users, "filter_users", filter_users, fitted.seen.num_users)
        found, scores = _similar(
            fitted.user_codes,
            None if fitted.scales is None else fitted.scales[0],
            rows,
            _count(N, users),
            code_length=fitted.index.code_length,
            popularity_bits=fitted.index.popularity_bits,
            unknown=~known[rows],
            listed=listed,
            allow=listed if users is not None else _both(listed, known),
            num_threads=self.num_threads,
        )
        return _results(single, found, scores)

    def save(self, file: str | os.PathLike[str] | BinaryIO) -> None:
        """Write everything, fitted or not, as safetensors.

        Args:
            file: a path, written atomically, or an open binary file.

        Raises:
            FileNotFoundError: no such folder.
        """
        if hasattr(file, "write"):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model"
                self.save(path)
                file.write(path.read_bytes())
            return
        arguments = {name: value for name, value in vars(self).items() if name != "recommender"}
        arrays: dict[str, np.ndarray] = {}
        metadata: dict[str, str] = {}
        if self.recommender is not None:
            arrays, metadata = self.recommender.encode()
        save_arrays(
            file, arrays, {"format": _FORMAT, "arguments": json.dumps(arguments), **metadata}
        )

    @classmethod
    def load(cls, fileobj_or_path: str | os.PathLike[str] | BinaryIO) -> Self:
        """What save wrote; nothing in it is executed, and torch is not needed.

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
        arrays, metadata = load_arrays(fileobj_or_path, _FORMAT)
        loaded = cls.__new__(cls)  # Settings were checked before they were saved.
        try:
            arguments = json.loads(metadata["arguments"])
            for name in ("method", "device", "num_threads", "settings"):
                setattr(loaded, name, arguments[name])
            loaded.recommender = Recommender.decode(arrays, metadata) if arrays else None
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{fileobj_or_path}: expected an estimator, got {error!r}") from error
        return loaded

    def _fitted(self) -> Recommender:
        if self.recommender is None:
            raise ValueError(f"{type(self).__name__} is not fitted yet: call fit first")
        return self.recommender

    def _own(self, user_items: Any, count: int) -> Interactions:
        """The items of the users asked for, as rows of the index."""
        index = self._fitted().index
        if getattr(user_items, "format", None) != "csr":
            raise ValueError(
                f"user_items: expected a CSR sparse matrix, got {type(user_items).__name__}"
            )
        if user_items.shape != (count, index.num_items):
            raise ValueError(
                f"user_items: expected a row for each user and a column for each item, "
                f"{count} x {index.num_items}, got {' x '.join(map(str, user_items.shape))}"
            )
        liked = _entries(user_items)
        return Interactions.from_pairs(liked.users(), index.rows(liked.ids), count, index.num_items)

    def _search(
        self,
        known: np.ndarray,
        codes: np.ndarray,
        scales: np.ndarray | None,
        allow: np.ndarray | None,
        popularity: float,
        count: int,
        exclude: Interactions | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Recommender.search for the users that are known; the others get the most popular."""
        fitted = self._fitted()
        ids, scores = fitted.search(
            codes,
            count,
            scales=scales,
            exclude=None if exclude is None else (exclude.ptr, exclude.ids),
            allow=allow,
            popularity=popularity,
            num_threads=self.num_threads,
        )
        others = np.flatnonzero(~known)
        if len(others):
            # Rows of the index are in order of popularity, and so are results at equal distance.
            ptr, own = (None, None) if exclude is None else exclude.rows(others)
            counts = len(others), fitted.index.num_items
            queries, same = (np.zeros((n, 1), np.int64) for n in counts)
            _, rows = hamming_topk(
                queries,
                same,
                count,
                code_length=64,
                exclude_ptr=ptr,
                exclude_ids=own,
                allow=allow,
                num_threads=self.num_threads,
            )
            ids[others], scores[others] = fitted.index.ids_of(rows), 0
        return ids, scores

    def _listed_items(self, items: Any, filter_items: Any) -> np.ndarray | None:
        index = self._fitted().index
        mask = _mask("items", items, "filter_items", filter_items, index.num_items)
        return None if mask is None else mask[index.ids]


def _as_csr(user_items: Any) -> Any:
    kind = getattr(user_items, "format", None)
    if not hasattr(user_items, "tocsr") or kind is None:
        raise ValueError(
            f"user_items: expected a SciPy sparse matrix, got {type(user_items).__name__}"
        )
    if kind == "csr":
        return user_items
    warnings.warn(f"user_items: expected CSR, converted from {kind.upper()}", stacklevel=3)
    return user_items.tocsr()


def _entries(user_items: Any) -> Interactions:
    """Where a CSR matrix is above 0; ValueError for entries that are no weights."""
    data = user_items.data
    if data.dtype.kind not in "biuf" or not np.isfinite(data).all() or (data < 0).any():
        wrong = data[~np.isfinite(data) | (data < 0)] if data.dtype.kind in "biuf" else [data.dtype]
        raise ValueError(
            f"user_items: expected finite numbers, none of them below 0, got {wrong[0]}"
        )
    users = np.repeat(np.arange(user_items.shape[0]), np.diff(user_items.indptr))
    some = data != 0
    return Interactions.from_pairs(users[some], user_items.indices[some], *user_items.shape)


def _ids(argument: str, ids: Any, size: int | None) -> tuple[bool, np.ndarray]:
    """Whether it is a single id, and ids as int64 [Q]; of any size where that is None."""
    array = np.asarray(ids)
    if array.ndim > 1 or (array.dtype.kind not in "iu" and array.size):
        raise ValueError(
            f"{argument}: expected an integer or a 1-d array of them, "
            f"got {array.dtype} of shape {array.shape}"
        )
    single, array = array.ndim == 0, np.atleast_1d(array).astype(np.int64)
    outside = array[(array < 0) | (array >= size)] if size is not None else array[:0]
    if len(outside):
        raise IndexError(f"{argument}: expected ids in [0, {size}), got {outside[0]}")
    return single, array


def _count(N: int, among: Any = None) -> int:
    """N, or the number of different ids that are ranked, if that is less."""
    count = int(N)
    if count != N or count < 1:
        raise ValueError(f"N: expected an integer >= 1, got {N}")
    return count if among is None else min(count, len(np.unique(among)))


def _mask(
    argument: str, chosen: Any, other_argument: str, filtered: Any, size: int
) -> np.ndarray | None:
    """bool [size]: the ids chosen, or all but the filtered; None for all."""
    if chosen is not None and filtered is not None and len(filtered):
        raise ValueError(f"{argument}, {other_argument}: expected one of them, got both")
    if chosen is None and filtered is None:
        return None
    mask = np.zeros(size, dtype=bool)
    if chosen is None:
        mask[_ids(other_argument, filtered, size)[1]] = True
        return ~mask
    mask[_ids(argument, chosen, size)[1]] = True
    if not mask.any():
        raise ValueError(f"{argument}: expected at least one id, got none")
    return mask


def _both(listed: np.ndarray | None, trained: np.ndarray) -> np.ndarray:
    return trained if listed is None else listed & trained


def _contains(liked: Interactions, rows: np.ndarray) -> np.ndarray:
    """Whether each item, int64 [Q, k], is one of the user's."""
    width = liked.num_items
    asked = np.arange(len(rows))[:, None] * width + rows
    return np.isin(asked, liked.users() * width + liked.ids)


def _similar(
    codes: np.ndarray,
    scales: np.ndarray | None,
    rows: np.ndarray,
    count: int,
    *,
    code_length: int,
    popularity_bits: int,
    popularity: float = 0.0,
    unknown: np.ndarray,
    listed: np.ndarray | None,
    allow: np.ndarray | None,
    num_threads: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of codes that are nearest to some of them, and cosines.

    Args:
        rows: int64 [Q].
        unknown: bool [Q], rows that are near to none but themselves.
        listed: bool [codes], where a row may be found that asks for itself; allow: where others
            may; None for everywhere.

    Returns:
        int64 and float32 [Q, count]; a row itself comes first. -1 and -inf where there are fewer.
    """
    exclude = {"exclude_ptr": np.arange(len(rows) + 1), "exclude_ids": rows, "allow": allow}
    taste = code_length - popularity_bits
    own = np.ones((len(rows), 1), np.float32)
    if (scales is not None or not popularity_bits) and popularity != 0:
        raise ValueError(
            f"popularity: expected 0 for codes without popularity bits, got {popularity}"
        )
    if scales is not None:
        size = np.linalg.norm(scales, axis=1, keepdims=True)
        size *= np.sqrt(code_length / scales.shape[1])
        scales = np.divide(scales, size, out=np.zeros_like(scales), where=size > 0)
        scores, found = weighted_topk(
            codes[rows], codes, scales[rows], scales, count, code_length=code_length, **exclude
        )
    else:
        bits = np.full((2, code_length), -1, np.float32)
        bits[0, :taste] = 1
        bits[1, taste:] = popularity_query_bits(popularity_bits, popularity)
        mask, wanted = pack(bits)
        queries, among, same = codes[rows] & mask, codes & mask, taste
        if popularity != 0:
            queries, among, same = queries | wanted, codes, code_length
            own = unpack(queries, code_length) * unpack(codes[rows], code_length)
            own = own.sum(axis=1, keepdims=True) / np.float32(taste)
        distances, found = hamming_topk(
            queries, among, count, code_length=code_length, num_threads=num_threads, **exclude
        )
        scores = (same - 2 * distances.astype(np.int64)).astype(np.float32) / np.float32(taste)
    found[unknown] = -1
    scores = np.where(found < 0, np.float32(-np.inf), scores)
    first = np.ones(len(rows), bool) if listed is None else listed[rows]
    found[first] = np.concatenate([rows[:, None], found], axis=1)[first, :count]
    scores[first] = np.concatenate([own, scores], axis=1)[first, :count]
    return found, scores


def _results(single: bool, ids: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ids and scores in implicit's types; of a single one without what is missing."""
    scores = np.where(ids < 0, _LOWEST, scores).astype(np.float32)
    ids = ids.astype(np.int32)
    if not single:
        return ids, scores
    return ids[0][ids[0] >= 0], scores[0][ids[0] >= 0]


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """torch's number of threads for a while; as it is where count is 0."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
