/* Weight transforms of the Toom-Cook algorithms, in double precision; see toom.h. */
#include "toom.h"
#include <string.h>

static const double finite_points[TOOM_COUNT][TOOM_POINTS_MAX] = {
    [TOOM_4_3] = { 0, 1, -1, 0.5, -2 },
    [TOOM_4_5] = { 0, 1, -1, 2, -2, 0.5, -0.5 },
    [TOOM_4_7] = { 0, 1, -1, 2, -2, 0.5, -0.5, 4. / 3, -0.75 },
    [TOOM_MAP_3] = { 0, 1, -1, 2 },
};

/* coefficients of prod over j != skip of (x - p_j), lowest power first */
static void product_without(const double *p, int count, int skip, double *coefficients)
{
    int degree = 0;
    coefficients[0] = 1;
    for (int j = 0; j < count; j++) {
        if (j == skip) continue;
        coefficients[++degree] = 0;
        for (int k = degree; k > 0; k--)
            coefficients[k] = coefficients[k - 1] - p[j] * coefficients[k];
        coefficients[0] *= -p[j];
    }
}

void toom_weight_factors(enum toom toom, int taps, double factors[TOOM_POINTS_MAX][TOOM_TAPS_MAX])
{
    const int points = toom_shapes[toom].points, last = points - 1;
    const double *p = finite_points[toom];
    memset(factors, 0, sizeof(double) * TOOM_POINTS_MAX * TOOM_TAPS_MAX);
    for (int i = 0; i < points; i++) {
        double norm = 1, power = 1, product[TOOM_POINTS_MAX] = { 0 };
        for (int j = 0; j < last && i < last; j++) norm *= j == i ? 1 : p[i] - p[j];
        if (toom == TOOM_MAP_3) {
            product_without(p, last, i, product);
            for (int k = 0; k < points; k++) factors[i][taps / 2 - 2 + k] = product[k] / norm;
        } else if (i == last) {
            factors[i][taps - 1] = 1;
        } else {
            for (int k = 0; k < taps; k++, power *= p[i]) factors[i][k] = power / norm;
        }
    }
}
