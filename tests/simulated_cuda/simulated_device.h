/* The device side of CUDA C++ for g++: cuda/launch.h includes it, so that the kernels
 * compile unchanged.
 *
 * Each thread of a block is a plain call that yields only where it waits for others. One thread
 * runs at a time, so atomics are plain arithmetic. Barriers and warp operations are identified by
 * their source line. */
#ifndef MICROMET_TESTS_SIMULATED_DEVICE_H
#define MICROMET_TESTS_SIMULATED_DEVICE_H

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <tuple>
#include <type_traits>
#include <utility>

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
#ifndef warpSize
constexpr int warpSize = 32;
#endif

#define __launch_bounds__(...)

/* Blocks run one at a time. Shared memory is filled with NaN before a block; with AddressSanitizer
 * its bounds are checked instead. */
#undef __shared__
#ifdef __SANITIZE_ADDRESS__
#define __shared__ static
#else
#define __shared__ static __attribute__((section("simulated_shared")))
#endif

/* --- Launch --- */

/* Queue a kernel that calls thread(argument) for every thread of every block.
 * `argument` is malloc'ed. */
void sim_launch(const char *name, void (*thread)(const void *argument), void *argument, dim3 grid,
                dim3 block, cudaStream_t stream);

template <typename... Parameters, typename... Arguments>
void sim_launch_kernel(const char *name, void (*kernel)(Parameters...), dim3 grid, dim3 block,
                       cudaStream_t stream, Arguments &&...arguments)
{
    using values = std::tuple<Parameters...>;
    static_assert((std::is_trivially_copyable_v<Parameters> && ...), "kernels take plain values");
    struct call {
        void (*kernel)(Parameters...);
        values arguments;
    };
    void *memory = malloc(sizeof(call));
    if (!memory) abort();
    new (memory) call { kernel, values(std::forward<Arguments>(arguments)...) };
    const auto thread = [](const void *argument) {
        const call *c = static_cast<const call *>(argument);
        std::apply(c->kernel, c->arguments);
    };
    sim_launch(name, thread, memory, grid, block, stream);
}

#define CUDA_LAUNCH(kernel, grid, block, stream, ...)                                              \
    sim_launch_kernel(#kernel, kernel, (grid), (block), (stream), ##__VA_ARGS__)

/* --- Threads that wait for each other --- */

enum sim_warp_kind { SIM_WARP_SYNC, SIM_WARP_TAKE, SIM_WARP_BALLOT };

void sim_barrier(const char *file, int line);
/* Wait for the lanes of `mask`. TAKE then returns the `bits` of lane `source`, BALLOT the mask of
 * lanes whose bits are not 0. */
uint64_t sim_warp(sim_warp_kind kind, unsigned mask, uint64_t bits, int source, const char *file,
                  int line);
int sim_lane();
[[noreturn]] void sim_trap(const char *file, int line);

inline void __syncthreads(const char *file = __builtin_FILE(), int line = __builtin_LINE())
{
    sim_barrier(file, line);
}

inline void __syncwarp(unsigned mask = 0xffffffff, const char *file = __builtin_FILE(),
                       int line = __builtin_LINE())
{
    sim_warp(SIM_WARP_SYNC, mask, 0, 0, file, line);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, const char *file = __builtin_FILE(),
                              int line = __builtin_LINE())
{
    return (unsigned)sim_warp(SIM_WARP_BALLOT, mask, predicate != 0, 0, file, line);
}

inline int __any_sync(unsigned mask, int predicate, const char *file = __builtin_FILE(),
                      int line = __builtin_LINE())
{
    return __ballot_sync(mask, predicate, file, line) != 0;
}

inline int __all_sync(unsigned mask, int predicate, const char *file = __builtin_FILE(),
                      int line = __builtin_LINE())
{
    return __ballot_sync(mask, !predicate, file, line) == 0;
}

template <typename T> T sim_take(unsigned mask, T value, int source, const char *file, int line)
{
    static_assert(std::is_arithmetic_v<T>, "shuffles move numbers");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = sim_warp(SIM_WARP_TAKE, mask, bits, source, file, line);
    memcpy(&value, &bits, sizeof value);
    return value;
}

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              const char *file = __builtin_FILE(), int line = __builtin_LINE())
{
    const int first = sim_lane() / width * width;
    return sim_take(mask, value, first + (source & (width - 1)), file, line);
}

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32,
                  const char *file = __builtin_FILE(), int line = __builtin_LINE())
{
    const int source = sim_lane() ^ lanes, end = (sim_lane() / width + 1) * width;
    return sim_take(mask, value, source < end ? source : sim_lane(), file, line);
}

template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   const char *file = __builtin_FILE(), int line = __builtin_LINE())
{
    const int source = sim_lane() + (int)delta, end = (sim_lane() / width + 1) * width;
    return sim_take(mask, value, source < end ? source : sim_lane(), file, line);
}

template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 const char *file = __builtin_FILE(), int line = __builtin_LINE())
{
    const int source = sim_lane() - (int)delta, first = sim_lane() / width * width;
    return sim_take(mask, value, source >= first ? source : sim_lane(), file, line);
}

inline void __threadfence()
{
}
inline void __threadfence_block()
{
}

inline void __trap(const char *file = __builtin_FILE(), int line = __builtin_LINE())
{
    sim_trap(file, line);
}

/* --- Atomics; the second parameter converts to the first one's type --- */

template <typename T> struct sim_same {
    using type = T;
};

template <typename T, typename Change> T sim_atomic(T *address, Change change)
{
    const T old = *address;
    *address = change(old);
    return old;
}

template <typename T> T atomicAdd(T *address, typename sim_same<T>::type value)
{
    return sim_atomic(address, [=](T old) { return (T)(old + value); });
}

template <typename T> T atomicSub(T *address, typename sim_same<T>::type value)
{
    return sim_atomic(address, [=](T old) { return (T)(old - value); });
}

template <typename T> T atomicMax(T *address, typename sim_same<T>::type value)
{
    return sim_atomic(address, [=](T old) { return value > old ? value : old; });
}

template <typename T> T atomicMin(T *address, typename sim_same<T>::type value)
{
    return sim_atomic(address, [=](T old) { return value < old ? value : old; });
}

template <typename T> T atomicOr(T *address, typename sim_same<T>::type value)
{
    return sim_atomic(address, [=](T old) { return (T)(old | value); });
}

template <typename T> T atomicAnd(T *address, typename sim_same<T>::type value)
{
    return sim_atomic(address, [=](T old) { return (T)(old & value); });
}

template <typename T> T atomicExch(T *address, typename sim_same<T>::type value)
{
    return sim_atomic(address, [=](T) { return value; });
}

template <typename T>
T atomicCAS(T *address, typename sim_same<T>::type compare, typename sim_same<T>::type value)
{
    return sim_atomic(address, [=](T old) { return old == compare ? value : old; });
}

inline unsigned atomicInc(unsigned *address, unsigned last)
{
    return sim_atomic(address, [=](unsigned old) { return old >= last ? 0 : old + 1; });
}

/* --- Loads and stores with cache hints --- */

template <typename T> T __ldg(const T *p)
{
    return *p;
}
template <typename T> T __ldcg(const T *p)
{
    return *p;
}
template <typename T> T __ldcs(const T *p)
{
    return *p;
}
template <typename T> void __stcg(T *p, typename sim_same<T>::type value)
{
    *p = value;
}
template <typename T> void __stcs(T *p, typename sim_same<T>::type value)
{
    *p = value;
}

/* --- Arithmetic. Approximate functions are exact here: no test may rest on their last bits. --- */

inline float __fadd_rn(float a, float b)
{
    return a + b;
}
inline float __fsub_rn(float a, float b)
{
    return a - b;
}
inline float __fmul_rn(float a, float b)
{
    return a * b;
}
inline float __fdiv_rn(float a, float b)
{
    return a / b;
}
inline float __fmaf_rn(float a, float b, float c)
{
    return std::fma(a, b, c);
}
inline float __frcp_rn(float a)
{
    return 1 / a;
}
inline float __fsqrt_rn(float a)
{
    return std::sqrt(a);
}
inline float __frsqrt_rn(float a)
{
    return (float)(1 / std::sqrt((double)a));
}
inline float __fdividef(float a, float b)
{
    return a / b;
}
inline float __expf(float a)
{
    return std::exp(a);
}
inline float __logf(float a)
{
    return std::log(a);
}
inline float __log2f(float a)
{
    return std::log2(a);
}
inline float __powf(float a, float b)
{
    return std::pow(a, b);
}
inline float __sinf(float a)
{
    return std::sin(a);
}
inline float __cosf(float a)
{
    return std::cos(a);
}
inline float __saturatef(float a)
{
    return a > 0 ? (a < 1 ? a : 1) : 0;
}
inline double __dadd_rn(double a, double b)
{
    return a + b;
}
inline double __dmul_rn(double a, double b)
{
    return a * b;
}
inline double __ddiv_rn(double a, double b)
{
    return a / b;
}
inline double __dsqrt_rn(double a)
{
    return std::sqrt(a);
}
inline double __fma_rn(double a, double b, double c)
{
    return std::fma(a, b, c);
}
inline float rsqrtf(float a)
{
    return (float)(1 / std::sqrt((double)a));
}
inline double rsqrt(double a)
{
    return 1 / std::sqrt(a);
}
inline int __float2int_rn(float a)
{
    return (int)std::nearbyint(a);
}
inline int __float2int_rz(float a)
{
    return (int)a;
}
inline int __float2int_rd(float a)
{
    return (int)std::floor(a);
}
inline int __float2int_ru(float a)
{
    return (int)std::ceil(a);
}
inline unsigned __float2uint_rn(float a)
{
    return (unsigned)std::nearbyint(a);
}
inline unsigned __float2uint_rz(float a)
{
    return (unsigned)a;
}
inline float __int2float_rn(int a)
{
    return (float)a;
}
inline float __uint2float_rn(unsigned a)
{
    return (float)a;
}
inline float __double2float_rn(double a)
{
    return (float)a;
}

inline int __popc(unsigned a)
{
    return __builtin_popcount(a);
}
inline int __popcll(unsigned long long a)
{
    return __builtin_popcountll(a);
}
inline int __ffs(int a)
{
    return __builtin_ffs(a);
}
inline int __clz(int a)
{
    return a ? __builtin_clz((unsigned)a) : 32;
}
inline unsigned __umulhi(unsigned a, unsigned b)
{
    return (unsigned)((uint64_t)a * b >> 32);
}
inline int __mulhi(int a, int b)
{
    return (int)((int64_t)a * b >> 32);
}

template <typename To, typename From> To sim_bits(From from)
{
    static_assert(sizeof(To) == sizeof from, "the same bits");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}

inline int __float_as_int(float a)
{
    return sim_bits<int>(a);
}
inline unsigned __float_as_uint(float a)
{
    return sim_bits<unsigned>(a);
}
inline float __int_as_float(int a)
{
    return sim_bits<float>(a);
}
inline float __uint_as_float(unsigned a)
{
    return sim_bits<float>(a);
}
inline long long __double_as_longlong(double a)
{
    return sim_bits<long long>(a);
}
inline double __longlong_as_double(long long a)
{
    return sim_bits<double>(a);
}

/* Both arguments of one type, as in CUDA's overloads; NaN is ignored. */
template <typename T> T sim_min(T a, T b)
{
    if constexpr (std::is_floating_point_v<T>) return std::fmin(a, b);
    return b < a ? b : a;
}

template <typename T> T sim_max(T a, T b)
{
    if constexpr (std::is_floating_point_v<T>) return std::fmax(a, b);
    return a < b ? b : a;
}

#define SIM_MIN_MAX(type)                                                                          \
    inline type min(type a, type b)                                                                \
    {                                                                                              \
        return sim_min(a, b);                                                                      \
    }                                                                                              \
    inline type max(type a, type b)                                                                \
    {                                                                                              \
        return sim_max(a, b);                                                                      \
    }
SIM_MIN_MAX(int)
SIM_MIN_MAX(unsigned)
SIM_MIN_MAX(long)
SIM_MIN_MAX(unsigned long)
SIM_MIN_MAX(long long)
SIM_MIN_MAX(unsigned long long)
SIM_MIN_MAX(float)
SIM_MIN_MAX(double)
#undef SIM_MIN_MAX

#endif
