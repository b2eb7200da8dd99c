"""Side experiments: training runs that take too long for a chapter. One module per chapter; see `registry`."""

from colorlib.lessons.experiments import (  # noqa: F401, these register
    compare_models,
    pix2pix,
    resnet_encoder,
    unet_autoencoder,
    your_photos,
)
from colorlib.lessons.experiments.common import LIBRARY_PHOTOS, library_photos, pack_ab, predict_first, unpack_ab
from colorlib.lessons.experiments.pix2pix import vivid_factor
from colorlib.lessons.experiments.registry import (
    EXPERIMENTS,
    Experiment,
    StaleRun,
    experiment,
    main,
    run_and_store,
    stale,
    store,
    stored,
    stored_training,
)

__all__ = [
    "EXPERIMENTS",
    "LIBRARY_PHOTOS",
    "Experiment",
    "StaleRun",
    "experiment",
    "library_photos",
    "main",
    "pack_ab",
    "predict_first",
    "run_and_store",
    "stale",
    "store",
    "stored",
    "stored_training",
    "unpack_ab",
    "vivid_factor",
]
