"""Writes distances.csv: SciPy's distances of small rows with edge cases. Run: python make_distances.py > distances.csv"""

import numpy as np
from scipy.spatial.distance import cdist

rng = np.random.default_rng(7)
x = np.abs(np.round(rng.normal(size=(9, 6)) * 3) / 2)
y = np.abs(np.round(rng.normal(size=(8, 6)) * 3) / 2)
x[0] = 0
y[0] = 0
x[1] = 2.5
y[2] = x[3]
x[4, 2] = np.nan
x[5, 1:] = 0
y[5, :4] = 0
# Truths: none, all, the same, the opposite.
own = np.random.default_rng(11)
tx = (own.random((9, 6)) < 0.5).astype(float)
ty = (own.random((8, 6)) < 0.5).astype(float)
tx[0], tx[1], ty[0], ty[1], ty[2], ty[3] = 0, 1, 0, 1, tx[2], 1 - tx[3]

print("name,n,m,d,values")
for name, a in [("x", x), ("y", y), ("tx", tx), ("ty", ty)]:
    print(f"{name},{len(a)},0,6," + " ".join(repr(float(v)) for v in a.ravel()))
w = np.array([0.5, 1, 2, 0, 0.25, 3])
v = np.array([0.5, 1, 2, 4, 0.25, 3])
base = rng.normal(size=(6, 6))
vi = np.round((base @ base.T + np.eye(6)) * 64) / 64
for name, a in [("w", w), ("v", v), ("vi", vi)]:
    print(f"{name},{len(a)},0,6," + " ".join(repr(float(u)) for u in a.ravel()))
plain = """sqeuclidean euclidean cityblock chebyshev cosine correlation canberra braycurtis hamming jensenshannon jaccard dice
rogerstanimoto russellrao sokalsneath yule""".split()
cases = [(m, m, {}) for m in plain]
cases += [(f"minkowski:{p}", "minkowski", {"p": p}) for p in [3, 0.5, np.inf]]
cases += [(f"{m}+w", m, {"w": w}) for m in plain if m != "jensenshannon"]
cases += [(f"minkowski:{p}+w", "minkowski", {"p": p, "w": w}) for p in [3, np.inf]]
cases += [("seuclidean+v", "seuclidean", {"V": v}), ("mahalanobis+vi", "mahalanobis", {"VI": vi})]
with np.errstate(all="ignore"):
    for name, metric, more in cases:
        d = cdist(x, y, metric, **more)
        print(f"{name},{len(x)},{len(y)},6," + " ".join(repr(float(u)) for u in d.ravel()))
    for m in "dice rogerstanimoto russellrao sokalsneath yule jaccard hamming".split():
        for name, more in [(f"{m}@t", {}), (f"{m}+w@t", {"w": w})]:
            d = cdist(tx, ty, m, **more)
            print(f"{name},{len(tx)},{len(ty)},6," + " ".join(repr(float(u)) for u in d.ravel()))
    # The default variances, of rows without NaN.
    d = cdist(x[:4], y, "seuclidean")
    print("seuclidean,4,8,6," + " ".join(repr(float(u)) for u in d.ravel()))
