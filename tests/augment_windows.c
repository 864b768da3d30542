/* Stains windows anew, for tools/check-stain. From standard input come windows: the int32 side,
 * sigma and beta of the three stains as six floats, and the bytes of RGB; to standard output go the
 * pixels as floats in [-1, 1]. */
#include <stdio.h>
#include <stdlib.h>

#include "cpu/isa.h"
#include "micromet/data/augment.h"

enum { SIDE_MAX = 4096 };

static bool stain_window(FILE *in, FILE *out, int32_t side)
{
    struct augment_draw draw = augment_identity();
    const size_t values = 3 * (size_t)side * (size_t)side;
    uint8_t *pixels = malloc(values);
    float *stained = malloc(values * sizeof *stained);
    const bool ok = pixels && stained && fread(draw.stain_scale, sizeof(float), 3, in) == 3 &&
                    fread(draw.stain_shift, sizeof(float), 3, in) == 3 &&
                    fread(pixels, 1, values, in) == values;
    if (ok) isa_chosen(NULL)->augment(pixels, &draw, side, DTYPE_F32, 3, stained);
    const bool written = ok && fwrite(stained, sizeof *stained, values, out) == values;
    free(pixels);
    free(stained);
    return written;
}

int main(void)
{
    int32_t side;
    while (fread(&side, sizeof side, 1, stdin) == 1) {
        if (side >= 1 && side <= SIDE_MAX && stain_window(stdin, stdout, side)) continue;
        fprintf(stderr, "augment_windows: a window cannot be read or written\n");
        return 1;
    }
    return 0;
}
