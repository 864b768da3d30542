/* See the header. */
#include "sweep_fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sweep/ladder.h"

const char sweep_fixture_reason[] = "</script><script>document.title='broken'</script><!-- "
                                    "\"quoted\", \xe2\x80\xa8 and \xff & 'that'";

static const char sweep_text[] =
    "base: base.yaml\n"
    "random:\n"
    "  runs: 25\n"
    "  seed: 3\n"
    "  optimizer.learning_rate: {distribution: log_uniform_values, min: 1e-6, max: 1e-2}\n"
    "  model.dropout: {distribution: uniform, min: 0.0, max: 0.6}\n"
    "grid:\n"
    "  train.batch: [16, 64]\n"
    "  data.manifest: ['/a/slides.csv', '/b/</script><img src=x onerror=alert(1)>, \"&amp;\"']\n"
    "repeat: {seed: [1, 2]}\n"
    "halving: {min_epochs: 1, max_epochs: 9, factor: 3}\n";

bool sweep_fixture_fails(int run)
{
    return run % 23 == 7;
}

double sweep_fixture_auc(const struct sweep *sweep, int run, int epoch)
{
    const double rate = atof(sweep->runs[run].values[0].value);
    const double dropout = atof(sweep->runs[run].values[1].value);
    const double off = (log10(rate) + 3.7) / 1.2;
    const double noise = 0.01 * sin(12.9898 * run + 78.233 * epoch);
    return 0.5 + (0.45 - 0.1 * dropout) * exp(-off * off) * (1 - exp(-epoch / 2.5)) + noise;
}

static FILE *create(const struct sweep_folder *folder, const char *part, int run,
                    const char *suffix)
{
    struct error err = { 0 };
    char path[PATH_MAX_BYTES], parent[PATH_MAX_BYTES];
    CHECK(sweep_folder_path(folder, part, run, suffix, path, &err));
    path_folder(parent, path);
    CHECK(file_exists(parent) || folder_create(parent, &err));
    FILE *stream = fopen(path, "w");
    CHECK(stream);
    return stream;
}

static void write_text(const char *folder, const char *name, const char *text)
{
    struct error err = { 0 };
    char path[PATH_MAX_BYTES], parent[PATH_MAX_BYTES];
    CHECK(path_join(path, folder, name, &err));
    path_folder(parent, path);
    CHECK(folder_create(parent, &err) && file_write_atomic(path, text, strlen(text), &err));
}

static void train(const struct sweep_folder *folder, int run, int epochs)
{
    FILE *stream = create(folder, "runs", run, "/metrics.jsonl");
    for (int epoch = 1; epoch <= epochs; epoch++) {
        const double auc = sweep_fixture_auc(&folder->sweep, run, epoch);
        fprintf(stream, "{\"epoch\":%d,\"loss\":0.7,\"kind\":\"train\",\"step\":%d}\n", epoch - 1,
                100 * epoch - 10);
        fprintf(stream,
                "{\"epoch\":%d,\"train_loss\":%.9g,\"loss\":%.9g,\"auc\":%.9g,\"threshold\":0.5,"
                "\"kind\":\"validation\",\"step\":%d}\n",
                epoch, 1.1 - auc, 1.2 - auc, auc, 100 * epoch);
    }
    CHECK(fclose(stream) == 0);
}

static void finish(const struct sweep_folder *folder, int run, int epochs)
{
    struct error err = { 0 };
    struct sweep_outcome outcome = { .state = SWEEP_DONE, .epochs = epochs, .score = NAN };
    if (sweep_fixture_fails(run)) {
        outcome.state = SWEEP_FAILED;
        snprintf(outcome.reason, sizeof outcome.reason, "%s", sweep_fixture_reason);
    } else {
        train(folder, run, epochs);
        for (int epoch = 1; epoch <= epochs; epoch++)
            outcome.score = fmax(outcome.score, sweep_fixture_auc(&folder->sweep, run, epoch));
    }
    CHECK(sweep_outcome_write(folder, run, &outcome, &err));
}

static void run_all(const struct sweep_folder *folder)
{
    struct error err = { 0 };
    struct ladder ladder;
    CHECK(ladder_init(&ladder, folder, &err));
    for (int rung = 0; rung < ladder.rung_count; rung++) {
        for (int i = 0; i < ladder.rungs[rung].count; i++)
            finish(folder, ladder.rungs[rung].members[i], sweep_rung_epochs(&folder->sweep, rung));
        CHECK(ladder_decide(&ladder, rung + 1, &err));
    }
    ladder_release(&ladder);
}

void sweep_fixture_make(struct sweep_folder *folder, const char *path)
{
    struct error err = { 0 };
    write_text(path, "sweep.yaml", sweep_text);
    write_text(path, "state/frozen.json", "{\"hash\": \"\", \"folder\": \"/\", \"runs\": [200]}");
    write_text(path, "rungs/README", "");
    CHECK(sweep_folder_find(folder, path, 0, NULL, NULL, &err));
    CHECK(folder->sweep.run_count == SWEEP_FIXTURE_RUNS);
    for (int run = 0; run < SWEEP_FIXTURE_RUNS; run++) {
        FILE *config = create(folder, "configs", run, ".yaml");
        fprintf(config, "name: \"%04d\"\noptimizer:\n  name: adam # größer\n", run);
        CHECK(fclose(config) == 0);
    }
    run_all(folder);
}
