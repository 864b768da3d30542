/* Keras 3: real files written by tests/fuzz/make_corpus.py; their values count up from 0 in the
 * order of model.variables. */
#include "micromet/base/size.h"
#include "micromet/format/weights.h"
#include "temporary.h"
#include "weights_corpus.h"

/* Saved as conv2d, batch_normalization, conv2d_1, …; named conv2d_2,
 * batch_normalization, conv2d_10 … */
static const struct expected_array model[] = {
    { "batch_normalization/beta:0", "F32", { 2 }, { 4, 5 } },
    { "batch_normalization/moving_mean:0", "F32", { 2 }, { 6, 7 } },
    { "batch_normalization/moving_variance:0", "F32", { 2 }, { 8, 9 } },
    { "batch_normalization_1/gamma:0", "F32", { 1 }, { 13 } },
    { "batch_normalization_1/beta:0", "F32", { 1 }, { 14 } },
    { "batch_normalization_1/moving_mean:0", "F32", { 1 }, { 15 } },
    { "batch_normalization_1/moving_variance:0", "F32", { 1 }, { 16 } },
    { "conv2d_2/kernel:0", "F32", { 1, 1, 2, 2 }, { 0, 1, 2, 3 } },
    { "conv2d_10/kernel:0", "F32", { 1, 1, 2, 1 }, { 10, 11 } },
    { "conv2d_10/bias:0", "F32", { 1 }, { 12 } },
    { "dense/kernel:0", "F32", { 1, 1 }, { 17 } },
    { "dense/bias:0", "F32", { 1 }, { 18 } },
};
enum { MODEL = COUNT_OF(model) };

TestSuite(keras3, .init = temporary_begin, .fini = temporary_end);

Test(keras3, weights_are_named_after_layers_not_after_groups)
{
    expect_weights("hdf5/keras3.weights.h5", WEIGHTS_KERAS3_HDF5, model, MODEL);
}

Test(keras3, archives_read_alike)
{
    expect_weights("zip/model.keras", WEIGHTS_KERAS_ZIP, model, MODEL);
}

Test(keras3, config_json_names_the_layers_of_deflated_archives_from_before_3_6)
{
    expect_weights("zip/before_3_6.keras", WEIGHTS_KERAS_ZIP, model, MODEL);
}

Test(keras3, weights_alone_from_before_3_6_are_refused)
{
    expect_corpus_refusal("hdf5/keras3_before_3_6.weights.h5",
                          "'layers/batch_normalization': the file lacks the layer's name");
}

Test(keras3, nested_models_are_read)
{
    struct error err = { 0 };
    struct weights weights;
    cr_assert(weights_read(&weights, corpus_path("hdf5/keras3_nested.weights.h5"), &err), "%s",
              err.message);
    cr_assert_eq(weights.count, 2 * MODEL);
    cr_assert(weights_find(&weights, "a_conv2d_10/bias:0"));
    cr_assert(weights_find(&weights, "b_conv2d_10/bias:0"));
    weights_release(&weights);
}

Test(keras3, halves_and_packed_values_become_float32)
{
    static const struct expected_array arrays[] = {
        { "conv2d_1/kernel:0", "F32", { 1, 1, 2, 2 }, { 0, 1, 2, 3 } },
        { "batch_normalization_1/beta:0", "F32", { 2 }, { 4, 5 } },
        { "batch_normalization_1/moving_mean:0", "F32", { 2 }, { 6, 7 } },
    };
    expect_weights("hdf5/keras2.h5", WEIGHTS_KERAS2_HDF5, arrays, 3);
}

Test(keras3, archive_without_weights_is_refused)
{
    struct forged_zip zip = { 0 };
    forged_zip_add(&zip, "config.json", "{}", 2);
    expect_forged_refusal(&zip, "has no model.weights.h5");
}

Test(keras3, archived_weights_that_are_not_hdf5_are_refused)
{
    struct forged_zip zip = { 0 };
    forged_zip_add(&zip, "model.weights.h5", "not HDF5", 8);
    expect_forged_refusal(&zip, "HDF5 file is cut short or damaged");
}
