/* The simulated runtime's entry points in general: call frame, errors, injected failures, tracking
 * of handles, and device properties. */
#include "runtime.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <unistd.h>

using namespace simulated;

/* As reported by cudaGetDeviceProperties on real devices, as far as backends need it. */
/* clang-format off */
static const device_model models[] = {
    { 9, 0, "NVIDIA H100 80GB HBM3",
      85'000'000'000, 132, 2048, 32, 232448, 52428800, 1980000, 2619000, 5120 },
    { 8, 0, "NVIDIA A100-SXM4-40GB",
      42'300'000'000, 108, 2048, 32, 166912, 41943040, 1410000, 1215000, 5120 },
    { 8, 9, "NVIDIA L40S",
      47'700'000'000, 142, 1536, 24, 101376, 100663296, 2520000, 9001000, 384 },
    { 10, 0, "NVIDIA B200",
      191'500'000'000, 148, 2048, 32, 232448, 132644864, 1965000, 3996000, 8192 },
    { 7, 5, "Tesla T4",
      15'800'000'000, 40, 1024, 16, 65536, 4194304, 1590000, 5001000, 256 },
    { 12, 0, "NVIDIA GeForce RTX 5090",
      33'700'000'000, 170, 1536, 24, 101376, 100663296, 2407000, 14001000, 512 },
};
/* clang-format on */

namespace simulated
{

state &sim = *new state;

static thread_local cudaError_t last_error = cudaSuccess;

state::state() : random(0), memory_limit(models[0].memory), model(&models[0])
{
    if (const char *fail = getenv("MICROMET_SIMULATED_FAIL")) {
        const char *colon = strrchr(fail, ':');
        fail_prefix.assign(fail, colon ? (size_t)(colon - fail) : strlen(fail));
        fail_prefix += '('; /* exactly that name */
        fail_at = colon ? atoll(colon + 1) : 1;
    }
    if (const char *mib = getenv("MICROMET_SIMULATED_MEMORY")) {
        const char *colon = strchr(mib, ':');
        memory_limit = strtoull(mib, nullptr, 0) << 20;
        memory_later = colon ? strtoull(colon + 1, nullptr, 0) << 20 : 0;
    }
    if (const char *seed = getenv("MICROMET_SIMULATED_SEED")) {
        random = strtoull(seed, nullptr, 0);
        eager = random % 4 == 3;
    }
    no_device = getenv("MICROMET_SIMULATED_NO_DEVICE") != nullptr;
}

uint64_t draw(uint64_t below)
{
    uint64_t z = sim.random += 0x9e3779b97f4a7c15; /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (z ^ (z >> 31)) % below;
}

permutation::permutation(uint64_t count_) : count(count_), first(draw(count_))
{
    if (count < 3) return;
    do step = 1 + draw(count - 1);
    while (std::gcd(step, count) != 1);
}

cudaError_t enter(const char *name, cudaError_t failure)
{
    if (sim_fails(name)) {
        if (failure == cudaErrorLaunchFailure) device_failed(failure);
        return failure;
    }
    if (sim.no_device) return cudaErrorNoDevice;
    if (sim.in_host_function) return cudaErrorNotPermitted;
    return sim.sticky;
}

cudaError_t leave(cudaError_t status)
{
    if (status != cudaSuccess) last_error = status;
    return status;
}

void device_failed(cudaError_t status)
{
    if (sim.sticky == cudaSuccess) sim.sticky = status;
}

std::vector<std::string> leaks()
{
    std::vector<std::pair<uint64_t, std::string>> found;
    list_memory(found);
    for (const auto &[handle, when] : sim.handles) {
        char line[128];
        snprintf(line, sizeof line, "%s %p", handle.second.c_str(), handle.first);
        found.emplace_back(when, line);
    }
    std::vector<std::string> lines;
    for (const auto &line : found) lines.push_back(line.second);
    return lines;
}

} // namespace simulated

/* --- Internal interface --- */

/* Prefix "cudaMalloc(" matches only this call, "cudaMalloc" also cudaMallocHost. */
static bool begins_with(const std::string &name, const std::string &prefix)
{
    return (name + "(").compare(0, prefix.size(), prefix) == 0;
}

bool sim_fails(const char *name)
{
    const std::lock_guard<std::recursive_mutex> lock(sim.mutex);
    sim.calls[name]++;
    report_call(name);
    return sim.fail_at > 0 && begins_with(name, sim.fail_prefix) && ++sim.fail_calls == sim.fail_at;
}

/* Avoids stdio's locks, because it may be called from a signal handler. */
void sim_defect(const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    std::string report = std::string("simulated CUDA device: ") + text;
    if (sim.running) report += std::string("; in ") + sim.work_name + where_in_kernel();
    report += "\n";
    (void)!write(STDERR_FILENO, report.data(), report.size());
    abort();
}

void sim_handle_created(const void *handle, const char *kind)
{
    const std::lock_guard<std::recursive_mutex> lock(sim.mutex);
    sim.handles[{ handle, kind }] = ++sim.handles_created;
}

void sim_handle_destroyed(const void *handle, const char *kind)
{
    const std::lock_guard<std::recursive_mutex> lock(sim.mutex);
    if (sim.handles.erase({ handle, kind }) == 0)
        sim_defect("%s %p was destroyed before, or never created", kind, handle);
}

bool sim_handle_alive(const void *handle, const char *kind)
{
    const std::lock_guard<std::recursive_mutex> lock(sim.mutex);
    return sim.handles.count({ handle, kind }) > 0;
}

/* --- Controls of tests --- */

void simulated_seed(uint64_t seed)
{
    const std::lock_guard<std::recursive_mutex> lock(sim.mutex);
    sim.random = seed;
    sim.eager = seed % 4 == 3;
    sim.burst = 1;
    sim.lane = nullptr;
}

void simulated_fail(const char *prefix, int64_t nth)
{
    const std::lock_guard<std::recursive_mutex> lock(sim.mutex);
    sim.fail_prefix = prefix;
    sim.fail_at = nth;
    sim.fail_calls = 0;
    sim.calls.clear();
    sim.sticky = last_error = cudaSuccess;
}

int64_t simulated_calls(const char *prefix)
{
    const std::lock_guard<std::recursive_mutex> lock(sim.mutex);
    int64_t count = 0;
    for (const auto &[name, calls] : sim.calls)
        if (begins_with(name, prefix)) count += calls;
    return count;
}

void simulated_memory_limit(size_t bytes)
{
    const std::lock_guard<std::recursive_mutex> lock(sim.mutex);
    sim.memory_limit = bytes;
}

size_t simulated_memory_taken(void)
{
    const std::lock_guard<std::recursive_mutex> lock(sim.mutex);
    return sim.memory_taken;
}

int simulated_leaks(char *report, size_t bytes)
{
    const std::lock_guard<std::recursive_mutex> lock(sim.mutex);
    const std::vector<std::string> lines = leaks();
    std::string text;
    for (const std::string &line : lines) text += line + "\n";
    if (bytes > 0) snprintf(report, bytes, "%s", text.c_str());
    return (int)lines.size();
}

/* At the end of a process, whether program or single test, everything must have been released. */
__attribute__((destructor)) static void expect_no_leaks(void)
{
    char report[1000];
    if (simulated_leaks(report, sizeof report) > 0) sim_defect("never given back:\n%s", report);
}

void simulated_compute_capability(int major, int minor)
{
    const std::lock_guard<std::recursive_mutex> lock(sim.mutex);
    for (const device_model &model : models) {
        if (model.major != major || model.minor != minor) continue;
        sim.model = &model;
        sim.memory_limit = model.memory;
        return;
    }
    sim_defect("no device of compute capability %d.%d is known", major, minor);
}

void simulated_no_device(bool none)
{
    const std::lock_guard<std::recursive_mutex> lock(sim.mutex);
    sim.no_device = none;
}

/* --- Errors --- */

/* clang-format off */
#define ERROR(name, text) { cudaError##name, "cudaError" #name, text }

static const struct {
    cudaError_t status;
    const char *name, *text;
} errors[] = {
    { cudaSuccess, "cudaSuccess", "no error" },
    ERROR(InvalidValue, "invalid argument"),
    ERROR(MemoryAllocation, "out of memory"),
    ERROR(InitializationError, "initialization error"),
    ERROR(InvalidConfiguration, "invalid configuration argument"),
    ERROR(InvalidMemcpyDirection, "invalid copy direction for memcpy"),
    ERROR(NoDevice, "no CUDA-capable device is detected"),
    ERROR(InvalidDevice, "invalid device ordinal"),
    ERROR(InvalidResourceHandle, "invalid resource handle"),
    ERROR(IllegalState, "the operation cannot be performed in the present state"),
    ERROR(NotReady, "device not ready"),
    ERROR(IllegalAddress, "an illegal memory access was encountered"),
    ERROR(LaunchOutOfResources, "too many resources requested for launch"),
    ERROR(LaunchFailure, "unspecified launch failure"),
    ERROR(NotPermitted, "operation not permitted"),
    ERROR(NotSupported, "operation not supported"),
    ERROR(StreamCaptureUnsupported, "operation not permitted when stream is capturing"),
    ERROR(StreamCaptureInvalidated, "operation failed due to a previous error during capture"),
    ERROR(StreamCaptureMerge, "operation would result in a merge of separate capture sequences"),
    ERROR(StreamCaptureUnmatched, "capture was not ended in the same stream as it began"),
    ERROR(StreamCaptureUnjoined, "capturing stream has unjoined work"),
    ERROR(StreamCaptureIsolation, "dependency created on uncaptured work in another stream"),
    ERROR(StreamCaptureImplicit,
          "operation would make the legacy stream depend on a capturing blocking stream"),
    ERROR(CapturedEvent, "operation not permitted on an event last recorded in a capturing stream"),
    ERROR(StreamCaptureWrongThread,
          "attempt to terminate a thread-local capture sequence from another thread"),
};
/* clang-format on */

const char *cudaGetErrorName(cudaError_t status)
{
    for (const auto &error : errors)
        if (error.status == status) return error.name;
    return "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t status)
{
    for (const auto &error : errors)
        if (error.status == status) return error.text;
    return "unrecognized error code";
}

/* The error of an earlier call; cleared if `forget`, unless the device itself failed. */
static cudaError_t take_last_error(const char *name, bool forget)
{
    const std::lock_guard<std::recursive_mutex> lock(sim.mutex);
    if (sim_fails(name)) device_failed(cudaErrorLaunchFailure);
    const cudaError_t status = sim.sticky != cudaSuccess ? sim.sticky : last_error;
    if (forget) last_error = cudaSuccess;
    return status;
}

cudaError_t cudaGetLastError(void)
{
    return take_last_error(__func__, true);
}

cudaError_t cudaPeekAtLastError(void)
{
    return take_last_error(__func__, false);
}

/* --- The device --- */

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = 0;
    return api(__func__, cudaErrorInitializationError, [&] {
        *count = 1;
        return cudaSuccess;
    });
}

cudaError_t cudaGetDevice(int *device)
{
    return api(__func__, cudaErrorInitializationError, [&] {
        *device = 0;
        return cudaSuccess;
    });
}

cudaError_t cudaSetDevice(int device)
{
    return api(__func__, cudaErrorInitializationError,
               [&] { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; });
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device)
{
    return api(__func__, cudaErrorInitializationError, [&] {
        if (device != 0) return cudaErrorInvalidDevice;
        const device_model &m = *sim.model;
        *p = cudaDeviceProp {};
        snprintf(p->name, sizeof p->name, "%s", m.name);
        memcpy(p->uuid.bytes, "simulated device", sizeof p->uuid.bytes);
        p->totalGlobalMem = sim.memory_limit;
        p->sharedMemPerBlock = 49152;
        p->sharedMemPerBlockOptin = m.shared_memory_optin;
        p->sharedMemPerMultiprocessor = m.shared_memory_optin + 1024;
        p->reservedSharedMemPerBlock = 1024;
        p->regsPerBlock = p->regsPerMultiprocessor = 65536;
        p->warpSize = 32;
        p->memPitch = 2147483647;
        p->maxThreadsPerBlock = 1024;
        p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
        p->maxThreadsDim[2] = 64;
        p->maxGridSize[0] = 2147483647;
        p->maxGridSize[1] = p->maxGridSize[2] = 65535;
        p->totalConstMem = 65536;
        p->major = m.major;
        p->minor = m.minor;
        p->multiProcessorCount = m.multiprocessors;
        p->maxThreadsPerMultiProcessor = m.threads_per_multiprocessor;
        p->maxBlocksPerMultiProcessor = m.blocks_per_multiprocessor;
        p->l2CacheSize = m.l2_bytes;
        p->memoryBusWidth = m.memory_bus_bits;
        p->canMapHostMemory = p->concurrentKernels = p->unifiedAddressing = 1;
        p->asyncEngineCount = 3;
        p->streamPrioritiesSupported = p->computePreemptionSupported = p->cooperativeLaunch = 1;
        return cudaSuccess;
    });
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device)
{
    cudaDeviceProp p;
    const cudaError_t status = cudaGetDeviceProperties(&p, device);
    if (status != cudaSuccess) return status;
    const std::map<cudaDeviceAttr, int> values = {
        { cudaDevAttrComputeCapabilityMajor, p.major },
        { cudaDevAttrComputeCapabilityMinor, p.minor },
        { cudaDevAttrMultiProcessorCount, p.multiProcessorCount },
        { cudaDevAttrMaxThreadsPerBlock, p.maxThreadsPerBlock },
        { cudaDevAttrMaxThreadsPerMultiProcessor, p.maxThreadsPerMultiProcessor },
        { cudaDevAttrMaxBlocksPerMultiprocessor, p.maxBlocksPerMultiProcessor },
        { cudaDevAttrMaxSharedMemoryPerBlock, (int)p.sharedMemPerBlock },
        { cudaDevAttrMaxSharedMemoryPerBlockOptin, (int)p.sharedMemPerBlockOptin },
        { cudaDevAttrReservedSharedMemoryPerBlock, (int)p.reservedSharedMemPerBlock },
        { cudaDevAttrMaxRegistersPerBlock, p.regsPerBlock },
        { cudaDevAttrWarpSize, p.warpSize },
        { cudaDevAttrL2CacheSize, p.l2CacheSize },
        { cudaDevAttrGlobalMemoryBusWidth, p.memoryBusWidth },
        { cudaDevAttrClockRate, sim.model->clock_khz },
        { cudaDevAttrMemoryClockRate, sim.model->memory_clock_khz },
        { cudaDevAttrCooperativeLaunch, p.cooperativeLaunch },
    };
    const auto found = values.find(attribute);
    if (found == values.end()) sim_defect("device attribute %d is not simulated", (int)attribute);
    *value = found->second;
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
    return api(__func__, cudaErrorInitializationError, [&] {
        *total_bytes = sim.memory_limit;
        *free_bytes = sim.memory_taken < sim.memory_limit ? sim.memory_limit - sim.memory_taken : 0;
        if (sim.memory_later > 0) sim.memory_limit = sim.memory_later;
        return cudaSuccess;
    });
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *attributes, const void *)
{
    return api(__func__, cudaErrorInitializationError, [&] {
        *attributes = cudaFuncAttributes {};
        attributes->maxThreadsPerBlock = 1024;
        attributes->numRegs = 32;
        return cudaSuccess;
    });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *, int threads,
                                                          size_t)
{
    return api(__func__, cudaErrorInitializationError, [&] {
        if (threads < 1 || threads > 1024) return cudaErrorInvalidValue;
        *blocks = std::min(sim.model->threads_per_multiprocessor / threads,
                           sim.model->blocks_per_multiprocessor);
        return cudaSuccess;
    });
}
