"""Finds the wanted network among the models of a Keras file, or explains what the file holds instead."""

import re
from collections.abc import Sequence
from pathlib import Path

from lookalike_core.errors import WeightsError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.models.backbones import BACKBONES

from lookalike_exporter.keras_layouts import StoredModel
from lookalike_exporter.network import Network, SubNetwork
from lookalike_exporter.spec import NETWORKS

_SHOWN = 8
"""Most names in a message."""

_SHOWN_CHARACTERS = 40
"""Most characters of a name in a message; names in a file may be of any length."""


def find_network(path: Path, models: Sequence[StoredModel], wanted: SubNetwork) -> StoredModel:
    """Returns the only model with all wanted layers; if none has all, the one with most of them.

    Raises:
        WeightsError: no model has any, several have all, or it is a larger network with the same names.
    """
    names = [layer.name for layer in wanted.layers if layer.variables]
    whole = [model for model in models if model.layers.keys() >= set(names)]
    if len(whole) > 1:
        raise _ambiguous_error(path, whole, names)
    model = max(models, key=lambda model: len(model.layers.keys() & set(names)))
    if not model.layers.keys() & set(names):
        raise _missing_error(path, models, names)
    network = next(net for net in (build() for build in NETWORKS.values()) if wanted.tap in net.layers)
    _refuse_larger(path, model, network)
    return model


def describe_place(model: StoredModel) -> str:
    """Returns the place of a nested model in words, to follow the file name; "" for the top model."""
    return f", inside {_describe_names(model)}" if model.place else ""


def _ambiguous_error(path: Path, models: Sequence[StoredModel], names: Sequence[str]) -> WeightsError:
    places = sorted(_describe_names(model) or "at the top" for model in models)
    return WeightsError(
        f"{path} holds {len(models)} networks with a layer {names[0]}: {_shorten_list(places)}; "
        "save the one to use alone, with Keras' model.get_layer(NAME).save_weights('x.weights.h5')",
        path=path,
    )


def _missing_error(path: Path, models: Sequence[StoredModel], names: Sequence[str]) -> WeightsError:
    """Returns the error that names the other network in the file, or else its layers."""
    for backbone in BACKBONES:
        others = {name for name, layer in NETWORKS[backbone.name]().layers.items() if layer.variables}
        model = max(models, key=lambda model: len(model.layers.keys() & others))
        if names[0] not in others and model.layers.keys() & others:
            return WeightsError(
                f"{path}{describe_place(model)}: layer {names[0]} is missing, and there are layers of "
                f"{backbone.title}; these are another network's weights",
                path=path,
                hint=Hint(Action.USE, {Argument.BACKBONE: backbone.short_name}),
            )
    top = min(models, key=lambda model: len(model.place))
    return WeightsError(
        f"{path}: layer {names[0]} is missing, at the top and inside its models; it holds "
        f"{_shorten_list(sorted(top.layers))}. Name a file that Keras saved of the network, or of a model "
        "that has it as a layer",
        path=path,
    )


def _refuse_larger(path: Path, model: StoredModel, network: Network) -> None:
    """Refuses networks that have all layers of a smaller one and more: VGG19, ResNet152V2."""
    known = {_layer_form(name) for name, layer in network.layers.items() if layer.variables}
    for name in model.layers:
        if name not in network.layers and _layer_form(name) in known:
            raise WeightsError(
                f"{path}{describe_place(model)}: there is a layer {name}, which {network.title} does not "
                "have; these are another network's weights",
                path=path,
            )


def _layer_form(name: str) -> tuple[str, str]:
    """Returns `block3` and `block#_conv#`: what layers of one kind and stage have in common."""
    return name.partition("_")[0], re.sub(r"\d+", "#", name)


def _describe_names(model: StoredModel) -> str:
    return "/".join(name[:_SHOWN_CHARACTERS] for name in model.place[-_SHOWN:])


def _shorten_list(names: Sequence[str]) -> str:
    shown = ", ".join(name[:_SHOWN_CHARACTERS] for name in names[:_SHOWN])
    return f"{shown}, ..." if len(names) > _SHOWN else shown
