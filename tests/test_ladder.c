/* Halving: who goes on, when, and in which order, against decisions that are worked out by hand. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "micromet/sweep/execute.h"
#include "sweep/ladder.h"
#include "temporary.h"

TestSuite(ladder, .init = temporary_begin, .fini = temporary_end);

static struct sweep_folder make(const char *yaml)
{
    static const char *const parts[] = { "state", "rungs", "runs" };
    struct sweep_folder folder = { 0 };
    struct error err = { 0 };
    snprintf(folder.path, sizeof folder.path, "%s", temporary_folder);
    cr_assert(sweep_parse(&folder.sweep, yaml, strlen(yaml), "s.yaml", "/sweeps", &err), "%s",
              err.message);
    for (int i = 0; i < 3; i++) cr_assert(folder_create(temporary_path(parts[i]), &err));
    return folder;
}

/* The run has been trained so far, and had this metric all the way; NaN: it failed then. */
static void end(const struct sweep_folder *folder, int run, int epochs, double score)
{
    char path[PATH_MAX_BYTES];
    struct error err = { 0 };
    const struct sweep_outcome outcome = { .state = isnan(score) ? SWEEP_FAILED : SWEEP_DONE,
                                           .epochs = epochs,
                                           .score = score };
    cr_assert(sweep_outcome_write(folder, run, &outcome, &err), "%s", err.message);
    cr_assert(sweep_folder_path(folder, "runs", run, "", path, &err) && folder_create(path, &err));
    cr_assert(sweep_folder_path(folder, "runs", run, "/metrics.jsonl", path, &err));
    FILE *stream = fopen(path, "a");
    if (!isnan(score))
        fprintf(stream, "{\"kind\":\"validation\",\"epoch\":%d,\"auc\":%.9g,\"step\":%d}\n", epochs,
                score, 10 * epochs);
    fclose(stream);
}

/* A process that has just begun decides what is due; `expected` are the runs on the rung, in the
 * order in which they came. */
static void expect_rung(const struct sweep_folder *folder, int rung, const char *expected)
{
    struct ladder ladder;
    struct error err = { 0 };
    char members[256] = "";
    cr_assert(ladder_init(&ladder, folder, &err) && ladder_decide(&ladder, ladder.rung_count, &err),
              "%s", err.message);
    for (int i = 0; i < ladder.rungs[rung].count; i++)
        snprintf(members + strlen(members), sizeof members - strlen(members), "%s%d", i ? " " : "",
                 ladder.rungs[rung].members[i]);
    cr_expect_str_eq(members, expected, "rung %d: got '%s', expected '%s'", rung, members,
                     expected);
    ladder_release(&ladder);
}

static char *decision(const char *name)
{
    size_t size;
    return (char *)temporary_read(name, &size);
}

Test(ladder, a_rung_is_decided_once_all_its_runs_have_ended)
{
    struct sweep_folder folder = make("base: b.yaml\ngrid: {train.batch: [1, 2, 3, 4, 5, 6, 7]}\n"
                                      "halving: {min_epochs: 1, max_epochs: 9, factor: 3}\n");
    const double scores[] = { 0.5, 0.9, NAN, 0.7, 0.9, 0.6, 0.8 };
    for (int run = 6; run > 0; run--) end(&folder, run, 1, scores[run]);
    expect_rung(&folder, 1, "");
    end(&folder, 0, 1, scores[0]);
    expect_rung(&folder, 1, "1 4"); /* of equal ones the first; two of seven */
    char *text = decision("rungs/0.json");
    cr_expect(strstr(text, "[[1, 0.9], [4, 0.9], [6, 0.8], [3, 0.7], [5, 0.6], [0, 0.5], "
                           "[2, null]]"),
              "%s", text);
    free(text);
    end(&folder, 6, 1, 0.99); /* too late */
    expect_rung(&folder, 1, "1 4");
    expect_rung(&folder, 2, "");
    end(&folder, 1, 3, 0.91);
    end(&folder, 4, 3, 0.92);
    expect_rung(&folder, 2, "4"); /* at least one */
    sweep_release(&folder.sweep);
}

Test(ladder, less_is_better_where_the_goal_says_so)
{
    struct sweep_folder folder = make("base: b.yaml\ngrid: {train.batch: [1, 2, 3, 4]}\n"
                                      "metric: {goal: minimize}\n"
                                      "halving: {min_epochs: 1, max_epochs: 2, factor: 2}\n");
    const double scores[] = { 0.5, 0.2, 0.3, 0.4 };
    for (int run = 0; run < 4; run++) end(&folder, run, 1, scores[run]);
    expect_rung(&folder, 1, "1 2");
    sweep_release(&folder.sweep);
}

Test(ladder, repetitions_are_compared_by_their_mean)
{
    struct sweep_folder folder = make("base: b.yaml\ngrid: {train.batch: [1, 2, 3, 4]}\n"
                                      "repeat: {seed: [1, 2]}\n"
                                      "halving: {min_epochs: 1, max_epochs: 2, factor: 2}\n");
    /* The best single run is of batch 1; of batch 3 a run failed. */
    const double scores[] = { 0.95, 0.1, 0.6, 0.7, NAN, 0.9, 0.5, 0.6 };
    for (int run = 0; run < 8; run++) end(&folder, run, 1, scores[run]);
    expect_rung(&folder, 1, "2 3 6 7");
    char *text = decision("rungs/0.json");
    cr_expect(strstr(text, "[[2, 0.65], [6, 0.55], [0, 0.525], [4, 0.9]]"), "%s", text);
    free(text);
    sweep_release(&folder.sweep);
}

Test(ladder, of_a_configuration_that_goes_on_only_the_good_runs_do)
{
    struct sweep_folder folder = make("base: b.yaml\ngrid: {train.batch: [1, 2]}\n"
                                      "repeat: {seed: [1, 2]}\n"
                                      "halving: {min_epochs: 1, max_epochs: 2, factor: 2}\n");
    const double scores[] = { NAN, NAN, NAN, 0.6 };
    for (int run = 0; run < 4; run++) end(&folder, run, 1, scores[run]);
    expect_rung(&folder, 1, "3");
    sweep_release(&folder.sweep);
}

static const char asynchronous[] =
    "base: b.yaml\ngrid: {train.batch: [1, 2, 3, 4, 5, 6]}\n"
    "halving: {min_epochs: 1, max_epochs: 9, factor: 3, asynchronous: true}\n";

Test(ladder, asynchronous_halving_promotes_the_best_third_so_far)
{
    struct sweep_folder folder = make(asynchronous);
    end(&folder, 0, 1, 0.5);
    end(&folder, 1, 1, 0.6);
    expect_rung(&folder, 1, ""); /* a third of two is none */
    end(&folder, 2, 1, 0.7);
    expect_rung(&folder, 1, "2");
    end(&folder, 3, 1, 0.9);
    expect_rung(&folder, 1, "2 3"); /* the best of four, though one has gone */
    char *first = decision("rungs/0.json");
    end(&folder, 2, 3, 0.2); /* what it has later does not count on rung 0 */
    end(&folder, 4, 1, 0.65);
    expect_rung(&folder, 1, "2 3");
    expect_rung(&folder, 2, "");
    end(&folder, 5, 1, 0.68);
    expect_rung(&folder, 1, "2 3"); /* the best two of six are 0.9 and 0.7 */
    end(&folder, 3, 3, 0.4);
    expect_rung(&folder, 2, "3"); /* no more will come to rung 1: its best goes on */
    char *later = decision("rungs/0.json");
    cr_expect_str_eq(first, later);
    free(first);
    free(later);
    sweep_release(&folder.sweep);
}

Test(ladder, asynchronous_halving_depends_on_who_came_first)
{
    struct sweep_folder folder = make(asynchronous);
    const double scores[] = { 0.5, 0.6, 0.7, 0.9, 0.65, 0.68 };
    for (int run = 5; run >= 0; run--) end(&folder, run, 1, scores[run]);
    expect_rung(&folder, 1, "2 3"); /* all at once: one decision, in ascending order */
    cr_expect_not(file_exists(temporary_path("rungs/0.1.json")));
    temporary_end();
    temporary_begin();
    sweep_release(&folder.sweep);
    folder = make(asynchronous);
    for (int run = 0; run < 3; run++) end(&folder, run, 1, scores[2 - run] - 0.2);
    expect_rung(&folder, 1, "0");
    for (int run = 3; run < 6; run++) end(&folder, run, 1, scores[run]);
    expect_rung(&folder, 1, "0 3 5");
    cr_expect(file_exists(temporary_path("rungs/0.1.json")));
    sweep_release(&folder.sweep);
}

Test(ladder, a_run_that_fails_on_a_later_rung_keeps_its_place_on_the_first)
{
    struct sweep_folder folder = make(asynchronous);
    end(&folder, 0, 1, 0.9);
    end(&folder, 1, 1, 0.6);
    end(&folder, 2, 1, 0.7);
    expect_rung(&folder, 1, "0");
    end(&folder, 0, 3, NAN);
    end(&folder, 3, 1, NAN);
    end(&folder, 4, 1, 0.8);
    expect_rung(&folder, 1, "0"); /* five: a third is one, and that is still run 0 */
    end(&folder, 5, 1, 0.1);
    expect_rung(&folder, 1, "0 4");
    end(&folder, 4, 3, 0.8);
    expect_rung(&folder, 2, "4");
    sweep_release(&folder.sweep);
}

Test(ladder, added_runs_are_decided_behind_the_others)
{
    static const char text[] = "base: b.yaml\ngrid: {train.batch: [%s]}\n"
                               "halving: {min_epochs: 1, max_epochs: 2, factor: 2}\n";
    char few[256], many[256];
    struct error err = { 0 };
    snprintf(few, sizeof few, text, "1, 2, 3, 4");
    snprintf(many, sizeof many, text, "5, 1, 2, 3, 4, 6");
    const double scores[] = { 0.5, 0.6, 0.7, 0.8, 0.75, 0.1 };
    for (int early = 0; early < 2; early++) { /* whether they are added before the first decision */
        struct sweep_folder folder = make(few);
        for (int run = 0; run < 4; run++) end(&folder, run, 1, scores[run]);
        if (!early) expect_rung(&folder, 1, "2 3");
        cr_assert(sweep_extend(&folder.sweep, few, strlen(few), many, strlen(many), "s.yaml",
                               "/sweeps", &err),
                  "%s", err.message);
        cr_assert_eq(folder.sweep.run_count, 6);
        if (early) end(&folder, 5, 1, scores[5]);
        expect_rung(&folder, 1, "2 3");
        end(&folder, 2, 2, 0.1);
        end(&folder, 4, 1, scores[4]);
        end(&folder, 5, 1, scores[5]);
        expect_rung(&folder, 1, "2 3 4"); /* three of six: 0.8, 0.75, 0.7 */
        sweep_release(&folder.sweep);
        temporary_end();
        temporary_begin();
    }
}

struct seen {
    struct sweep_line lines[16];
};

static void keep(void *context, const struct sweep_folder *folder, const struct sweep_line *line)
{
    struct seen *seen = context;
    (void)folder;
    seen->lines[line->run] = *line;
}

static void expect_states(const struct sweep_folder *folder, struct seen *seen,
                          struct sweep_summary *summary, const char *expected)
{
    struct error err = { 0 };
    char states[256] = "";
    cr_assert(sweep_survey(folder, keep, seen, summary, &err), "%s", err.message);
    for (int run = 0; run < folder->sweep.run_count; run++)
        snprintf(states + strlen(states), sizeof states - strlen(states), "%s%s", run ? " " : "",
                 seen->lines[run].state);
    cr_expect_str_eq(states, expected, "got '%s', expected '%s'", states, expected);
}

Test(ladder, the_state_of_each_run_and_the_means_are_told)
{
    struct sweep_folder folder = make("base: b.yaml\ngrid: {train.batch: [1, 2, 3]}\n"
                                      "repeat: {seed: [1, 2]}\n"
                                      "halving: {min_epochs: 1, max_epochs: 2, factor: 3}\n");
    struct seen seen;
    struct sweep_summary summary;
    const double scores[] = { 0.5, 0.7, 0.9, NAN, 0.8, 0.6 };
    expect_states(&folder, &seen, &summary, "pending pending pending pending pending pending");
    cr_expect_eq(summary.best, -1);
    for (int run = 0; run < 5; run++) end(&folder, run, 1, scores[run]);
    expect_states(&folder, &seen, &summary, "waiting waiting waiting failed waiting pending");
    cr_expect_eq(summary.waiting, 4);
    cr_expect_eq(summary.best_mean.configuration, 0); /* the only one of which no run is missing */
    end(&folder, 5, 1, scores[5]);
    expect_rung(&folder, 1, "4 5");
    expect_states(&folder, &seen, &summary, "halted halted halted failed pending pending");
    end(&folder, 4, 2, 0.85);
    end(&folder, 5, 2, 0.65);
    expect_states(&folder, &seen, &summary, "halted halted halted failed done done");
    cr_expect_eq(summary.done, 5);
    cr_expect_eq(summary.halted, 3);
    cr_expect_eq(summary.failed, 1);
    cr_expect_eq(summary.best, 4);
    cr_expect_float_eq(summary.best_mean.mean, 0.75, 1e-12);
    cr_expect_float_eq(summary.best_mean.deviation, 0.2 / sqrt(2), 1e-12);
    cr_expect_float_eq(seen.lines[1].mean.mean, 0.6, 1e-12);
    cr_expect_float_eq(seen.lines[2].mean.mean, 0.9, 1e-12);
    cr_expect(isnan(seen.lines[2].mean.deviation));
    cr_expect_eq(seen.lines[3].mean.failed, 1);
    sweep_release(&folder.sweep);
}

static void write_text(const char *name, const char *text)
{
    temporary_write(name, text, strlen(text));
}

Test(ladder, steps_and_time_are_those_of_all_rungs)
{
    struct sweep_folder folder = make("base: b.yaml\ngrid: {seed: [1, 2, 3, 4]}\n"
                                      "halving: {min_epochs: 1, max_epochs: 4, factor: 2}\n");
    static const char config[] = "train: {batch: 2, epochs: 4, examples_per_epoch: 8}\n";
    static const char *const names[] = { "configs/0000.yaml", "configs/0001.yaml",
                                         "configs/0002.yaml", "configs/0003.yaml" };
    const struct sweep_outcome done = { .state = SWEEP_DONE, .epochs = 1, .score = 0.5 };
    struct sweep_progress progress;
    struct lock_file lock;
    struct lock_holder holder;
    enum lock_state state;
    struct error err = { 0 };
    cr_assert(folder_create(temporary_path("configs"), &err));
    for (int run = 0; run < 4; run++) write_text(names[run], config);
    folder.made_runs = 4;
    cr_assert(sweep_measure(&folder, &progress, &err), "%s", err.message);
    cr_expect_eq(progress.taken, 0);
    cr_expect_eq(progress.expected, 4 * (4 * 1 + 2 * 1 + 1 * 2)); /* an epoch has four steps */
    cr_expect(isnan(progress.seconds_left));

    cr_assert(folder_create(temporary_path("runs/0000"), &err) &&
              folder_create(temporary_path("runs/0001"), &err));
    cr_assert(sweep_outcome_write(&folder, 0, &done, &err));
    write_text("runs/0000/metrics.jsonl", "{\"kind\":\"train\",\"step\":3,\"windows_per_s\":99}\n"
                                          "{\"kind\":\"validation\",\"step\":4,\"epoch\":1}\n");
    write_text("runs/0001/metrics.jsonl",
               "{\"kind\":\"train\",\"step\":1,\"windows_per_s\":7}\n"
               "{\"kind\":\"train\",\"step\":2,\"windows_per_s\":10}\n{\"kind\":\"tra");
    cr_assert(lock_file_take(&lock, temporary_path("state/0001.lock"), &state, &holder, &err));
    cr_assert(sweep_measure(&folder, &progress, &err), "%s", err.message);
    cr_expect_eq(progress.taken, 6);
    cr_expect_eq(progress.expected, 32);
    cr_expect_float_eq(progress.seconds_left, 26 / 5.0, 1e-9); /* five steps a second */
    lock_file_release(&lock);
    sweep_release(&folder.sweep);
}

Test(ladder, a_decision_that_cannot_be_one_is_told)
{
    struct sweep_folder folder = make("base: b.yaml\ngrid: {train.batch: [1, 2, 3, 4]}\n"
                                      "halving: {min_epochs: 1, max_epochs: 2, factor: 2}\n");
    static const char *const texts[] = { "",
                                         "{}",
                                         "{\"promoted\": [4]}",
                                         "{\"promoted\": [1, 1]}",
                                         "{\"promoted\": [-1]}",
                                         "{\"promoted\": 1}" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct ladder ladder;
        struct error err = { 0 };
        temporary_write("rungs/0.json", texts[i], strlen(texts[i]));
        cr_assert(ladder_init(&ladder, &folder, &err));
        cr_expect_not(ladder_read(&ladder, &err), "accepted: %s", texts[i]);
        cr_expect(strstr(err.message, "rungs/0.json: is no decision of a rung"), "%s", err.message);
        ladder_release(&ladder);
    }
    sweep_release(&folder.sweep);
}
