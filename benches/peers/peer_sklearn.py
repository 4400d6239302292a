"""scikit-learn: pairwise distances and nearest neighbours, in one job and in one for each core."""

import numpy as np
import sklearn
from sklearn.metrics import pairwise_distances, pairwise_distances_argmin_min
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.neighbors import NearestNeighbors

VERSION = f"scikit-learn {sklearn.__version__}"
sklearn.set_config(assume_finite=True)


def put(a):
    return a


def expanded(x, y):
    return {"euclidean_distances": (lambda: euclidean_distances(x, y, squared=True), np.asarray)}


def cityblock(x, y):
    return {
        "n_jobs=1": (lambda: pairwise_distances(x, y, metric="manhattan"), np.asarray),
        "n_jobs=-1": (lambda: pairwise_distances(x, y, metric="manhattan", n_jobs=-1), np.asarray),
    }


def nn(x, y):
    brute = NearestNeighbors(n_neighbors=1, algorithm="brute", n_jobs=-1).fit(y)
    return {
        "argmin_min": (lambda: pairwise_distances_argmin_min(x, y, metric="sqeuclidean"), lambda r: r[0]),
        "NearestNeighbors": (lambda: brute.kneighbors(x), lambda r: r[1]),
    }


nn_expanded = nn


def nn10(x, y):
    brute = NearestNeighbors(n_neighbors=10, algorithm="brute", n_jobs=-1).fit(y)
    return {"NearestNeighbors": (lambda: brute.kneighbors(x), lambda r: r[1])}
