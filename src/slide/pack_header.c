/* What a pack was made from, as stored in its header: filled in from the configuration and the
 * slide, and compared with an existing pack. */
#include <stddef.h>
#include <string.h>
#include <xxhash.h>

#include "micromet/base/size.h"
#include "micromet/slide/pack.h"
#include "micromet/slide/scale.h"

/* A field that decides whether a pack can be reused, and its name in messages. */
struct header_field {
    const char *name;
    size_t offset, size;
    bool of_files; /* known only if the slide is open */
};
#define FIELD(name, member, of_files)                                                              \
    name, offsetof(struct pack_header, member), sizeof(((struct pack_header *)0)->member), of_files
static const struct header_field header_fields[] = {
    { FIELD("the version of the format", version, false) },
    { FIELD("the slide's name", slide_name, false) },
    { FIELD("the slide's size", slide.bytes, true) },
    { FIELD("the slide's content", slide.hash, true) },
    { FIELD("the annotation's name", annotation_name, false) },
    { FIELD("the annotation's size", annotation.bytes, true) },
    { FIELD("the annotation's content", annotation.hash, true) },
    { FIELD("the slide's µm/px", mpp_x, true) },
    { FIELD("the slide's µm/px", mpp_y, true) },
    { FIELD("the slide's downsamples", downsamples, true) },
    { FIELD("data.levels", tower_count, false) },
    { FIELD("data.levels", levels, false) },
    { FIELD("data.um_per_px or data.shrink_from", um_per_px_hash, false) },
    { FIELD("data.window", window, false) },
    { FIELD("data.center", center, false) },
    { FIELD("data.stride", stride, false) },
    { FIELD("data.origin", origin_x, false) },
    { FIELD("data.origin", origin_y, false) },
    { FIELD("data.tissue.method", tissue_method, false) },
    { FIELD("data.tissue.threshold", tissue_threshold, false) },
    { FIELD("data.tissue.min_normal", min_normal, false) },
    { FIELD("data.mask_values", mask_values_hash, false) },
    { FIELD("data.labels", labels_hash, false) },
    { FIELD("the manifest's mask_downsample", mask_downsample, false) },
    { FIELD("data.normals_per_tumor", normals_per_tumor, false) },
    { FIELD("data.max_tumor", max_tumor, false) },
    { FIELD("data.max_normal", max_normal, false) },
    { FIELD("seed", seed, false) },
    { FIELD("the slide's label", label, false) },
};
#undef FIELD

const char *pack_difference(const struct pack_header *have, const struct pack_header *want)
{
    for (size_t i = 0; i < COUNT_OF(header_fields); i++) {
        const struct header_field *field = &header_fields[i];
        if (field->of_files && !want->slide_hash[0]) continue;
        if (memcmp((const char *)have + field->offset, (const char *)want + field->offset,
                   field->size) != 0)
            return field->name;
    }
    return NULL;
}

static bool copy_name(char *to, size_t size, const char *path, struct error *err)
{
    const char *name = path_name(path);
    if (strlen(name) >= size)
        return error_set(err, EXIT_CODE_FAILED, "%s: the file's name is longer than %zu bytes",
                         path, size - 1);
    memcpy(to, name, strlen(name) + 1);
    return true;
}

bool pack_scale_holds(const struct pack_header *header, const struct manifest_row *row,
                      const struct config_data *data)
{
    double mpp[2];
    scale_of_row(mpp, row, data, header->mpp_own);
    return !header->um_per_px_hash || (mpp[0] == header->mpp_x && mpp[1] == header->mpp_y);
}

static bool fill_of_files(struct pack_header *header, const struct manifest_row *row,
                          const struct config_data *data, const struct slide *slide,
                          struct error *err)
{
    memcpy(header->slide_hash, slide->quickhash,
           strnlen(slide->quickhash, sizeof header->slide_hash - 1));
    memcpy(header->mpp_own, slide->mpp_own, sizeof header->mpp_own);
    header->mpp_x = slide->mpp_x;
    header->mpp_y = slide->mpp_y;
    for (int tower = 0; tower < header->tower_count; tower++) {
        const int level = tower_level(slide, data, tower);
        if (level < slide->level_count + slide->made_count)
            header->downsamples[tower] = slide->levels[level].downsample;
    }
    return identity_of_slide(&header->slide, row->slide, err) &&
           identity_of_picture(&header->picture_hash, slide, err) &&
           look_of_slide(header->look, slide, err) &&
           identity_of_annotation(&header->annotation, row->annotation, err);
}

/* Of data.um_per_px and data.shrink_from; 0 if they say nothing. */
static uint64_t um_per_px_hash(const struct config_data *data)
{
    const size_t bytes = (size_t)data->um_per_px_count * sizeof *data->um_per_px;
    return bytes ? XXH3_64bits_withSeed(data->um_per_px, bytes, data->shrink_from) | 1 : 0;
}

/* Of data.mask_values; 0 if it says nothing. */
static uint32_t mask_values_hash(const struct config_data *data)
{
    const size_t bytes = (size_t)data->mask_value_count * sizeof *data->mask_values;
    return bytes ? (uint32_t)XXH3_64bits(data->mask_values, bytes) | 1 : 0;
}

/* Of data.labels; 0 if it says nothing. */
static uint64_t labels_hash(const struct config *config)
{
    char text[CONFIG_VALUE_MAX];
    if (!config->data.label_count) return 0;
    config_value(config, "data.labels", text);
    return XXH3_64bits(text, strlen(text)) | 1;
}

bool pack_header_expected(const struct manifest_row *row, const struct config *config,
                          const struct slide *slide, struct pack_header *header, struct error *err)
{
    const struct config_data *data = &config->data;

    *header = (struct pack_header) {
        .version = PACK_VERSION,
        .header_bytes = PACK_HEADER_BYTES,
        .tower_count = data->level_count,
        .window = data->window,
        .center = data->center,
        .stride = data->stride,
        .origin_x = data->origin[0],
        .origin_y = data->origin[1],
        .tissue_method = (int32_t)data->tissue.method,
        .tissue_threshold = data->tissue.threshold,
        .min_normal = data->tissue.min_normal,
        .normals_per_tumor = data->normals_per_tumor,
        .um_per_px_hash = um_per_px_hash(data),
        .labels_hash = labels_hash(config),
        .mask_values_hash = mask_values_hash(data),
        .max_tumor = data->max_tumor,
        .max_normal = data->max_normal,
        .seed = config->seed,
        .label = row->label,
        .mask_downsample = row->mask_downsample,
    };
    memcpy(header->magic, pack_magic, sizeof pack_magic);
    for (int tower = 0; tower < data->level_count; tower++)
        header->levels[tower] = data->levels[tower];
    if (!copy_name(header->slide_name, sizeof header->slide_name, row->slide, err) ||
        !copy_name(header->annotation_name, sizeof header->annotation_name, row->annotation, err))
        return false;
    return !slide || fill_of_files(header, row, data, slide, err);
}

bool pack_path(char path[PATH_MAX_BYTES], const struct manifest_row *row,
               const struct config *config, struct error *err)
{
    char stem[PATH_MAX_BYTES], name[PATH_MAX_BYTES];

    path_stem(stem, row->slide);
    const int length = snprintf(name, sizeof name, "%s.pack", stem);
    if (length < 0 || (size_t)length >= sizeof name)
        return error_set(err, EXIT_CODE_FAILED, "%s: the path is too long", row->slide);
    return path_join(path, config->data.pack, name, err);
}
