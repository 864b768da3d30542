/* Whether two slides show the same picture, though they are other files: one saved anew with loss,
 * with other levels or tiles, in another format, or cut by some rows. */
#ifndef MICROMET_SLIDE_LOOK_H
#define MICROMET_SLIDE_LOOK_H

#include "micromet/slide/slide.h"

enum { LOOK_SIDE = 16, LOOK_CELLS = LOOK_SIDE * LOOK_SIDE };

/* Mean gray of 16 × 16 equal parts of the slide. All zero: unknown, since the slide is empty, or
 * has no level of at most 256 million pixels, or cannot be read. */
bool look_of_slide(uint8_t look[LOOK_CELLS], const struct slide *slide, struct error *err);
/* Pearson's correlation of two looks; 0 if one is unknown. */
double look_compare(const uint8_t a[LOOK_CELLS], const uint8_t b[LOOK_CELLS]);

/* Spots of one slide that have grain, and how many of them were found again in another one. */
struct look_spots {
    int told, found;
    bool coarse; /* there are finer levels, on which nothing tells anything */
};
/* Seek spots of `a` in `b` on the finest level on which they tell anything: at the same place and
 * up to 32 px beside it, and where that would be after a cut that coarser levels show. */
bool look_closely(struct look_spots *spots, const struct slide *a, const struct slide *b,
                  const uint8_t look_of_a[LOOK_CELLS], struct error *err);
enum look_likeness { LOOK_OTHER, LOOK_LIKELY, LOOK_COPY };
/* Whether that is beyond doubt the same picture. */
enum look_likeness look_judge(const struct look_spots *spots);

#endif
