/* What annotation programs draw: closed outlines with names, as every format's reader gives them
 * and every writer takes them. Nothing here says what a name means; annotation_labels.c does. */
#ifndef SLIDE_OUTLINES_H
#define SLIDE_OUTLINES_H

#include <stdint.h>

#include "micromet/base/config.h"
#include "micromet/base/error.h"

struct point {
    double x, y; /* level-0 px */
};

/* Outlines of one area cut and unite: a point is inside if it is in one of them that is no hole,
 * and in none that is. An area is one polygon of GeoJSON, one layer of ImageScope or HALO. */
struct outline {
    int64_t first, count; /* its points; the last is joined to the first, which is not repeated */
    int32_t area, object; /* ascending; an object is what was drawn as one, of several areas */
    int32_t name;         /* index in `names`: class, group or layer */
    int32_t title;        /* offset in `titles`: what the object itself is called; 0 = nothing */
    int32_t color;        /* 0xRRGGBB; -1 = none */
    bool hole;
    bool drawn; /* set by outlines_fill(): covers a pixel of the slide */
};

struct outline_name {
    char text[LABEL_NAME_BYTES];
    int64_t count;              /* of outlines that are no holes */
    enum label_meaning meaning; /* set by outlines_label() */
};

struct outlines {
    struct point *points;
    struct outline *outlines;
    struct outline_name *names;
    char *titles;
    int64_t point_count, point_capacity, count, capacity;
    int64_t name_count, name_capacity, title_bytes, title_capacity;
    int64_t without_area; /* dots, lines and measurements, which are left out */
    int64_t listed;       /* of those, in `left_out` */
    char left_out[160];   /* their names or places, for messages */
};

void outlines_release(struct outlines *set);

/* These return NULL, or why not, for a message with the place in the file. */
const char *outlines_begin(struct outlines *set, const struct outline *outline);
/* Of the outline that was begun last. */
const char *outlines_point(struct outlines *set, double x, double y);
const char *outlines_name(struct outlines *set, const char *name, int32_t *index);
const char *outlines_title(struct outlines *set, const char *title, int32_t *offset);

/* Once all points of the last outline are there: the last is dropped if it repeats the first. */
void outlines_close(struct outlines *set);
/* Note a shape without area; `what`: its name or place, fit for messages. */
void outlines_leave_out(struct outlines *set, const char *what);
/* Drop the outlines from number `first` on, and their points. */
void outlines_drop(struct outlines *set, int64_t first);
void outlines_move(struct outlines *set, int64_t x, int64_t y);
/* Count how often each name is used. */
void outlines_count_names(struct outlines *set);

static inline const char *outline_name(const struct outlines *set, const struct outline *outline)
{
    return set->names[outline->name].text;
}
static inline const char *outline_title(const struct outlines *set, const struct outline *outline)
{
    return set->titles ? set->titles + outline->title : "";
}

/* Corners of a box make a rectangle, or the ellipse in it as a polygon that is nowhere more than
 * 0.02 px inside. */
const char *outlines_box(struct outlines *set, struct point a, struct point b, bool ellipse);

#define COORDINATE_MAX 1e8 /* px */

#endif
