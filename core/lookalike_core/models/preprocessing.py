"""The preprocessing id of a model: how images are prepared and normalized."""

from lookalike_core.images.preparation import FORMER_PREPARATION, PREPARATION
from lookalike_core.models.backbones import Backbone


def preprocessing_id(backbone: Backbone) -> str:
    """Returns a name for all preprocessing before the first layer."""
    return f"{PREPARATION}+{backbone.normalization}"


def former_preprocessing_id(backbone: Backbone) -> str:
    """Returns the id that models had before images were prepared in sRGB."""
    return f"{FORMER_PREPARATION}+{backbone.normalization}"
