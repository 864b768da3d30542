# Which test runs when. Every test has one of three labels:
#
#   fast      tools/test --fast: less than a minute in all on two cores; each module has its tests here
#   standard  tools/test: these and the fast ones take twelve minutes at most on two cores
#   nightly   tools/test --all: what takes longer, and says little that a shorter test does not say
#
# A row below is a regular expression for the names of tests. A test that fits rows of no label or of two ends the
# configuration: give a new test a row. Only cases without a row are fast. What is without a reason is fast because it
# takes a second or two.
set(fast_tests
    "rooms" # src, include and cuda keep their order
    "container" # the scripts and files of tools/container
    "format" "manual" "completion" # the sources' form; what is made of the commands' option tables
    "fixture" # the cases: each a command that must fail with its message
    "fuzz_(annotation|checkpoint|onnx|pickle|safetensors|zip)" # the seeds of the fuzzers, once
    "test_(annotation|asap_xml|augment|base|checkpoint|config|dataset|evaluate|fingerprint|identity|image|isa|keras3|lock|look)"
    "test_(keras_hdf5|kernels|ladder|loader|manifest|mask|metrics|onnx|op|optimizer|output|pickle|plot|preflight|pretrained)"
    "test_(reference|safetensors|sampler|sandbox|scale|slide|slide_levels|slurm|scaling|survey|sweep|sweep_report|synth|tensorboard|text|tiff_unread|tissue)"
    "test_torch_zip"
    "test_world" # what launchers say
    "test_(training_ops|weights|weights_memory)"
    "test_(backend|export|grid|initial_weights|model|pack|predict)" # the parts of them that are quick
    "test_simulated.*" # the simulated device itself
    "test_cuda_(core|kernels|plans)" # the CUDA backend on it: what only it can be made to do
    "test_planner" # a login node's driver finds no GPU
    "test_nccl" # the real one has what is taken of it
)
set(standard_tests
    "test_(backend|export|grid|initial_weights|lock|model|pack|predict|slide)_long" # the other parts: see `long_parts`
    "test_(bench|evaluate_run|shards|train_step)" # whole networks
    "test_(backend|training_ops|optimizer)_on_.+" # each op on each class of processor that this one can be
    "fuzz_hdf5" # libhdf5 takes long to refuse what is forged, in a process of its own
    "memory_plan" # four trainings
    "rooms_finds" # a build for each violation that `rooms` must find
    # A training or several each, or a whole network on the simulated device.
    "case_(batch_larger_than_epoch|disk_full_while_drawing_a_heatmap|pack_cut_short|pack_damaged_header|pack_missing)"
    "case_(pack_of_an_earlier_version|predict_picture_of_another_size|resume_on_other_data|validation_of_one_class)"
    "case_(evaluate_over_another_evaluation|heatmap_over_the_map_of_another_slide|names_of_any_bytes)"
    "case_(packs_of_edited_slides|resume_at_another_scale|resume_with_changed_keys|slide_copied_into_another_split)"
    "case_(slide_without_scale|output_over_another_file)"
    "case_(slides_of_two_scales|stopped_before_the_first_validation|evaluate_slides_of_the_training)"
    "case_(cuda_gpu_fails_auto|cuda_library_not_there_auto|cuda_not_built_auto|resume_of_a_finished_run)"
    "case_(pack_damaged_pixels|resume_without_the_weights|fused_kernels_refused|export_levels_without_an_integer_ratio)"
    "case_(evaluate_in_another_precision|evaluate_single_input|predict_onnx_says_what_computes)"
    "case_(sweep_(twice_at_once|run_fails_and_is_retried|changed_since|steps_of_failed_runs|stopped_and_gone_on|grows|moved|shares_gpus)|train_print_metric)"
    "case_sweep_slurm(_of_thousands)?"
    "case_(predict_as_evaluate|disk_full_while_writing_a_checkpoint|train_twice_in_one_folder|import_and_train)"
    "case_(requeue|ranks_of_other_processors|stopped_while_opening|train_waits_for_its_last_start)"
    "test_cuda_(failures|memory_plan|step)" # whole networks on the simulated device
    "test_cuda_ranks" # processes that add up through NCCL there, and are lost
    "test_(backend|training_ops|optimizer|model|train_step|predict)_simulated" # each op in two orders of the device's work
    "predict_orders_1" # a slot that is used too early is found in most orders
    "program_simulated" # train, evaluate and heatmap on the simulated device
    "reference" "exactness_(same_seed|sigterm|validation|until_epoch|ranks_torchrun)" # must end in the same bits
    "sweep_report_page" # a browser
    "example_loop" # four trainings
    "mutation_(barrier_removed|beta_dropped|descriptor_leaked|sum_skipped|wait_removed)" # defects that the device finds, one of a kind
    "test_world_ranks" "world_mpirun" # processes that work together, and are lost
    "plan_h100_tf32" # a plan for each convolution; its kernels come with cuDNN
)
set(nightly_tests
    "example_(optuna|mlflow|wandb)" # where the packages of Python are
    "test_backend_long_on_.+"
    "test_shards_simulated" "test_.+_simulated_20_orders" # as many orders as have been of use
    "predict_orders_[23]"
    "test_cuda_ten_steps(_long)?" # 26 passes through the whole network there, and as many in bfloat16
    "faults_simulated" # a training for each call that can fail
    "gpu_check" # tools/gpu-check as a whole
    "case_stale_lock" # it waits for a sign of life
    "world_srun" # ranks on virtual nodes
    "slurm(_sweep)?" # real jobs on virtual nodes, whose time runs out
    "sweep_(3|20)_kills" "exactness_(kills|moved_clock|reader_threads|packs_or_slides|microns|ranks_mpirun|ranks_maps|ranks_simulated)" # the same bits by other ways
    # The other defects.
    "mutation_(barrier_diverges|bounds_unchecked|device_read_on_host|double_free|fence_on_wrong_queue|grid_off_by_one)"
    "mutation_(buckets_swapped|dropout_of_own_rows|exchange_not_awaited|loss_of_own_rows|order_of_arrival)"
    "mutation_(handle_leaked|kernel_on_default_stream|last_vector_whole|not_ready_is_kept|pinned_slot_reused)"
    "mutation_(replay_not_joined|scratch_overlaps|status_unchecked|stride_swapped|ticket_passes_newer_ones)"
    "mutation_(vector_misaligned|workspace_freed_under_recording|workspace_short|workspace_stale)"
    "plan_a100_bf16" # its fused kernels are compiled
    "fuzz" # tools/fuzz, a minute for each reader
)

set(fast_timeout_s 300) # sanitizers take ten times as long
set(standard_timeout_s 1200)
set(nightly_timeout_s 3600)
if(CMAKE_CROSSCOMPILING_EMULATOR) # fifty times
    set(fast_timeout_s 7200)
    set(standard_timeout_s 14400)
endif()

# Programs that run in two parts: test_X, and test_X_long with these of its tests (Criterion's patterns).
set(long_parts
    "test_backend:convolutions_at_*|batch_norms_*|pools_*" # InceptionV3's shapes; the odd ones are quick
    "test_export:an_exported_graph_*|what_is_not_known_*"
    "test_grid:the_walk_is_right_*"
    "test_initial_weights:a_run_goes_on_from_an_export|towers_go_*"
    "test_lock:its_counter_*"
    "test_model:article_*|inference_behind_*|gradients_*|bf16_*|activations_*|a_batch_*|a_fixed_*|a_step_*|keras_150_*|folded_*"
    "test_pack:bytes_do_not_depend_*"
    "test_predict:batches_*|orientations_*"
    "test_slide:blocks_are_openslides_pixels_where_*|a_pixel_does_not_depend_*"
    "test_cuda_ten_steps:in_bfloat16_*"
)

# A test of a Criterion program, or two, in this environment. What follows is a suffix to their names and a command
# that runs the program.
function(add_program_test program environment)
    set(runner ${ARGN})
    list(POP_FRONT runner suffix)
    set(command ${program})
    if(runner)
        set(command ${runner} ${CMAKE_CROSSCOMPILING_EMULATOR} $<TARGET_FILE:${program}>)
    endif()
    set(tests ${program})
    set(filter_${program})
    foreach(row IN LISTS long_parts)
        if(row MATCHES "^${program}:(.*)")
            list(APPEND tests ${program}_long)
            set(filter_${program} --filter "*/!(${CMAKE_MATCH_1})")
            set(filter_${program}_long --filter "*/@(${CMAKE_MATCH_1})")
        endif()
    endforeach()
    foreach(test IN LISTS tests)
        add_test(NAME ${test}${suffix} COMMAND ${command} --jobs 1 ${filter_${test}})
        set_tests_properties(${test}${suffix} PROPERTIES ENVIRONMENT "${environment}" SKIP_RETURN_CODE 77)
    endforeach()
endfunction()

# Give the tests of the current folder their labels.
function(label_tests)
    get_property(tests DIRECTORY PROPERTY TESTS)
    foreach(test IN LISTS tests)
        set(labels)
        foreach(label fast standard nightly)
            foreach(row IN LISTS ${label}_tests)
                if(test MATCHES "^(${row})$")
                    list(APPEND labels ${label})
                endif()
            endforeach()
        endforeach()
        list(REMOVE_DUPLICATES labels)
        if(NOT labels AND test MATCHES "^case_")
            set(labels fast)
        endif()
        list(LENGTH labels count)
        if(NOT count EQUAL 1)
            message(FATAL_ERROR "${test}: rows of ${count} labels in tests/labels.cmake fit it (${labels}); one must")
        endif()
        set_tests_properties(${test} PROPERTIES LABELS ${labels} TIMEOUT ${${labels}_timeout_s})
    endforeach()
endfunction()
