/* Shared by the tests of TIFFs: the path of one slide, which each test writes and opens. */
#ifndef MICROMET_TESTS_SLIDE_FIXTURE_H
#define MICROMET_TESTS_SLIDE_FIXTURE_H

#include "micromet/slide/slide.h"
#include "support.h"

static char folder[PATH_MAX_BYTES], path[PATH_MAX_BYTES];
static struct slide slide;
static struct error err;

static inline void begin(void)
{
    test_folder_make(folder);
    test_path(path, folder, "slide.tif");
}

static inline void end(void)
{
    slide_release(&slide);
    test_folder_remove(folder);
}

#endif
