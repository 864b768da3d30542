/* Bounds of rounding errors.
 *
 * SUMS IN FLOAT32. Each of n additions rounds the partial sum by up to u = 2^-24 of it, randomly up
 * or down. All data have random signs, so the sum of k terms is about sqrt(k) times as large as one
 * term, t, and the squares of the errors add up to u²/3 · sum k·t² = (u·n·t)²/6. Now n·t is 4/3 of
 * the sum of |terms| for products of numbers that are uniform about 0, so one standard deviation is
 * 0.55 u times that sum, the `magnitude`. The products are rounded as well, which adds 0.6
 * u/sqrt(n). So SUM · u · magnitude is at least ten deviations, whatever the order of the terms;
 * for few terms it exceeds the sum of all roundings.
 *
 * A sum of squares, as in a variance, grows with every term: one deviation is u/3 · sqrt(n) of it,
 * and six are 2 · sqrt(n) · u.
 *
 * WINOGRAD. y = A^T [(G w) . (B^T x)] sums products of transformed numbers (src/cpu/toom.h). Their
 * size, and that of their errors, is sqrt(sum over i of (A_ki |G_i| |B_i|)²) for output k, in units
 * of the sqrt(taps) of the plain sum. The largest over k, in one dimension:
 *     3 taps  3.2 with the points 0 1 -1 1/2 -2 of toom.c, 5.6 with 0 1 -1 2 -2, as in cuDNN
 *     5 taps  5.4 with 0 1 -1 2 -2 1/2 -1/2
 *     7 taps  16.8 with those and 4/3 -3/4
 * For two dimensions they are multiplied. Only stride 1 has such kernels.
 *
 * BFLOAT16 has 8 significant bits, so storing x causes an error of up to half a unit of the last of
 * them: 2^(e-8) for 2^e <= |x| < 2^(e+1), at most 2^-8 |x|. Products of two bfloat16 numbers are
 * exact in float32, and sums are always float32. These are rounded:
 *   - the result, if it is stored as bfloat16;
 *   - with `accumulate` in a convolution, first the addend, if an engine stores it separately
 *     (oneDNN; cuDNN if dx is copied), then the sum;
 *   - gradients of filters, if an engine returns them in the type of x (cuDNN);
 *   - the weights, by engines that multiply in bfloat16. This needs no bound, because the sum with
 *     rounded weights is computed too, and distance_of() takes the nearer one.
 * A bias is added before the only rounding. Maxima and masked gradients are copies. */
#include "tolerance.h"

#include <math.h>

static const double u = 0x1p-24;

/* In units of u times the magnitude. LIBRARY: exp(), log() and pow() are off by up to two units
 * each, also on GPUs, and a few operations follow. */
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
    case OP_SUM:
    case OP_AVERAGE:
        return FEW_OPERATIONS;
    case OP_LOSS:
    case OP_OPTIMIZER:
        return LIBRARY;
    default:
        return SUM;
    }
}

/* Half a unit in the last place of x as bfloat16, or of x with rounded weights; the float32 sum
 * before that may be off by `before`. */
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
