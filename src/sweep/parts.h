/* What the files of this folder share. */
#ifndef MICROMET_SWEEP_PARTS_H
#define MICROMET_SWEEP_PARTS_H

#include "micromet/base/lock_file.h"
#include "micromet/sweep/folder.h"

/* Take a lock, however long others hold it. */
bool lock_wait(struct lock_file *lock, const char *path, struct error *err);

/* Names, each once. */
struct unique_names {
    char *names; /* NUL after NUL */
    size_t size;
};
bool unique_names_add(struct unique_names *list, const char *name, bool *added, struct error *err);
void unique_names_release(struct unique_names *list);

/* Packs hold one choice of windows. Runs that need another one than the base get a folder below
 * data.pack, named by what they need, so that equal ones share it, those of other sweeps too. */
bool packs_place(const struct sweep *sweep, struct config *config, struct error *err);
/* Make the packs of all runs, unless that was done. */
bool packs_prepare(const struct sweep_folder *folder, struct error *err);
bool packs_are_prepared(const struct sweep_folder *folder);
/* Forget that: make what is not there, or has changed. */
bool packs_forget(const struct sweep_folder *folder, struct error *err);

#endif
