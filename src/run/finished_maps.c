/* See the header. A map is a safetensors file: written atomically, and checked when read. */
#include "finished_maps.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char ending[] = ".map.safetensors";

static bool kept_folder(char path[PATH_MAX_BYTES], const char *folder, struct error *err)
{
    return path_join(path, folder, "finished", err);
}

bool finished_map_init(struct finished_map *kept, const char *folder,
                       const struct checkpoint *checkpoint, const struct slide *slide,
                       const struct file_identity *identity, const struct grid *grid,
                       int orientations, struct error *err)
{
    const struct config_data *data = &checkpoint->config.data;
    char stem[PATH_MAX_BYTES], name[PATH_MAX_BYTES + sizeof ending];
    char content[IDENTITY_TEXT_BYTES];
    identity_print(identity, content);
    path_stem(stem, slide->path);
    snprintf(name, sizeof name, "%s%s", stem, ending);
    snprintf(kept->identity, sizeof kept->identity,
             "slide %s model %016llx by %s, grid %lldx%lld %lld,%lld %.17g, %d orientations, "
             "tissue %d %.17g %.17g",
             content, (unsigned long long)checkpoint->identity, MICROMET_GIT,
             (long long)grid->columns, (long long)grid->rows, (long long)grid->origin_x,
             (long long)grid->origin_y, grid->step, orientations, (int)data->tissue.method,
             data->tissue.threshold, data->tissue.min_normal);
    return kept_folder(kept->folder, folder, err) && path_join(kept->path, kept->folder, name, err);
}

/* The probabilities if the file has the expected identity and shape, else NULL. */
static const float *find_map(const struct finished_map *kept, const struct weights *weights,
                             const struct grid *grid)
{
    const char *identity = weights_metadata(weights, "identity");
    const struct weight_array *array = weights_find(weights, "probabilities");
    const bool same = identity && strcmp(identity, kept->identity) == 0 && array &&
                      strcmp(array->dtype, "F32") == 0 &&
                      array->count == grid->rows * grid->columns;
    return same ? array->data : NULL;
}

bool finished_map_load(const struct finished_map *kept, const struct grid *grid,
                       struct heatmap *heatmap)
{
    struct weights weights;
    struct error ignored = { 0 }; /* a map that cannot be read is computed again */
    const int64_t cells = grid->rows * grid->columns;
    if (!file_exists(kept->path) || !safetensors_read(&weights, kept->path, &ignored)) return false;
    const float *probabilities = find_map(kept, &weights, grid);
    *heatmap = (struct heatmap) { .grid = *grid };
    float *copy = probabilities ? malloc((size_t)cells * sizeof *copy) : NULL;
    heatmap->probabilities = copy;
    if (copy) {
        memcpy(copy, probabilities, (size_t)cells * sizeof *copy);
        heatmap_summarise(heatmap);
    }
    weights_release(&weights);
    return heatmap->probabilities != NULL;
}

bool finished_map_save(const struct finished_map *kept, const struct heatmap *heatmap,
                       struct error *err)
{
    const struct grid *grid = &heatmap->grid;
    const struct weight_array array = { .name = (char *)"probabilities",
                                        .dims = 2,
                                        .shape = { grid->rows, grid->columns },
                                        .count = grid->rows * grid->columns,
                                        .data = heatmap->probabilities,
                                        .dtype = "F32" };
    const char *const metadata[] = { "identity", kept->identity, NULL };
    return folder_create(kept->folder, err) &&
           safetensors_write(kept->path, &array, 1, metadata, err);
}

static bool ends_with(const char *name, const char *end)
{
    const size_t length = strlen(name), size = strlen(end);
    return length >= size && strcmp(name + length - size, end) == 0;
}

void finished_maps_remove(const char *folder)
{
    char path[PATH_MAX_BYTES], file[PATH_MAX_BYTES];
    struct error ignored = { 0 };
    DIR *listing = kept_folder(path, folder, &ignored) ? opendir(path) : NULL;
    if (!listing) return;
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;)
        if (ends_with(entry->d_name, ending) && path_join(file, path, entry->d_name, &ignored))
            unlink(file);
    closedir(listing);
    atomic_files_clean(path, NULL);
    rmdir(path); /* fails if other files are there */
}
