"""stats_reference.py: the expected numbers of tests/report/stats.c, from numpy and Philox written anew."""
import numpy as np

M32 = 0xFFFFFFFF


def philox(seed, stream, counter):
    c = [counter & M32, counter >> 32, stream, 0]
    k = [seed & M32, seed >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & M32, (a >> 32) ^ c[3] ^ k[1], a & M32]
        k = [(k[0] + 0x9E3779B9) & M32, (k[1] + 0xBB67AE85) & M32]
    return c


def iqm(x):
    x = np.sort(x)
    cut = int(len(x) * 0.25)
    return x[cut:len(x) - cut].mean()


def bootstrap(stat, strata, seed, resamples=2000):
    results = []
    for r in range(resamples):
        drawn, i = [], 0
        for s in strata:
            for _ in s:
                b = philox(seed, 9, r << 32 | i)
                drawn.append(s[((b[0] << 32 | b[1]) * len(s)) >> 64])
                i += 1
        results.append(stat(np.array(drawn)))
    everything = np.concatenate(strata)
    return stat(everything), *np.percentile(results, [2.5, 97.5])


scores = [3.5, -1.0, 12.25, 7.0, 7.5, 0.5, 20.0, 4.0, 5.0]
print("mean, median, iqm of 9:", np.mean(scores), np.median(scores), iqm(scores))
print("mean, median, iqm of 8:", np.mean(scores[:8]), np.median(scores[:8]), iqm(scores[:8]))
strata = [[1.1, 2.37, 4.71], [100.3, 110.71, 90.13, 131.9, 95.57]]
for stat in (np.mean, np.median, iqm):
    print(stat.__name__, *("%.17g" % v for v in bootstrap(stat, strata, seed=11)))
print("tests/report/report.c:", bootstrap(np.mean, [[10.0, 11.0, 12.0, 19.0]], seed=0), iqm([10.0, 11.0, 12.0, 19.0]))
