"""Model files: bit for bit there and back; whatever is damaged or hostile is refused and left alone."""

import contextlib
import io
import json
import os
import pickle
import struct
import threading
import tracemalloc
import zipfile

import gymnasium as gym
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from lookahead_rl.models import (
    FiniteHorizonMDP,
    FiniteSupportMeasures,
    HashedSimplexFeatures,
    LinearMarkovGame,
    LinearMDP,
    MarkovGame,
    ModelError,
    TabularMDP,
    from_gymnasium,
    load_model,
    same_model,
    save_model,
)

S, A, B, D, H = 4, 2, 3, 3, 3


def simplex(rng, *shape):
    return rng.dirichlet(np.ones(shape[-1]), shape[:-1])


def outcomes_with_duplicates(rng, rows, n_states):
    """A CSR matrix whose rows name states out of order and twice."""
    columns = rng.integers(0, n_states, (rows, 3))
    columns[:, 2] = columns[:, 0]
    indptr = np.arange(0, 3 * rows + 1, 3)
    return sp.csr_array((simplex(rng, rows, 3).reshape(-1), columns.reshape(-1), indptr), shape=(rows, n_states))


def models():
    """Every class and every way of storing it."""
    rng = np.random.default_rng(0)
    P, rho = simplex(rng, S, A, S), simplex(rng, S)
    P[3], terminal = np.eye(S)[3], np.arange(S) == 3
    r = rng.normal(size=(S, A)) * ~terminal[:, None]
    csr, game_csr = outcomes_with_duplicates(rng, S * A, S), outcomes_with_duplicates(rng, S * A * B, S)
    staged = sp.vstack([sp.csr_array(simplex(rng, S * A, S)) for _ in range(H)])
    P_game, r_game = simplex(rng, S, A, B, S), rng.normal(size=(S, A, B))
    ragged, counts = P_game.copy(), np.array([1, 2, 2, 2])
    ragged[0, 1] = 0.0
    phi, theta = simplex(rng, S, A, D), rng.normal(size=(H, D))
    far = FiniteSupportMeasures(rng.integers(0, 10**12, (H, D, 2)), simplex(rng, H, D, 2))
    start = FiniteSupportMeasures(np.array([0, 2**62 - 1]), np.array([0.1, 0.9]))
    features = np.concatenate([rng.normal(size=(H, S, 2)), np.zeros((1, S, 2))])
    return {
        "dense": TabularMDP(P, r, 0.9, rho),
        "dense outcome rewards": TabularMDP(P, rng.normal(size=P.shape), 1 / 3, rho),
        "terminal, features, observations": TabularMDP(P, r, 1.0, rho, terminal, rng.normal(size=(S, 5)), [0, 1, 2, 2]),
        "sparse": TabularMDP(csr, r, 0.0, rho),
        "sparse outcome rewards": TabularMDP(csr, rng.normal(size=csr.nnz), 0.5, rho),
        "taxi": from_gymnasium(gym.make("Taxi-v4")),
        "finite horizon": FiniteHorizonMDP(P, r, H, rho, terminal, features),
        "finite horizon, staged": FiniteHorizonMDP(simplex(rng, H, S, A, S), rng.normal(size=(H, S, A)), H, rho),
        "finite horizon, staged sparse": FiniteHorizonMDP(staged, r, H, rho),
        "game": MarkovGame(P_game, r_game, 0.9, rho),
        "ragged game": MarkovGame(ragged, r_game * (ragged.sum(-1) > 0), 0.9, rho, counts),
        "sparse game": MarkovGame(game_csr, r_game, 0.9, rho),
        "game, outcome rewards": MarkovGame(P_game, rng.normal(size=P_game.shape), 0.9, rho),
        "linear": LinearMDP(phi, simplex(rng, H, D, S), theta, rho, H),
        "linear, hashed": LinearMDP(HashedSimplexFeatures(2**62, A, D, 2**64 - 1), far, theta, start, H),
        "linear game": LinearMarkovGame(simplex(rng, S, A, B, D), simplex(rng, D, S), theta[0], 0.9, rho),
        "linear game, hashed": LinearMarkovGame(
            HashedSimplexFeatures(10**12, (A, B), D, 5),
            FiniteSupportMeasures(far.states[0], far.weights[0]), theta[0], 0.9, rho=FiniteSupportMeasures([3], [1.0]),
        ),
    }  # fmt: skip


MODELS = models()
each_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def written(model, path):
    save_model(model, path)
    return path.read_bytes()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def refused(path, match=None, **limits):
    """load_model refuses the file, names it, and leaves it as it was."""
    before = path.read_bytes()
    with pytest.raises(ModelError, match=match) as refusal:
        load_model(path, **limits)
    assert str(path) in str(refusal.value)
    assert path.read_bytes() == before
    return str(refusal.value)


def rezipped(content, change=None, header=None, **zip_kwargs):
    """The members of a file, changed, in a new and otherwise sound file."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    if header is not None:
        tree = json.loads(np.load(io.BytesIO(members["header.npy"])).tobytes())
        members["header.npy"] = npy(np.frombuffer(json.dumps(header(tree)).encode(), dtype=np.uint8))
    if change is not None:
        change(members)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **zip_kwargs) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def npy(array, **kwargs):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=(1, 0), **kwargs)
    return stream.getvalue()


# --- there and back ---------------------------------------------------------------------------------------


@each_model
def test_every_model_comes_back_bit_for_bit(model, tmp_path):
    path = tmp_path / "model.npz"
    save_model(model, path)
    back = load_model(path)
    assert type(back) is type(model)
    assert same_model(model, back)
    save_model(back, tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()


def test_outcomes_keep_their_order_duplicates_and_rewards(tmp_path):
    model = MODELS["sparse outcome rewards"]
    save_model(model, tmp_path / "m.npz")
    back = load_model(tmp_path / "m.npz")
    for name in ("data", "indices", "indptr"):
        one, other = getattr(model.P, name), getattr(back.P, name)
        assert one.dtype == other.dtype
        assert one.tolist() == other.tolist()
    assert back.outcome_rewards.tolist() == model.outcome_rewards.tolist()
    assert not back.P.data.flags.writeable
    assert not back.r.flags.writeable


@given(st.integers(0, 10**9), st.floats(0, 1), st.floats(allow_nan=False, allow_infinity=False, width=64))
@settings(max_examples=40, deadline=None)
def test_numbers_survive_to_the_last_bit(tmp_path_factory, seed, gamma, reward):
    rng = np.random.default_rng(seed)
    model = TabularMDP(simplex(rng, S, A, S), np.full((S, A), reward), gamma, simplex(rng, S))
    path = tmp_path_factory.mktemp("bits") / "m.npz"
    save_model(model, path)
    back = load_model(path)
    assert struct.pack("d", back.gamma) == struct.pack("d", gamma)
    assert same_model(back, model)


def test_same_model_sees_the_smallest_difference():
    base = MODELS["dense"]
    nudged = TabularMDP(base.P, np.nextafter(base.r, 1), base.gamma, base.rho)
    negative_zero = TabularMDP(base.P, -0.0 * np.ones((S, A)), base.gamma, base.rho)
    zero = TabularMDP(base.P, 0.0 * np.ones((S, A)), base.gamma, base.rho)
    assert same_model(base, TabularMDP(base.P, base.r, base.gamma, base.rho))
    assert not same_model(base, nudged)
    assert not same_model(zero, negative_zero)
    assert not same_model(base, TabularMDP(base.P, base.r, 0.8, base.rho))
    assert not same_model(base, MODELS["terminal, features, observations"])
    assert not same_model(base, MODELS["finite horizon"])
    assert not same_model(base, TabularMDP(sp.csr_array(base.P.reshape(-1, S)), base.r, base.gamma, base.rho))


@each_model
def test_numpy_opens_the_file_without_pickle(model, tmp_path):
    save_model(model, tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz", allow_pickle=False) as members:
        assert json.loads(members["header"].tobytes())["format"] == "lookahead_rl.model"
        assert all(members[name].dtype != object for name in members.files)


# --- writing ----------------------------------------------------------------------------------------------


def test_the_file_has_exactly_the_name_given_and_nothing_else_is_left(tmp_path):
    save_model(MODELS["dense"], str(tmp_path / "model"))
    assert names(tmp_path) == ["model"]
    save_model(MODELS["sparse"], tmp_path / "model")
    assert names(tmp_path) == ["model"]
    assert same_model(load_model(str(tmp_path / "model")), MODELS["sparse"])


def test_a_link_is_written_through_and_permissions_follow_the_umask(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    save_model(MODELS["dense"], tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "real").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.npz"
    before = written(MODELS["dense"], path)

    def full_disk(_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space left"):
        save_model(MODELS["sparse"], path)
    assert path.read_bytes() == before
    assert names(tmp_path) == ["m.npz"]


def test_readers_never_meet_half_a_file(tmp_path):
    path = tmp_path / "m.npz"
    save_model(MODELS["dense"], path)
    writer = threading.Thread(target=lambda: [save_model(MODELS["taxi"], path) for _ in range(20)])
    writer.start()
    while writer.is_alive():
        assert isinstance(load_model(path), TabularMDP)
    writer.join()


class OwnFeatures:
    n_states, action_shape, dim, nbytes, on_simplex = S, (A,), D, 0, True

    def __call__(self, states):
        return np.full((len(states), A, D), 1 / D)

    def at(self, states, actions):
        return np.full((len(states), D), 1 / D)


def test_what_files_do_not_hold_is_refused_before_anything_is_written(tmp_path):
    linear = MODELS["linear"]
    own = LinearMDP(OwnFeatures(), linear.mu, linear.theta, linear.rho, H)
    with pytest.raises(ModelError, match=r"model\.phi is a OwnFeatures; .* TableFeatures, or the model after"):
        save_model(own, tmp_path / "m.npz")
    with pytest.raises(ModelError, match="model is a dict; files hold TabularMDP"):
        save_model({"P": 1}, tmp_path / "m.npz")
    assert names(tmp_path) == []


# --- damage -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sparse outcome rewards", "linear, hashed", "ragged game"])
def test_a_flipped_byte_is_refused_or_harmless(name, tmp_path):
    path, model = tmp_path / "m.npz", MODELS[name]
    content = written(model, path)
    rng = np.random.default_rng(1)
    refusals = 0
    for position in rng.permutation(len(content))[:600]:
        damaged = bytearray(content)
        damaged[position] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            assert same_model(load_model(path), model)
        except ModelError:
            refusals += 1
        assert path.read_bytes() == damaged
    assert refusals > 300


@pytest.mark.parametrize("name", ["dense", "linear game, hashed"])
def test_a_truncated_file_is_refused(name, tmp_path):
    path = tmp_path / "m.npz"
    content = written(MODELS[name], path)
    for length in [0, 1, 21, 22, *range(30, len(content) - 1, 37), len(content) - 1]:
        path.write_bytes(content[:length])
        refused(path)


@given(st.binary(max_size=300), st.integers(0, 4000), st.integers(0, 4000))
@settings(max_examples=200, deadline=None)
def test_spliced_bytes_are_refused_or_harmless(tmp_path_factory, inserted, position, removed):
    path = tmp_path_factory.mktemp("splice") / "m.npz"
    content = written(MODELS["sparse game"], path)
    path.write_bytes(content[:position] + inserted + content[position + removed :])
    with contextlib.suppress(ModelError):
        assert same_model(load_model(path), MODELS["sparse game"])


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + bytes(18), b"\x93NUMPY\x01\x00", bytes(1000), b"{}"])
def test_files_that_are_no_models_are_refused(content, tmp_path):
    path = tmp_path / "m.npz"
    path.write_bytes(content)
    refused(path)


def test_a_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "absent.npz")


# --- hostility --------------------------------------------------------------------------------------------


def test_a_pickle_is_refused_and_does_not_run(tmp_path):
    path, mark = tmp_path / "m.npz", tmp_path / "ran"

    class Exploit:
        def __reduce__(self):
            return (mark.touch, ())

    hostile = npy(np.array([Exploit()], dtype=object), allow_pickle=True)
    content = written(MODELS["dense"], path)
    path.write_bytes(rezipped(content, lambda members: members.update({"model.P.npy": hostile})))
    refused(path, "no plain array")
    path.write_bytes(rezipped(content, lambda members: members.update({"header.npy": hostile})))
    refused(path, "no plain array")
    path.write_bytes(pickle.dumps(Exploit()))
    refused(path)
    assert not mark.exists()


def test_a_compressed_bomb_is_refused_without_unpacking_it(tmp_path):
    path = tmp_path / "m.npz"
    bomb = rezipped(
        written(MODELS["dense"], path),
        lambda members: members.update({"model.P.npy": npy(np.zeros(2**23))}),
        compression=zipfile.ZIP_DEFLATED,
    )
    assert len(bomb) < 2**20
    path.write_bytes(bomb)
    tracemalloc.start()
    refused(path, "is compressed")
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_members_that_claim_more_than_the_file_are_refused(tmp_path):
    path = tmp_path / "m.npz"
    content = bytearray(written(MODELS["dense"], path))
    entry = content.rindex(b"PK\x01\x02")  # the last entry of the directory: its two sizes lie 20 bytes in
    content[entry + 20 : entry + 28] = struct.pack("<II", 2**31, 2**31)
    path.write_bytes(content)
    refused(path, "its members claim 2,147,48.* bytes, but the file has")


@pytest.mark.parametrize(
    ("shape", "message"), [((2**40,), "needs 8,796,093,022,208 bytes, but holds 0"), ((10**18, 10**18), "needs 8,0")]
)
def test_an_array_header_that_claims_more_than_its_member_is_refused(shape, message, tmp_path):
    path, stream = tmp_path / "m.npz", io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": shape})
    content = written(MODELS["dense"], path)
    path.write_bytes(rezipped(content, lambda members: members.update({"model.r.npy": stream.getvalue()})))
    refused(path, message)


@pytest.mark.parametrize("array", [np.zeros((S, A), dtype="<f4"), np.asfortranarray(np.zeros((S, A)))])
def test_other_types_and_orders_of_arrays_are_refused(array, tmp_path):
    path = tmp_path / "m.npz"
    content = written(MODELS["dense"], path)
    path.write_bytes(rezipped(content, lambda members: members.update({"model.r.npy": npy(array)})))
    refused(path, "no plain array")


def test_files_over_the_limit_are_refused_with_the_remedy(tmp_path):
    path = tmp_path / "m.npz"
    size = len(written(MODELS["dense"], path))
    refused(path, rf"it has {size:,} bytes, more than max_bytes = {size - 1:,}; raise max_bytes", max_bytes=size - 1)
    assert same_model(load_model(path, max_bytes=size), MODELS["dense"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda members: members.update({"extra.npy": npy(np.ones(2))}), "member 'extra' is no part of the model"),
        (lambda members: members.update({"../../evil.py": b"print()"}), "'../../evil.py' is named twice or no array"),
        (lambda members: members.pop("model.rho.npy"), "array 'model.rho' is missing"),
        (lambda members: members.pop("header.npy"), "no header of this format"),
        (lambda members: members.update({"header.npy": npy(np.zeros(2**17, np.uint8))}), "no header of this format"),
        (lambda members: members.update({"header.npy": npy(np.full(9, 255, np.uint8))}), "UnicodeDecodeError"),
        (lambda members: members.update({"model.rho.npy": npy(np.array([0.5, 0.5, 0, 0.1]))}), "rho sums to 1.1"),
    ],
)
def test_unexpected_missing_and_inconsistent_members_are_refused(change, message, tmp_path):
    path = tmp_path / "m.npz"
    path.write_bytes(rezipped(written(MODELS["dense"], path), change))
    refused(path, message)


def test_a_member_given_twice_is_refused(tmp_path):
    path = tmp_path / "m.npz"
    save_model(MODELS["dense"], path)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("model.rho.npy", npy(np.ones(1)))
    refused(path, "named twice")


FIELDS = ("P", "r", "gamma", "rho", "terminal", "features", "observations")


def edited(**changes):
    return lambda tree: tree | changes


def fields(**changes):
    return lambda tree: tree | {"model": {**tree["model"], "fields": tree["model"]["fields"] | changes}}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (edited(format="other"), "not that of the format"),
        (edited(version=2), "it has version 2 of the format, but this release reads version 1"),
        (edited(version=None), "it has version None"),
        (edited(model=3), "no model, but int"),
        (edited(model={"class": "os.system", "fields": {}}), "it names the class 'os.system'"),
        (edited(model={"class": "TableFeatures", "fields": {}}), "it names the class 'TableFeatures'"),
        (edited(model={"class": "TabularMDP", "fields": {}}), "has the fields"),
        (edited(model={"class": ["x"], "fields": {}}), "TypeError"),
        (edited(model={}), "KeyError"),
        (lambda tree: [tree], "not that of the format"),
        (lambda tree: None, "not that of the format"),
        (fields(gamma=1.5), r"gamma is 1\.5"),
        (fields(gamma="0.9"), "gamma is '0.9'"),
        (fields(gamma={"array": "model.P"}), "used twice"),
        (fields(gamma=float("nan")), "gamma is nan"),
        (fields(P=None), "P has shape"),
        (fields(P=[[[1.0]]]), "cannot be loaded|damaged"),
        (fields(extra=1), "has the fields"),
        (fields(gamma=10**400), r"it must lie in \[0, 1\]"),
        (edited(model={"class": "TabularMDP", "fields": sorted(FIELDS)}), "AttributeError"),
        (fields(P={"csr": "model.P", "shape": [8, 4]}), "array 'model.P.data' is missing"),
        (fields(rho={"class": "TabularMDP", "fields": {}}), "it names the class 'TabularMDP'"),
        (fields(terminal=True), "terminal"),
    ],
)
def test_headers_that_describe_no_model_are_refused(header, message, tmp_path):
    path = tmp_path / "m.npz"
    path.write_bytes(rezipped(written(MODELS["dense"], path), header=header))
    refused(path, message)


def test_deep_and_huge_json_is_refused(tmp_path):
    path = tmp_path / "m.npz"
    content = written(MODELS["dense"], path)
    for text in (b"[" * 60_000, b'{"a":' * 10_000, b"9" * 60_000, b"1e999", b"{", b"\xff"):
        path.write_bytes(
            rezipped(content, lambda members, text=text: members.update({
                "header.npy": npy(np.frombuffer(text, dtype=np.uint8))
            }))
        )  # fmt: skip
        refused(path)


@pytest.mark.parametrize(
    ("part", "array", "message"),
    [
        ("indices", np.full(24, 9, dtype=np.int32), "indices"),
        ("indices", np.zeros(24), "not float data, integer indices"),
        ("indices", np.zeros(3, dtype=np.int32), "size"),
        ("indptr", np.zeros(9, dtype=np.int32), "indptr|sums to 0"),
        ("indptr", np.zeros(2, dtype=np.int32), "index pointer size"),
        ("data", np.full(24, 1e308), "sums to inf"),
        ("data", np.full(24, np.nan), r"P\[0, 0, \d\] is nan"),
    ],
)
def test_sparse_matrices_that_are_none_are_refused(part, array, message, tmp_path):
    path = tmp_path / "m.npz"
    content = written(MODELS["sparse"], path)
    path.write_bytes(rezipped(content, lambda members: members.update({f"model.P.{part}.npy": npy(array)})))
    refused(path, message)


def test_sizes_in_the_header_do_not_exhaust_memory(tmp_path):
    path = tmp_path / "m.npz"
    for name, change in [
        ("sparse", fields(P={"csr": "model.P", "shape": [8, 2**62]})),
        ("sparse", fields(P={"csr": "model.P", "shape": [2**62, 4]})),
        ("finite horizon, staged sparse", fields(horizon=10**15)),
        ("linear", fields(horizon=10**15)),
        ("linear, hashed", lambda tree: json.loads(json.dumps(tree).replace('"dim": 3', '"dim": 3000000000000'))),
    ]:
        path.write_bytes(rezipped(written(MODELS[name], path), header=change))
        tracemalloc.start()
        refused(path)
        assert tracemalloc.get_traced_memory()[1] < 2**24
        tracemalloc.stop()


def test_wide_hashed_models_load_in_memory_of_their_size(tmp_path):
    d = 20_000
    mu = FiniteSupportMeasures(np.arange(d)[:, None], np.ones((d, 1)))
    rho = FiniteSupportMeasures([0], [1.0])
    save_model(LinearMarkovGame(HashedSimplexFeatures(d, (1, 1), d, 0), mu, np.zeros(d), 0.5, rho), tmp_path / "m.npz")
    tracemalloc.start()
    assert load_model(tmp_path / "m.npz").dim == d
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()


def test_a_limit_that_is_no_number_does_not_accuse_the_file(tmp_path):
    path = tmp_path / "m.npz"
    written(MODELS["sparse"], path)
    with pytest.raises(ModelError, match="max_bytes is 'all'; pass an integer >= 0"):
        load_model(path, max_bytes="all")
