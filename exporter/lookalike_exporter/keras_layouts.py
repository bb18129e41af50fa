"""Finds the models in a file that Keras wrote, at the top and nested, in every layout.

- Legacy (`model.save("x.h5")`, and `save_weights` before Keras 3): a group for each layer at the top, which
  lists its arrays. A model that is a layer of another lists all its arrays as `LAYER/VARIABLE`, however
  deeply they are nested.
- `.weights.h5`, which is in `.keras` files, too: groups are nested as the models are. A layer's arrays are
  numbered in a group `vars`. Groups are named after the kind of the layer (`conv2d_3`); Keras 3 stores the
  layer's own name at `vars`, in files of Keras 2 only the order identifies the layer.

Source: `keras/src/saving/saving_lib.py` and `keras/src/legacy/saving/legacy_h5_format.py`
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from lookalike_exporter import hdf5
from lookalike_exporter.network import BatchNorm, Conv, Dense, Layer
from lookalike_exporter.spec import NETWORKS

if TYPE_CHECKING:
    import h5py

_MAX_PLACE = 8
"""Most names in the path of a nested model."""

_KINDS = {Conv: "conv2d", BatchNorm: "batch_normalization", Dense: "dense"}
"""Keras' names of groups of layers with variables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLayer:
    """A layer in a file: its arrays, by their names below a group, in Keras' order."""

    group: "h5py.Group"
    names: Sequence[str] | range


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel:
    """A model in a file: its layers by Keras' names, and the names of the models that contain it."""

    place: tuple[str, ...]
    layers: Mapping[str, StoredLayer]


def find_models(file: "h5py.File") -> list[StoredModel]:
    """Returns every model in a file whose layers have names, or an order that identifies them.

    Raises:
        NotFromKerasError: the file has what Keras never writes.
        Whatever h5py raises for damaged files.
    """
    root = hdf5.find_subgroup(file, "model_weights") or file
    models = _find_listed_models(root) if hdf5.has_list(root, "layer_names") else _find_numbered_models(file)
    return [model for model in models if model.layers]


def _find_listed_models(root: "h5py.Group") -> Iterator[StoredModel]:
    layers: dict[str, StoredLayer] = {}
    count = 0
    for name in dict.fromkeys(hdf5.read_list(root, "layer_names")):
        if (group := hdf5.find_subgroup(root, name)) is None:
            continue
        names = hdf5.read_list(group, "weight_names")
        layers[name] = StoredLayer(group=group, names=names)
        count += len(names)
        if count > hdf5.MAX_MEMBERS:
            hdf5.refuse(f"it has more than {hdf5.MAX_MEMBERS:,} arrays")
        yield from _find_models_within(name, layers[name])
    yield StoredModel(place=(), layers=layers)


def _find_models_within(name: str, listed: StoredLayer) -> Iterator[StoredModel]:
    """Yields the parts of a listed model; yields nothing for a layer, whose arrays have its own name.

    Trained variables are listed before all others, so the arrays of one layer may be apart.
    """
    models: dict[tuple[str, ...], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path in map(str, listed.names):
        *scopes, last = path.split("/")[:-1] or [name]
        layer, copy = _split_copy_number(last)
        if layer != name:
            models[*scopes, *copy][layer].append(path)
    for place, layers in models.items():
        yield StoredModel(
            place=(name, *place),
            layers={layer: StoredLayer(group=listed.group, names=paths) for layer, paths in layers.items()},
        )


def _split_copy_number(layer: str) -> tuple[str, tuple[str, ...]]:
    """Splits `block1_conv1_2`: TensorFlow 1 appended a counter to array names of repeated networks."""
    stem, _, number = layer.rpartition("_")
    return (stem, (f"copy {number}",)) if number.isdigit() and stem in _list_known_layers() else (layer, ())


@cache
def _list_known_layers() -> frozenset[str]:
    return frozenset(layer.name for order in _list_orders() for layer in order)


def _find_numbered_models(file: "h5py.File") -> Iterator[StoredModel]:
    """Yields a model for each group that holds layers.

    In a forged file a group may contain itself, so the number of visited groups is limited.
    """
    waiting: list[h5py.Group] = [file]
    looked_at = 0
    while waiting:
        group = waiting.pop()
        named: dict[str, StoredLayer] = {}
        numbered: dict[str, StoredLayer] = {}
        for child in hdf5.iterate_subgroups(group):
            looked_at += 1
            if looked_at > hdf5.MAX_MEMBERS:
                hdf5.refuse(f"it has more than {hdf5.MAX_MEMBERS:,} layers")
            if (kind := _base_name(child)) == "vars":
                continue
            waiting.append(child)
            if (variables := hdf5.find_subgroup(child, "vars")) is not None:
                name = hdf5.read_text(variables, "name")
                layer = StoredLayer(group=variables, names=range(len(variables)))
                (numbered if name is None else named)[kind if name is None else name] = layer
        if named:
            yield StoredModel(place=_place(group), layers=named)
        else:
            for order in _list_orders() if numbered else ():
                if layers := _name_by_order(order, numbered):
                    yield StoredModel(place=_place(group), layers=layers)


def _place(group: "h5py.Group") -> tuple[str, ...]:
    """Returns the names of the models that contain a group, or their kinds if no name is stored.

    If there are too many, only the innermost ones are returned.
    """
    place: list[str] = []
    while group.name != "/" and len(place) < _MAX_PLACE:
        if (variables := hdf5.find_subgroup(group, "vars")) is not None:
            place.append(hdf5.read_text(variables, "name") or _base_name(group))
        group = group.parent
    return tuple(reversed(place))


def _name_by_order(order: Sequence[Layer], numbered: Mapping[str, StoredLayer]) -> dict[str, StoredLayer]:
    """Returns a network's layers by name, if the unnamed layers have all its shapes in the same order.

    Returns None if they do not; leaves out the dense layers if only those do not fit.
    """
    counts: Counter[str] = Counter()
    layers: dict[str, StoredLayer] = {}
    for layer in order:
        kind = _KINDS[type(layer)]
        stored = numbered.get(f"{kind}_{counts[kind]}" if counts[kind] else kind)
        counts[kind] += 1
        if stored is not None and _fits(stored, layer):
            layers[layer.name] = stored
        elif isinstance(layer, Dense):
            return {each.name: layers[each.name] for each in order if not isinstance(each, Dense)}
        else:
            return {}
    return layers


@cache
def _list_orders() -> tuple[tuple[Layer, ...], ...]:
    """Returns the layers with variables of each network, in Keras' numbering; dense ones are last."""
    networks = (build() for build in NETWORKS.values())
    return tuple(tuple(layer for layer in net.in_keras_order() if layer.variables) for net in networks)


def _fits(stored: StoredLayer, layer: Layer) -> bool:
    if len(stored.names) != len(layer.variables):
        return False
    arrays = [hdf5.get_member(stored.group, str(name)) for name in stored.names]
    return [getattr(array, "shape", None) for array in arrays] == [*layer.variables.values()]


def _base_name(group: "h5py.Group") -> str:
    return str(group.name).rpartition("/")[2]
