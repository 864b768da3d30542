/* One-dimensional Toom-Cook convolutions, the parts of every Winograd kernel here.
 *
 * `points` products give `out` outputs of a `taps`-tap filter from `in` inputs (Lavin & Gray 2016,
 * arXiv:1509.09308, written F(out, taps)). With points p_i (the last one is infinity), N_i = prod
 * over j != i of (p_i - p_j), and x^k read as "input k", the algorithm y = A^T [(G w) . (B^T x)]
 * has
 *
 *     B^T row i = prod over j != i of (x - p_j),    last row: prod over all j of (x - p_j)
 *     G row i   = (1, p_i, p_i^2, ...) / N_i,       last row: (0, ..., 0, 1)
 *     A^T row k = (p_0^k, p_1^k, ...),              last column: 1 in the last row, else 0
 *
 * TOOM_MAP_3 is for a map of 3 pixels under a 'same' filter of 5 or more taps: y_i = sum over j of
 * w[j-i] x_j is the convolution of 5 weights by 3 "taps" x, output in reverse order, so B^T acts on
 * the weights and G on the map. Points: 0 1 -1 1/2 -2 | 0 1 -1 2 -2 1/2 -1/2 | ... 4/3 -3/4 |
 * 0 1 -1 2; small ones, with reciprocals, keep the rounding error low (Barabasz et al. 2018,
 * arXiv:1803.10986). */
#ifndef MICROMET_CPU_TOOM_H
#define MICROMET_CPU_TOOM_H

enum toom { TOOM_NONE, TOOM_4_3, TOOM_4_5, TOOM_4_7, TOOM_MAP_3, TOOM_COUNT };

enum { TOOM_POINTS_MAX = 10, TOOM_OUT_MAX = 4, TOOM_TAPS_MAX = 7 };

struct toom_shape {
    int in, points, out;
};

static const struct toom_shape toom_shapes[TOOM_COUNT] = {
    [TOOM_NONE] = { 1, 1, 1 },  [TOOM_4_3] = { 6, 6, 4 },   [TOOM_4_5] = { 8, 8, 4 },
    [TOOM_4_7] = { 10, 10, 4 }, [TOOM_MAP_3] = { 3, 5, 3 },
};

/* The factors by which `taps` weights become `points` values: value i = sum over k of factors[i][k]
 * * w[k]. */
void toom_weight_factors(enum toom toom, int taps, double factors[TOOM_POINTS_MAX][TOOM_TAPS_MAX]);

#endif
