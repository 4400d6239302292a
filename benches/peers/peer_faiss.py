"""FAISS: exhaustive search, and its matrices of distances."""

import os

import faiss
import numpy as np

VERSION = f"FAISS {faiss.__version__}"
faiss.omp_set_num_threads(len(os.sched_getaffinity(0)))


def put(a):
    return a


def expanded(x, y):
    return {"pairwise_distances": (lambda: faiss.pairwise_distances(x, y), np.asarray)}


def cityblock(x, y):
    return {"METRIC_L1": (lambda: faiss.pairwise_distances(x, y, metric=faiss.METRIC_L1), np.asarray)}


def nn(x, y, k=1):
    index = faiss.IndexFlatL2(y.shape[1])
    index.add(y)
    return {
        "IndexFlatL2": (lambda: index.search(x, k), lambda r: r[1]),
        "knn": (lambda: faiss.knn(x, y, k), lambda r: r[1]),
    }


nn_expanded = nn


def nn10(x, y):
    return nn(x, y, 10)
