/* Reports on a pack: checksum, header, counts, and a contact sheet of its windows. The sheet takes
 * windows evenly from each class, so that the same pack always gives the same picture. */
#include "inspect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/size.h"
#include "micromet/base/text.h"
#include "micromet/format/image.h"
#include "micromet/slide/pack.h"

enum {
    SHEET_SIDE = 8,                          /* windows across and down, for each class */
    SHEET_WINDOWS = SHEET_SIDE * SHEET_SIDE, /* of one class at most */
    SHEET_WINDOW_MAX = 128,                  /* px; larger windows are drawn smaller */
    SHEET_GAP = 4,                           /* px between windows */
    SHEET_MIDDLE = 24,                       /* px between the classes */
};

struct sheet {
    const struct pack *pack;
    int reduce;                  /* draw every reduce-th pixel of a window */
    int side;                    /* px of one drawn tower */
    int cell_width, cell_height; /* px of a window with its gap */
    int width, height;
    uint8_t *rgb;
};

/* Choose windows of one class, evenly spaced in the pack's order; returns their number. */
static int choose(const struct pack *pack, int label, int64_t chosen[SHEET_WINDOWS])
{
    const int64_t total = label ? pack->header.tumor_count
                                : pack->header.count - pack->header.tumor_count;
    const int count = total < SHEET_WINDOWS ? (int)total : SHEET_WINDOWS;
    int64_t rank = 0;
    int taken = 0;

    for (int64_t i = 0; i < pack->header.count && taken < count; i++) {
        if (pack->windows[i].label != label) continue;
        if (rank++ == total * taken / count) chosen[taken++] = i;
    }
    return taken;
}

static void draw_window(const struct sheet *sheet, int64_t index, int left, int top)
{
    const int window = sheet->pack->header.window;

    for (int tower = 0; tower < sheet->pack->header.tower_count; tower++) {
        const uint8_t *pixels = pack_pixels(sheet->pack, index, tower);
        for (int y = 0; y < sheet->side; y++)
            for (int x = 0; x < sheet->side; x++) {
                const size_t to = (size_t)(top + y) * (size_t)sheet->width +
                                  (size_t)(left + tower * sheet->side + x);
                const size_t from = (size_t)(y * sheet->reduce) * (size_t)window +
                                    (size_t)(x * sheet->reduce);
                memcpy(sheet->rgb + 3 * to, pixels + 3 * from, 3);
            }
    }
}

static void sheet_layout(struct sheet *sheet, const struct pack *pack)
{
    const int window = pack->header.window;

    sheet->pack = pack;
    sheet->reduce = CEIL_DIV(window, SHEET_WINDOW_MAX);
    sheet->side = window / sheet->reduce;
    sheet->cell_width = pack->header.tower_count * sheet->side + SHEET_GAP;
    sheet->cell_height = sheet->side + SHEET_GAP;
    sheet->width = 2 * SHEET_SIDE * sheet->cell_width + SHEET_MIDDLE + SHEET_GAP;
    sheet->height = SHEET_SIDE * sheet->cell_height + SHEET_GAP;
}

/* Tumour on the left, normal on the right, the towers of a window side by side. */
static bool write_sheet(const struct pack *pack, const char *path, struct error *err)
{
    struct sheet sheet = { 0 };
    int64_t chosen[SHEET_WINDOWS];

    sheet_layout(&sheet, pack);
    const size_t bytes = (size_t)sheet.width * (size_t)sheet.height * 3;
    sheet.rgb = malloc(bytes);
    if (!sheet.rgb) return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", path);
    memset(sheet.rgb, 255, bytes);
    for (int label = 0; label <= 1; label++) {
        const int count = choose(pack, label, chosen);
        const int left = SHEET_GAP + (label ? 0 : SHEET_SIDE * sheet.cell_width + SHEET_MIDDLE);
        for (int i = 0; i < count; i++)
            draw_window(&sheet, chosen[i], left + i % SHEET_SIDE * sheet.cell_width,
                        SHEET_GAP + i / SHEET_SIDE * sheet.cell_height);
    }
    const bool ok = image_write_png(path, sheet.rgb, sheet.width, sheet.height, err);
    free(sheet.rgb);
    return ok;
}

static void print_header(const struct pack *pack)
{
    const struct pack_header *header = &pack->header;

    printf("pack          %s\n", SHOWN(pack->path));
    printf("checksum      correct (XXH3-128 of the table %016llx%016llx)\n",
           (unsigned long long)header->table_hash[1], (unsigned long long)header->table_hash[0]);
    printf("slide         %s, %s, %llu bytes, content %016llx%016llx\n", SHOWN(header->slide_name),
           header->label ? "tumor" : "normal", (unsigned long long)header->slide.bytes,
           (unsigned long long)header->slide.hash[1], (unsigned long long)header->slide.hash[0]);
    printf("annotation    %s\n",
           *header->annotation_name ? SHOWN(header->annotation_name) : "none");
    for (int tower = 0; tower < header->tower_count; tower++) {
        printf("tower %d       ", tower);
        if (header->levels[tower] < 0)
            printf("by µm/px");
        else
            printf("level %d", header->levels[tower]);
        printf(", downsample %.9g", header->downsamples[tower]);
        if (header->mpp_x > 0) printf(", %.4g µm/px", header->mpp_x * header->downsamples[tower]);
        printf("\n");
    }
    printf("windows       %d px, center %d, stride %d, grid %lld×%lld from (%lld, %lld)\n",
           header->window, header->center, header->stride, (long long)header->grid_columns,
           (long long)header->grid_rows, (long long)header->grid_x_level0,
           (long long)header->grid_y_level0);
    printf("tissue        %s, grey at most %.4f, share of a normal window at least %g\n",
           header->tissue_method == TISSUE_OTSU ? "otsu" : "gray",
           (double)header->gray_max / 2550000, header->min_normal);
    printf(
        "choice        seed %llu, %g normal a tumor, at most %lld tumor, %lld normal (0 = all)\n",
        (unsigned long long)header->seed, header->normals_per_tumor, (long long)header->max_tumor,
        (long long)header->max_normal);
    printf("count         %lld windows: %lld tumor, %lld normal (of %lld with enough tissue)\n",
           (long long)header->count, (long long)header->tumor_count,
           (long long)(header->count - header->tumor_count), (long long)header->tissue_windows);
}

bool inspect_pack(const char *path, const char *out_folder, struct error *err)
{
    char stem[PATH_MAX_BYTES], name[PATH_MAX_BYTES], picture[PATH_MAX_BYTES];
    struct pack pack;

    if (!pack_open(&pack, path, true, err)) return false;
    print_header(&pack);
    path_stem(stem, path);
    const int length = snprintf(name, sizeof name, "%s.contact.png", stem);
    bool ok = (length > 0 && (size_t)length < sizeof name) ||
              error_set(err, EXIT_CODE_FAILED, "%s: the path is too long", path);
    ok = ok && folder_create(out_folder, err) && path_join(picture, out_folder, name, err) &&
         write_sheet(&pack, picture, err);
    if (ok) printf("contact sheet %s (tumor on the left)\n", SHOWN(picture));
    pack_release(&pack);
    return ok;
}
