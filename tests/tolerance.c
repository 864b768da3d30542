/* Bounds of rounding errors.
 *
 * SUMS IN FLOAT32. Each of n additions rounds the sum so far by up to u = 2^-24 of it, up or down
 * by chance. All data is of random sign, so the sum after k of the terms is about sqrt(k) times as
 * large as one, t, and the squares of the errors add up to u²/3 · sum k·t² = (u·n·t)²/6. Now n·t is
 * 4/3 of the sum of |terms| for products of numbers that are uniform about 0, so that one standard
 * deviation is 0.55 u times that sum, the `magnitude`. The products are rounded as well, which adds
 * 0.6 u/sqrt(n). So SUM · u · magnitude is ten deviations, whatever the order of the terms; where
 * there are few, it is more than all their roundings together.
 *
 * A sum of squares, as a variance is, grows from term to term: then one deviation is u/3 · sqrt(n)
 * of it, and six of them 2 · sqrt(n) · u.
 *
 * WINOGRAD. y = A^T [(G w) . (B^T x)] sums products of transformed numbers (src/cpu/toom.h). Their
 * size, and that of their errors, is sqrt(sum over i of (A_ki |G_i| |B_i|)²) for output k, in units
 * of the sqrt(taps) that the plain sum has. The largest over k, in one direction:
 *     3 taps  3.2 with the points 0 1 -1 1/2 -2 of toom.c, 5.6 with 0 1 -1 2 -2, as cuDNN has them
 *     5 taps  5.4 with 0 1 -1 2 -2 1/2 -1/2
 *     7 taps  16.8 with those and 4/3 -3/4
 * In two directions they multiply. Only stride 1 has such kernels.
 *
 * BFLOAT16 has 8 significant bits, so to store x is to be off by half a unit of the last of them:
 * 2^(e-8) for 2^e <= |x| < 2^(e+1), at most 2^-8 |x|. Products of two bfloat16 numbers are exact in
 * float32, and sums are float32 everywhere. What is rounded, then:
 *   - the result, where it is stored as bfloat16;
 *   - with `accumulate` in a convolution, first what is added, if an engine stores it on its own
 *     (oneDNN; cuDNN where a copy of dx is made), then the sum;
 *   - gradients of filters, where an engine gives them in the type of x (cuDNN);
 *   - the weights, by engines that multiply in bfloat16. That is no matter of a bound: the sum with
 *     rounded weights is known too, and distance_of() takes the nearer one.
 * A bias is added before the one rounding. Maxima and masked gradients are copies. */
#include "tolerance.h"

#include <math.h>

static const double u = 0x1p-24;

/* In units of u of the magnitude. LIBRARY: exp(), log() and pow() are off by two units each, on
 * GPUs too, and their values go through a few operations more. */
enum { SUM = 8, FEW_OPERATIONS = 4, LIBRARY = 16 };

static double winograd_axis(int taps)
{
    return taps == 3 ? 5.6 : taps == 5 ? 5.4 : taps == 7 ? 16.8 : 1;
}

static double winograd(const struct op_window *w)
{
    return w->stride == 1 ? winograd_axis(w->kernel_h) * winograd_axis(w->kernel_w) : 1;
}

static double float_units(const struct op *op)
{
    switch (op->kind) {
    case OP_CONVOLUTION:
    case OP_CONVOLUTION_BACKWARD_DATA:
    case OP_CONVOLUTION_BACKWARD_FILTER:
        return SUM * winograd(&op->convolution.window);
    case OP_BATCH_NORM:
        return SUM + 2 * sqrt((double)tensor_pixels(&op->x));
    case OP_DROPOUT:
        return FEW_OPERATIONS;
    case OP_LOSS:
    case OP_OPTIMIZER:
        return LIBRARY;
    default:
        return SUM;
    }
}

/* Half a unit in the last place of x as a bfloat16, or of what it is with rounded weights; the sum
 * in float32 is off by `before`. */
static double rounding(double x, double shift, double before)
{
    return ldexp(1, ilogb(fmax(fabs(x), fabs(x + shift)) + before) - 8);
}

double tolerance_of(const struct op *op, enum role role, enum dtype stored,
                    const struct reference_value *v)
{
    const bool bf16 = op->x.dtype == DTYPE_BF16 || op->y.dtype == DTYPE_BF16;
    const bool exact = op->kind == OP_RELU_BACKWARD || (op->kind == OP_POOL && !op->pool.average);
    if (exact) return 0;
    const double f32 = float_units(op) * u * v->magnitude + 1e-30;
    double tolerance = f32;
    const bool of_filter = op->kind == OP_CONVOLUTION_BACKWARD_FILTER && role == ROLE_OUT && bf16;
    const bool adds = op->kind == OP_CONVOLUTION_BACKWARD_DATA && op->convolution.accumulate;
    if (adds && stored == DTYPE_BF16) tolerance += rounding(v->value - v->kept, v->shift, f32);
    if (of_filter || stored == DTYPE_BF16) tolerance += rounding(v->value, v->shift, tolerance);
    return tolerance;
}

double distance_of(double got, const struct reference_value *v)
{
    return fmin(fabs(got - v->value), fabs(got - v->value - v->shift));
}
