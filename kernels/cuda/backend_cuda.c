/* backend_cuda.c - a real device: the CUDA run time (linked statically) and cuBLASLt (opened when
 * a device is there). Sources: NVIDIA's "CUDA Runtime API" and "cuBLAS" references, release 13.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <stdio.h>

#include "kernels/cuda/backend.h"
#include "kernels/cuda/library.h"
#include "lib/base/str.h"

#define QUOTE_(x) #x
#define QUOTE(x) QUOTE_(x)

enum { PLANS = 64, WORKSPACE_BYTES = 64 << 20, ALIGNED = 16, OF_CUBLAS = 100000 };

const char back_name[] = "cuda";
const bool back_plain_memory = false;

/* X(field, function) */
#define LT_FUNCTIONS(X)                               \
    X(create, cublasLtCreate)                         \
    X(destroy, cublasLtDestroy)                       \
    X(version, cublasLtGetVersion)                    \
    X(matmul, cublasLtMatmul)                         \
    X(desc_create, cublasLtMatmulDescCreate)          \
    X(desc_set, cublasLtMatmulDescSetAttribute)       \
    X(desc_destroy, cublasLtMatmulDescDestroy)        \
    X(layout_create, cublasLtMatrixLayoutCreate)      \
    X(layout_destroy, cublasLtMatrixLayoutDestroy)    \
    X(wish_create, cublasLtMatmulPreferenceCreate)    \
    X(wish_set, cublasLtMatmulPreferenceSetAttribute) \
    X(wish_destroy, cublasLtMatmulPreferenceDestroy)  \
    X(choose, cublasLtMatmulAlgoGetHeuristic)

/* A product of one shape, as cuBLASLt wants it described, with the algorithm it chose. */
struct plan {
    struct cuda_product key; /* without pointers */
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a, b, to;
    cublasLtMatmulAlgo_t algo;
};

struct own {
    void *library;
    cublasLtHandle_t lt;
    void *workspace;
    cudaEvent_t marks[2];
    struct plan plans[PLANS];
    int n_plans, next_plan;
#define X(field, function) __typeof__(&(function)) field;
    LT_FUNCTIONS(X)
#undef X
};

/* ---- opening ---- */

static int open_lt(struct own *o, struct bt_err *err)
{
    static const char name[] = "libcublasLt.so." QUOTE(CUBLAS_VER_MAJOR);
    bool all = true;

    o->library = library_open(name);
    if (!o->library)
        return bt_fail(err, BT_ERR_UNSUPPORTED, "cannot open %s: %.150s", name, dlerror());
#define X(field, function) \
    all = library_bind(o->library, #function, &o->field, sizeof o->field) && all;
    LT_FUNCTIONS(X)
#undef X
    if (!all)
        return bt_fail(err, BT_ERR_UNSUPPORTED, "%s lacks functions of its release", name);
    if (o->create(&o->lt) != CUBLAS_STATUS_SUCCESS)
        return bt_fail(err, BT_ERR_UNSUPPORTED, "cuBLASLt cannot use this device");
    return 0;
}

static int attribute(enum cudaDeviceAttr which, int device)
{
    int v = 0;

    return cudaDeviceGetAttribute(&v, which, device) == cudaSuccess ? v : 0;
}

static int open_device(struct cuda *c, struct bt_err *err)
{
    int count = 0;
    cudaError_t code = cudaGetDeviceCount(&count);

    if (code != cudaSuccess || !count)
        return bt_fail(err, BT_ERR_UNSUPPORTED, "no CUDA device: %s",
                       code == cudaSuccess ? "there is none" : cudaGetErrorString(code));
    c->index %= count;
    if (attribute(cudaDevAttrComputeCapabilityMajor, c->index) < 8)
        return bt_fail(err, BT_ERR_UNSUPPORTED, "the GPU is older than the Ampere generation");
    code = cudaSetDevice(c->index);
    if (code != cudaSuccess)
        return bt_fail(err, BT_ERR_UNSUPPORTED, "the GPU cannot be used: %s",
                       cudaGetErrorString(code));
    return 0;
}

int back_open(struct cuda *c, struct bt_err *err)
{
    struct own *o;
    cudaStream_t stream = NULL;
    int rc = open_device(c, err);

    if (rc < 0)
        return rc;
    c->own = o = bt_new(struct own);
    rc = open_lt(o, err);
    if (rc < 0)
        return rc;
    if (cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) != cudaSuccess ||
        cudaEventCreate(&o->marks[0]) != cudaSuccess ||
        cudaEventCreate(&o->marks[1]) != cudaSuccess ||
        cudaMalloc(&o->workspace, WORKSPACE_BYTES) != cudaSuccess)
        rc = bt_fail(err, BT_ERR_UNSUPPORTED, "the GPU cannot be used: %s",
                     cudaGetErrorString(cudaGetLastError()));
    c->stream = stream;
    return rc;
}

static void drop_plan(struct own *o, struct plan *p)
{
    if (p->a)
        o->layout_destroy(p->a);
    if (p->b)
        o->layout_destroy(p->b);
    if (p->to)
        o->layout_destroy(p->to);
    if (p->desc)
        o->desc_destroy(p->desc);
    *p = (struct plan){0};
}

void back_close(struct cuda *c)
{
    struct own *o = c->own;

    if (c->stream)
        (void)cudaStreamSynchronize(c->stream);
    for (int i = 0; i < o->n_plans; i++)
        drop_plan(o, &o->plans[i]);
    if (o->workspace)
        (void)cudaFree(o->workspace);
    for (int i = 0; i < 2; i++) {
        if (o->marks[i])
            (void)cudaEventDestroy(o->marks[i]);
    }
    if (o->lt)
        (void)o->destroy(o->lt);
    if (c->stream)
        (void)cudaStreamDestroy(c->stream);
    if (o->library)
        dlclose(o->library);
    bt_free(o);
    c->own = NULL;
}

/* Dense bfloat16 of NVIDIA's data sheets (not the sparse figure), in GFLOP/s. */
static double peak_of(const char *name)
{
    static const struct {
        const char *part;
        double gflops;
    } known[] = {{"H100 PCIe", 756e3}, {"H100 NVL", 835e3}, {"H200 NVL", 835e3}, {"H100", 989e3},
                 {"H200", 989e3},      {"GH200", 989e3},    {"A100", 312e3},     {"A800", 312e3}};

    for (size_t i = 0; i < BT_ARRAY_LEN(known); i++) {
        if (strstr(name, known[i].part))
            return known[i].gflops;
    }
    return 0;
}

void back_about(struct cuda *c, struct cuda_about *ret)
{
    const struct own *o = c->own;
    struct cudaDeviceProp properties;
    size_t there = 0, all = 0;
    int driver = 0, runtime = 0;

    *ret = (struct cuda_about){
        .major = attribute(cudaDevAttrComputeCapabilityMajor, c->index),
        .minor = attribute(cudaDevAttrComputeCapabilityMinor, c->index),
        .processors = attribute(cudaDevAttrMultiProcessorCount, c->index),
        .shared_bytes = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, c->index),
    };
    if (cudaGetDeviceProperties(&properties, c->index) == cudaSuccess)
        bt_copy(ret->name, sizeof ret->name, properties.name);
    if (cudaMemGetInfo(&there, &all) == cudaSuccess)
        ret->memory_bytes = (int64_t)all;
    (void)cudaDriverGetVersion(&driver);
    (void)cudaRuntimeGetVersion(&runtime);
    (void)snprintf(ret->versions, sizeof ret->versions, "driver %d, run time %d, cuBLASLt %zu",
                   driver, runtime, o->version());
    ret->peak_gflops = peak_of(ret->name);
}

const char *back_error(int code)
{
    if (code >= OF_CUBLAS)
        return code - OF_CUBLAS == CUBLAS_STATUS_NOT_SUPPORTED
                   ? "cuBLASLt knows no way for this product"
                   : "cuBLASLt failed";
    return cudaGetErrorString((cudaError_t)code);
}

/* ---- memory and order ---- */

int back_alloc(struct cuda *c, size_t bytes, void **ret)
{
    cudaError_t code = cudaMalloc(ret, bytes);

    (void)c;
    if (code != cudaSuccess)
        (void)cudaGetLastError(); /* the caller may go on with less */
    return (int)code;
}

void back_release(struct cuda *c, void *p)
{
    if (c->stream)
        (void)cudaStreamSynchronize(c->stream);
    if (p)
        (void)cudaFree(p);
}

int back_zero(struct cuda *c, void *p, size_t bytes)
{
    return (int)cudaMemsetAsync(p, 0, bytes, c->stream);
}

int back_put(struct cuda *c, void *to, const void *from, size_t bytes)
{
    cudaError_t code = cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, c->stream);

    return (int)(code == cudaSuccess ? cudaStreamSynchronize(c->stream) : code);
}

int back_get(struct cuda *c, void *to, const void *from, size_t bytes)
{
    cudaError_t code = cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, c->stream);

    return (int)(code == cudaSuccess ? cudaStreamSynchronize(c->stream) : code);
}

int back_copy(struct cuda *c, void *to, const void *from, size_t bytes)
{
    return (int)cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, c->stream);
}

int back_wait(struct cuda *c)
{
    return (int)cudaStreamSynchronize(c->stream);
}

int back_mark(struct cuda *c, int which)
{
    const struct own *o = c->own;

    return (int)cudaEventRecord(o->marks[which], c->stream);
}

double back_marked_us(struct cuda *c)
{
    const struct own *o = c->own;
    float ms = 0;

    return cudaEventElapsedTime(&ms, o->marks[0], o->marks[1]) == cudaSuccess ? 1e3 * (double)ms
                                                                              : 0;
}

/* ---- products ----
 *
 * cuBLASLt counts by columns: a row-major matrix is its transpose there, with the row's length as
 * leading dimension. In its words, with A = p->b and B = p->a always:
 *   LINEAR  to^T [out,n] = A [in,out]^T  B [in,n]
 *   DX      to^T [in,n]  = A [in,out]    B [out,n]
 *   DW      to^T [in,out] = A [in,n]     B [out,n]^T */

static bool describe(struct own *o, struct plan *p)
{
    const struct cuda_product *k = &p->key;
    bool dw = k->kind == CUDA_LINEAR_DW, plain = k->kind == CUDA_LINEAR;
    cublasOperation_t ta = plain ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasOperation_t tb = dw ? CUBLAS_OP_T : CUBLAS_OP_N;
    uint64_t a_columns = (uint64_t)(dw ? k->n : k->out),
             b_rows = (uint64_t)(plain ? k->in : k->out);
    uint64_t rows = (uint64_t)(plain ? k->out : k->in), columns = (uint64_t)(dw ? k->out : k->n);

    return o->desc_create(&p->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F) == CUBLAS_STATUS_SUCCESS &&
           o->desc_set(p->desc, CUBLASLT_MATMUL_DESC_TRANSA, &ta, sizeof ta) ==
               CUBLAS_STATUS_SUCCESS &&
           o->desc_set(p->desc, CUBLASLT_MATMUL_DESC_TRANSB, &tb, sizeof tb) ==
               CUBLAS_STATUS_SUCCESS &&
           o->layout_create(&p->a, CUDA_R_16BF, (uint64_t)k->in, a_columns, k->in) ==
               CUBLAS_STATUS_SUCCESS &&
           o->layout_create(&p->b, CUDA_R_16BF, b_rows, (uint64_t)k->n, (int64_t)b_rows) ==
               CUBLAS_STATUS_SUCCESS &&
           o->layout_create(&p->to, k->wide ? CUDA_R_32F : CUDA_R_16BF, rows, columns,
                            (int64_t)rows) == CUBLAS_STATUS_SUCCESS;
}

/* Split sums meet in the workspace, in float32, in a fixed order: never in place. Tensors begin
 * anywhere that is a multiple of 16 bytes. */
static int choose(struct own *o, struct plan *p)
{
    static const cublasLtMatmulPreferenceAttributes_t alignments[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    cublasLtMatmulPreference_t wish = NULL;
    cublasLtMatmulHeuristicResult_t best = {0};
    const size_t workspace = WORKSPACE_BYTES;
    const uint32_t reduction = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, aligned = ALIGNED;
    int found = 0;
    cublasStatus_t s = o->wish_create(&wish);

    if (s == CUBLAS_STATUS_SUCCESS)
        s = o->wish_set(wish, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                        sizeof workspace);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = o->wish_set(wish, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reduction,
                        sizeof reduction);
    for (size_t i = 0; s == CUBLAS_STATUS_SUCCESS && i < BT_ARRAY_LEN(alignments); i++)
        s = o->wish_set(wish, alignments[i], &aligned, sizeof aligned);
    if (s == CUBLAS_STATUS_SUCCESS)
        s = o->choose(o->lt, p->desc, p->a, p->b, p->to, p->to, wish, 1, &best, &found);
    if (wish)
        o->wish_destroy(wish);
    if (s != CUBLAS_STATUS_SUCCESS)
        return OF_CUBLAS + (int)s;
    if (!found)
        return OF_CUBLAS + (int)CUBLAS_STATUS_NOT_SUPPORTED;
    p->algo = best.algo;
    return 0;
}

static bool same_shape(const struct cuda_product *a, const struct cuda_product *b)
{
    return a->kind == b->kind && a->n == b->n && a->in == b->in && a->out == b->out &&
           a->wide == b->wide && a->add == b->add;
}

static int plan_for(struct own *o, const struct cuda_product *key, struct plan **ret)
{
    struct plan *p;
    int code;

    for (int i = 0; i < o->n_plans; i++) {
        if (same_shape(&o->plans[i].key, key)) {
            *ret = &o->plans[i];
            return 0;
        }
    }
    p = &o->plans[o->next_plan];
    drop_plan(o, p);
    p->key = *key;
    code = describe(o, p) ? choose(o, p) : OF_CUBLAS + (int)CUBLAS_STATUS_ALLOC_FAILED;
    if (code) {
        drop_plan(o, p);
        return code;
    }
    o->next_plan = (o->next_plan + 1) % PLANS;
    o->n_plans = BT_MAX(o->n_plans, o->next_plan ? o->next_plan : PLANS);
    *ret = p;
    return 0;
}

int back_product(struct cuda *c, const struct cuda_product *a)
{
    struct own *o = c->own;
    struct plan *p = NULL;
    const float one = 1, beta = a->add ? 1 : 0;
    int code = plan_for(o, a, &p);
    cublasStatus_t s;

    if (code)
        return code;
    s = o->matmul(o->lt, p->desc, &one, a->b, p->a, a->a, p->b, &beta, a->to, p->to, a->to, p->to,
                  &p->algo, o->workspace, WORKSPACE_BYTES, c->stream);
    return s == CUBLAS_STATUS_SUCCESS ? 0 : OF_CUBLAS + (int)s;
}
