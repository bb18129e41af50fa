"""The preprocessing id of a model: how images are prepared, and how the network scales them."""

from lookalike_core.images.preparation import FORMER_PREPARATION, PREPARATION
from lookalike_core.models.backbones import Backbone


def preprocessing_id(backbone: Backbone) -> str:
    """Names everything that happens to an image before the first layer."""
    return f"{PREPARATION}+{backbone.normalization}"


def former_preprocessing_id(backbone: Backbone) -> str:
    """Names what `preprocessing_id` was before images were prepared in sRGB."""
    return f"{FORMER_PREPARATION}+{backbone.normalization}"
