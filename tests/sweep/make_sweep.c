/* usage: make_sweep FOLDER: the sweep of sweep_fixture.h, for tests of the program. */
#include "sweep_fixture.h"

int main(int count, char **arguments)
{
    struct sweep_folder folder;
    if (count != 2) return 2;
    sweep_fixture_make(&folder, arguments[1]);
    sweep_folder_release(&folder);
    return 0;
}
