/* A CUDA backend of another version of the program. */
extern const char cuda_backend_version[];
const char cuda_backend_version[] = "0.0.1 0123456789ab";
