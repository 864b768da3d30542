/* Tests of the simulated device itself: correct programs give correct results in every order, wrong
 * ones give wrong results in some order or end with a report. */
#include <criterion/criterion.h>
#include <initializer_list>
#include <string.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

#include "launch.h"
#include "simulated_control.h"

enum { COUNT = 1000, BYTES = COUNT * sizeof(float), SEEDS = 20 };

static void expect_ok(cudaError_t status)
{
    cr_assert_eq(status, cudaSuccess, "%s", cudaGetErrorName(status));
}

/* Whether `wrong` ends its process with a report that contains `text`. */
static bool reported(void (*wrong)(), const char *text)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        wrong();
        _exit(0);
    }
    close(ends[1]);
    std::string report;
    char part[512];
    for (ssize_t got; (got = read(ends[0], part, sizeof part)) > 0;)
        report.append(part, (size_t)got);
    close(ends[0]);
    int status;
    waitpid(child, &status, 0);
    const bool found = report.find(text) != std::string::npos;
    if (!found) fprintf(stderr, "'%s' is not in: %s\n", text, report.c_str());
    return found && !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

struct rig { /* two streams, an event, a device buffer and a pinned one */
    cudaStream_t a, b;
    cudaEvent_t event;
    float *device, *host;

    rig()
    {
        expect_ok(cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking));
        expect_ok(cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking));
        expect_ok(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
        expect_ok(cudaMalloc((void **)&device, BYTES));
        expect_ok(cudaHostAlloc((void **)&host, BYTES, cudaHostAllocDefault));
    }

    ~rig()
    {
        cudaFreeHost(host);
        cudaFree(device);
        cudaEventDestroy(event);
        cudaStreamDestroy(b);
        cudaStreamDestroy(a);
    }
};

__global__ static void fill(float *to, int count, float value)
{
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < count) to[i] = value;
}

__global__ static void add(float *to, int count, float value)
{
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < count) to[i] += value;
}

/* --- Kernels --- */

__device__ static float warp_sum(float value)
{
    for (int lanes = 16; lanes > 0; lanes /= 2) value += __shfl_xor_sync(0xffffffff, value, lanes);
    return value;
}

template <int THREADS> __global__ void block_sums(const float *x, float *sums)
{
    __shared__ float of_warps[THREADS / 32];
    const int thread = (int)threadIdx.x;
    const float sum = warp_sum(x[blockIdx.x * THREADS + threadIdx.x]);
    if (thread % 32 == 0) of_warps[thread / 32] = sum;
    __syncthreads();
    if (thread < 32) {
        const float all = warp_sum(thread < THREADS / 32 ? of_warps[thread] : 0);
        if (thread == 0) sums[blockIdx.x] = all;
    }
}

Test(simulated, barriers_and_shuffles_give_right_sums)
{
    enum { THREADS = 256, BLOCKS = 40 };
    float x[BLOCKS * THREADS], sums[BLOCKS], *device;
    for (int i = 0; i < BLOCKS * THREADS; i++) x[i] = (float)(i % 97);
    expect_ok(cudaMalloc((void **)&device, sizeof x + sizeof sums));
    for (int seed = 0; seed < SEEDS; seed++) {
        simulated_seed((uint64_t)seed);
        expect_ok(cudaMemcpy(device, x, sizeof x, cudaMemcpyHostToDevice));
        CUDA_LAUNCH(block_sums<THREADS>, BLOCKS, THREADS, nullptr, device,
                    device + BLOCKS * THREADS);
        expect_ok(cudaGetLastError());
        expect_ok(cudaMemcpy(sums, device + BLOCKS * THREADS, sizeof sums, cudaMemcpyDeviceToHost));
        for (int b = 0; b < BLOCKS; b++) {
            float expected = 0;
            for (int i = 0; i < THREADS; i++) expected += x[b * THREADS + i];
            cr_assert_eq(sums[b], expected, "seed %d, block %d", seed, b);
        }
    }
    expect_ok(cudaFree(device));
}

__global__ static void warp_operations(unsigned *out)
{
    const unsigned lane = threadIdx.x % 32;
    unsigned *of_thread = out + 6 * threadIdx.x;
    of_thread[0] = __ballot_sync(0xffffffff, lane % 3 == 0);
    of_thread[1] = __shfl_down_sync(0xffffffff, lane, 5);
    of_thread[2] = __shfl_up_sync(0xffffffff, lane, 5);
    of_thread[3] = (unsigned)__shfl_sync(0xffffffff, (double)lane, 3, 8);
    if (lane < 7) of_thread[4] = (unsigned)__any_sync(0x7f, lane == 6);
    atomicAdd(&of_thread[5], 1);
    atomicMax(out + 6 * blockDim.x, threadIdx.x);
}

Test(simulated, warp_operations_are_cuda_s)
{
    enum { THREADS = 64 };
    unsigned *device, out[6 * THREADS + 1];
    expect_ok(cudaMalloc((void **)&device, sizeof out));
    expect_ok(cudaMemset(device, 0, sizeof out));
    CUDA_LAUNCH(warp_operations, 1, THREADS, nullptr, device);
    expect_ok(cudaMemcpy(out, device, sizeof out, cudaMemcpyDeviceToHost));
    for (unsigned t = 0; t < THREADS; t++) {
        const unsigned lane = t % 32, *of_thread = out + 6 * t;
        cr_expect_eq(of_thread[0], 0x49249249);
        cr_expect_eq(of_thread[1], lane + 5 < 32 ? lane + 5 : lane);
        cr_expect_eq(of_thread[2], lane >= 5 ? lane - 5 : lane);
        cr_expect_eq(of_thread[3], lane / 8 * 8 + 3);
        cr_expect_eq(of_thread[4], lane < 7);
        cr_expect_eq(of_thread[5], 1);
    }
    cr_expect_eq(out[6 * THREADS], THREADS - 1);
    expect_ok(cudaFree(device));
}

template <bool BARRIER> __global__ void reverse(int *out)
{
    __shared__ int values[64];
    values[threadIdx.x] = (int)threadIdx.x;
    if (BARRIER) __syncthreads();
    out[threadIdx.x] = values[63 - threadIdx.x];
}

static int reversals_gone_wrong(void (*kernel)(int *))
{
    int wrong = 0, *device, out[64];
    expect_ok(cudaMalloc((void **)&device, sizeof out));
    for (int seed = 0; seed < SEEDS; seed++) {
        simulated_seed((uint64_t)seed);
        CUDA_LAUNCH(kernel, 1, 64, nullptr, device);
        expect_ok(cudaMemcpy(out, device, sizeof out, cudaMemcpyDeviceToHost));
        bool right = true;
        for (int i = 0; i < 64; i++) right = right && out[i] == 63 - i;
        wrong += !right;
    }
    expect_ok(cudaFree(device));
    return wrong;
}

Test(simulated, a_missing_barrier_shows)
{
    cr_expect_eq(reversals_gone_wrong(reverse<true>), 0);
    cr_expect_gt(reversals_gone_wrong(reverse<false>), 0);
}

#ifndef __SANITIZE_ADDRESS__
template <int COUNT> __global__ void read_unwritten(float *out)
{
    __shared__ float values[COUNT];
    out[threadIdx.x] = values[threadIdx.x];
    values[threadIdx.x] = 1;
}

Test(simulated, fresh_shared_memory_is_nan)
{
    float *device, out[64];
    expect_ok(cudaMalloc((void **)&device, sizeof out));
    for (int round = 0; round < 2; round++) {
        CUDA_LAUNCH(read_unwritten<64>, 1, 64, nullptr, device);
        expect_ok(cudaMemcpy(out, device, sizeof out, cudaMemcpyDeviceToHost));
        for (int i = 0; i < 64; i++) cr_assert(out[i] != out[i]);
    }
    expect_ok(cudaFree(device));
}
#endif

template <int CASE> __global__ void diverges(int *)
{
    if (CASE == 0 && threadIdx.x == 5) return;
    if (CASE == 1 && threadIdx.x == 5) {
        __syncthreads();
        return;
    }
    if (CASE == 2 && threadIdx.x % 32 == 5) return;
    if (CASE == 2) __shfl_sync(0xffffffff, 1, 5);
    __syncthreads();
}

template <int CASE> static void launch_diverging()
{
    CUDA_LAUNCH(diverges<CASE>, 2, 64, nullptr, nullptr);
    cudaDeviceSynchronize();
}

Test(simulated, divergent_barriers_are_reported)
{
    cr_expect(reported(launch_diverging<0>, "divergent threads"));
    cr_expect(reported(launch_diverging<1>, "divergent threads"));
    cr_expect(reported(launch_diverging<2>, "takes no part"));
    cr_expect(reported(launch_diverging<0>, "test_simulated.cpp:"));
}

/* --- Memory --- */

static float *device_floats(int count)
{
    float *device = nullptr;
    cudaMalloc((void **)&device, (size_t)count * sizeof *device);
    return device;
}

static void read_on_host()
{
    const volatile float *device = device_floats(COUNT);
    (void)device[7];
}

static void write_on_host_after_use()
{
    volatile float *device = device_floats(COUNT);
    cudaMemset((void *)device, 0, BYTES);
    cudaDeviceSynchronize();
    device[7] = 1;
}

Test(simulated, a_touch_by_the_host_is_reported)
{
    cr_expect(reported(read_on_host, "host touched device memory"));
    cr_expect(reported(write_on_host_after_use, "byte 28 of allocation 1 (4000 bytes)"));
}

template <int ALLOCATED, int FROM> static void fill_from()
{
    float *device = device_floats(ALLOCATED);
    CUDA_LAUNCH(fill, 1, 1, nullptr, device + FROM, 1, 0.5f);
    cudaDeviceSynchronize();
}

static void fill_freed()
{
    float *device = device_floats(COUNT);
    cudaFree(device);
    CUDA_LAUNCH(fill, 1, 1, nullptr, device, 1, 0.5f);
    cudaDeviceSynchronize();
}

static void free_twice()
{
    float *device = device_floats(COUNT);
    cudaFree(device);
    cudaFree(device);
}

Test(simulated, accesses_out_of_bounds_are_reported)
{
#ifdef __SANITIZE_ADDRESS__
    const char *behind = "use-after-poison", *before = behind;
#else
    const char *behind = "just behind allocation 1", *before = "just before allocation 1";
#endif
    cr_expect(reported(fill_from<100, 100>, behind));
    cr_expect(reported(fill_from<100, -1>, before));
    cr_expect(reported(fill_from<128, 128>, "access out of bounds: byte 512 of allocation 1"));
    cr_expect(reported(fill_from<1024, -1>, "access out of bounds: byte -4 of allocation 1"));
    cr_expect(reported(fill_from<100, 1000000>, "access out of bounds"));
    cr_expect(reported(fill_freed, "access after free"));
    cr_expect(reported(fill_freed, "; in fill, block (0, 0, 0), thread (0, 0, 0)"));
    cr_expect(reported(free_twice, "freed before"));
}

Test(simulated, fresh_memory_is_nan)
{
    rig r;
    expect_ok(cudaMemcpy(r.host, r.device, BYTES, cudaMemcpyDeviceToHost));
    for (int i = 0; i < COUNT; i++) cr_assert(r.host[i] != r.host[i]);
}

Test(simulated, memory_runs_out)
{
    void *p, *q;
    simulated_memory_limit(1 << 20);
    expect_ok(cudaMalloc(&p, 1 << 19));
    cr_expect_eq(cudaMalloc(&q, (1 << 19) + 1), cudaErrorMemoryAllocation);
    cr_expect_eq(cudaGetLastError(), cudaErrorMemoryAllocation);
    cr_expect_eq(cudaGetLastError(), cudaSuccess);
    size_t free_bytes, total_bytes;
    expect_ok(cudaMemGetInfo(&free_bytes, &total_bytes));
    cr_expect_eq(free_bytes, 1 << 19);
    cr_expect_eq(simulated_memory_taken(), 1 << 19);
    expect_ok(cudaFree(p));
    expect_ok(cudaMalloc(&q, 1 << 20));
    expect_ok(cudaFree(q));
}

/* --- Order --- */

/* Fill on one stream, copy back on the other; returns how often the result is wrong. */
static int copies_gone_wrong(bool wait)
{
    int wrong = 0;
    rig r;
    for (int seed = 0; seed < SEEDS; seed++) {
        simulated_seed((uint64_t)seed);
        const float value = (float)seed + 1;
        CUDA_LAUNCH(fill, (COUNT + 127) / 128, 128, r.a, r.device, (int)COUNT, value);
        expect_ok(cudaGetLastError());
        expect_ok(cudaEventRecord(r.event, r.a));
        if (wait) expect_ok(cudaStreamWaitEvent(r.b, r.event, 0));
        expect_ok(cudaMemcpyAsync(r.host, r.device, BYTES, cudaMemcpyDefault, r.b));
        expect_ok(cudaStreamSynchronize(r.b));
        wrong += r.host[COUNT - 1] != value;
        expect_ok(cudaDeviceSynchronize());
    }
    return wrong;
}

Test(simulated, a_missing_wait_shows_in_some_order)
{
    cr_expect_gt(copies_gone_wrong(false), 0);
    cr_expect_eq(copies_gone_wrong(true), 0);
}

Test(simulated, a_wait_is_for_the_newest_record_so_far)
{
    for (int seed = 0; seed < SEEDS; seed++) {
        simulated_seed((uint64_t)seed);
        rig r;
        expect_ok(cudaStreamWaitEvent(r.b, r.event, 0)); /* never recorded: nothing to wait for */
        expect_ok(cudaStreamSynchronize(r.b));
        expect_ok(cudaEventQuery(r.event));
        CUDA_LAUNCH(fill, 8, 128, r.a, r.device, (int)COUNT, 1.0f);
        expect_ok(cudaEventRecord(r.event, r.a));
        expect_ok(cudaStreamWaitEvent(r.b, r.event, 0));
        CUDA_LAUNCH(add, 8, 128, r.b, r.device, (int)COUNT, 1.0f);
        expect_ok(cudaEventRecord(r.event, r.b)); /* does not change what r.b waits for */
        expect_ok(cudaEventSynchronize(r.event));
        expect_ok(cudaMemcpyAsync(r.host, r.device, BYTES, cudaMemcpyDeviceToHost, r.a));
        expect_ok(cudaStreamSynchronize(r.a));
        cr_assert_eq(r.host[0], 2);
    }
}

Test(simulated, a_pinned_buffer_that_is_reused_too_early_shows)
{
    simulated_seed(0); /* not a seed that runs work early */
    rig r;
    float back[COUNT];
    for (int i = 0; i < COUNT; i++) r.host[i] = 1;
    expect_ok(cudaMemcpyAsync(r.device, r.host, BYTES, cudaMemcpyHostToDevice, r.a));
    r.host[3] = 2;
    expect_ok(cudaMemcpyAsync(back, r.device, BYTES, cudaMemcpyDeviceToHost, r.a));
    cr_expect_eq(back[3], 2);
    expect_ok(cudaMemcpyAsync(r.device, back, BYTES, cudaMemcpyHostToDevice, r.a));
    back[3] = 5; /* too late: pageable memory has been read already */
    expect_ok(cudaMemcpyAsync(r.host, r.device, BYTES, cudaMemcpyDeviceToHost, r.a));
    expect_ok(cudaStreamSynchronize(r.a));
    cr_expect_eq(r.host[3], 2);
}

Test(simulated, host_functions_run_in_order_and_may_call_nothing)
{
    rig r;
    static cudaError_t status = cudaSuccess;
    static float seen;
    r.host[0] = 0;
    CUDA_LAUNCH(fill, 8, 128, r.a, r.device, (int)COUNT, 3.0f);
    expect_ok(cudaMemcpyAsync(r.host, r.device, BYTES, cudaMemcpyDeviceToHost, r.a));
    const auto look = [](void *host) {
        seen = *(float *)host;
        status = cudaDeviceSynchronize();
    };
    expect_ok(cudaLaunchHostFunc(r.a, look, r.host));
    expect_ok(cudaStreamSynchronize(r.a));
    cr_expect_eq(seen, 3);
    cr_expect_eq(status, cudaErrorNotPermitted);
}

/* --- Graphs --- */

Test(simulated, a_graph_of_two_streams_replays)
{
    rig r;
    cudaEvent_t joined, mark, start;
    cudaGraph_t graph;
    cudaGraphExec_t executable;
    float *other = device_floats(COUNT), ms;
    expect_ok(cudaEventCreateWithFlags(&joined, cudaEventDisableTiming));
    expect_ok(cudaEventCreate(&mark));
    expect_ok(cudaEventCreate(&start));
    expect_ok(cudaStreamBeginCapture(r.a, cudaStreamCaptureModeGlobal));
    expect_ok(cudaMemsetAsync(r.device, 0, BYTES, r.a));
    expect_ok(cudaEventRecord(r.event, r.a));
    expect_ok(cudaStreamWaitEvent(r.b, r.event, 0));
    cudaStreamCaptureStatus status;
    expect_ok(cudaStreamIsCapturing(r.b, &status));
    cr_expect_eq(status, cudaStreamCaptureStatusActive);
    CUDA_LAUNCH(fill, 8, 128, r.b, other, (int)COUNT, 2.0f);
    expect_ok(cudaEventRecord(joined, r.b));
    CUDA_LAUNCH(add, 8, 128, r.a, r.device, (int)COUNT, 5.0f);
    expect_ok(cudaStreamWaitEvent(r.a, joined, 0));
    expect_ok(cudaMemcpyAsync(r.host, other, BYTES / 2, cudaMemcpyDeviceToHost, r.a));
    expect_ok(cudaEventRecordWithFlags(mark, r.a, cudaEventRecordExternal));
    expect_ok(
        cudaMemcpyAsync(r.host + COUNT / 2, r.device, BYTES / 2, cudaMemcpyDeviceToHost, r.a));
    expect_ok(cudaStreamEndCapture(r.a, &graph));
    size_t nodes = 0;
    expect_ok(cudaGraphGetNodes(graph, nullptr, &nodes));
    cr_expect_eq(nodes, 6);
    expect_ok(cudaGraphInstantiate(&executable, graph, 0));
    expect_ok(cudaGraphDestroy(graph));
    for (int seed = 0; seed < SEEDS; seed++) {
        simulated_seed((uint64_t)seed);
        memset(r.host, 0, BYTES);
        expect_ok(cudaEventRecord(start, r.a));
        expect_ok(cudaGraphLaunch(executable, r.a));
        expect_ok(cudaEventSynchronize(mark));
        expect_ok(cudaEventElapsedTime(&ms, start, mark));
        cr_expect_geq(ms, 0);
        expect_ok(cudaStreamSynchronize(r.a));
        cr_expect_eq(r.host[0], 2);
        cr_expect_eq(r.host[COUNT - 1], 5);
    }
    expect_ok(cudaGraphExecDestroy(executable));
    for (cudaEvent_t event : { joined, mark, start }) expect_ok(cudaEventDestroy(event));
    expect_ok(cudaFree(other));
}

Test(simulated, what_a_capture_forbids_is_refused)
{
    rig r;
    cudaGraph_t graph;
    void *p;
    expect_ok(cudaStreamBeginCapture(r.a, cudaStreamCaptureModeGlobal)); /* a fork without a join */
    expect_ok(cudaEventRecord(r.event, r.a));
    expect_ok(cudaStreamWaitEvent(r.b, r.event, 0));
    expect_ok(cudaMemsetAsync(r.device, 0, BYTES, r.b));
    cr_expect_eq(cudaStreamEndCapture(r.a, &graph), cudaErrorStreamCaptureUnjoined);
    cr_expect_eq(cudaEventQuery(r.event), cudaErrorCapturedEvent);

    expect_ok(cudaStreamBeginCapture(r.a, cudaStreamCaptureModeGlobal));
    cr_expect_eq(cudaMalloc(&p, 1), cudaErrorStreamCaptureUnsupported);
    cr_expect_eq(cudaMemsetAsync(r.device, 0, BYTES, r.a), cudaErrorStreamCaptureInvalidated);
    cr_expect_eq(cudaStreamEndCapture(r.a, &graph), cudaErrorStreamCaptureInvalidated);

    expect_ok(cudaEventRecord(r.event, r.b)); /* depends on work outside the capture */
    expect_ok(cudaStreamBeginCapture(r.a, cudaStreamCaptureModeRelaxed));
    expect_ok(cudaMalloc(&p, 1));
    cr_expect_eq(cudaStreamWaitEvent(r.a, r.event, 0), cudaErrorStreamCaptureIsolation);
    cr_expect_eq(cudaStreamSynchronize(r.a), cudaErrorStreamCaptureUnsupported);
    cr_expect_eq(cudaStreamEndCapture(r.a, &graph), cudaErrorStreamCaptureInvalidated);
    cr_expect_null(graph);
    cr_expect_eq(cudaStreamEndCapture(r.a, &graph), cudaErrorIllegalState);
    expect_ok(cudaFree(p));
    expect_ok(cudaDeviceSynchronize());
}

/* --- Failures and leaks --- */

Test(simulated, the_nth_call_fails)
{
    rig r;
    void *p;
    simulated_fail("cudaMalloc", 2);
    expect_ok(cudaMalloc(&p, 16));
    expect_ok(cudaFree(p));
    cr_expect_eq(cudaMalloc(&p, 16), cudaErrorMemoryAllocation);
    expect_ok(cudaMalloc(&p, 16));
    cr_expect_eq(simulated_calls("cudaM"), 3);
    cr_expect_eq(simulated_calls("cudaFree"), 1);
    expect_ok(cudaFree(p));

    simulated_fail("cudaLaunch", 1);
    CUDA_LAUNCH(fill, 8, 128, r.a, r.device, (int)COUNT, 1.0f);
    cr_expect_eq(cudaStreamSynchronize(r.a), cudaErrorLaunchFailure);
    cr_expect_eq(cudaMalloc(&p, 16), cudaErrorLaunchFailure);
    cr_expect_eq(cudaGetLastError(), cudaErrorLaunchFailure);
    cr_expect_eq(cudaGetLastError(), cudaErrorLaunchFailure);
    simulated_fail("", 0);
    expect_ok(cudaGetLastError());
    CUDA_LAUNCH(fill, 8, 2048, r.a, r.device, (int)COUNT, 1.0f);
    cr_expect_eq(cudaGetLastError(), cudaErrorInvalidConfiguration);
    expect_ok(cudaStreamSynchronize(r.a));
}

Test(simulated, leaks_are_listed)
{
    char report[1024];
    cr_assert_eq(simulated_leaks(report, sizeof report), 0);
    {
        rig r;
        cr_expect_eq(simulated_leaks(report, sizeof report), 5);
        cr_expect(strstr(report, "of 4000 bytes of device memory"), "%s", report);
        cr_expect(strstr(report, "of 4000 bytes of pinned host memory"), "%s", report);
        cr_expect(strstr(report, "stream 0x"), "%s", report);
        cr_expect(strstr(report, "event 0x"), "%s", report);
    }
    cr_expect_eq(simulated_leaks(report, sizeof report), 0, "%s", report);
}

Test(simulated, the_device_is_what_was_asked_for)
{
    cudaDeviceProp properties;
    int count, value;
    expect_ok(cudaGetDeviceProperties(&properties, 0));
    cr_expect_str_eq(properties.name, "NVIDIA H100 80GB HBM3");
    simulated_compute_capability(8, 9);
    expect_ok(cudaDeviceGetAttribute(&value, cudaDevAttrComputeCapabilityMinor, 0));
    cr_expect_eq(value, 9);
    cr_expect_eq(cudaSetDevice(1), cudaErrorInvalidDevice);
    simulated_no_device(true);
    cr_expect_eq(cudaGetDeviceCount(&count), cudaErrorNoDevice);
    cr_expect_eq(count, 0);
}
