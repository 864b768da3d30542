/* What the files of this folder share. */
#ifndef MICROMET_SWEEP_PARTS_H
#define MICROMET_SWEEP_PARTS_H

#include "micromet/base/lock_file.h"
#include "micromet/sweep/folder.h"

/* Take a lock, however long others hold it. */
bool lock_wait(struct lock_file *lock, const char *path, struct error *err);

/* Packs hold one choice of windows. Runs that need another one than the base get a folder below
 * data.pack, named by what they need, so that equal ones share it, those of other sweeps too. */
bool packs_place(const struct sweep *sweep, struct config *config, struct error *err);
/* Make the packs of all runs, unless that was done. */
bool packs_prepare(const struct sweep_folder *folder, struct error *err);

#endif
